from tests.tables import each
from tfgrpo.text import counted, without_passwords


@each(
    ("number", "noun", "text"),
    [
        (0, "task", "0 tasks"),
        (1, "task", "1 task"),
        (1_234, "task", "1,234 tasks"),
        (1, "token bias", "1 token bias"),
        (2, "token bias", "2 token biases"),
        (1, "pass", "1 pass"),
        (2, "pass", "2 passes"),
        (1, "strategy", "1 strategy"),
        (2, "strategy", "2 strategies"),
        (2, "day", "2 days"),
    ],
)
def test_a_noun_follows_its_number(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


@each(
    ("text", "told"),
    [
        ("cannot read postgresql://u:hunter2@h:5/db: no", "cannot read postgresql://...@h:5/db: no"),
        ("https://me:hunter2@host/a and https://you:x@b", "https://...@host/a and https://...@b"),
        ("postgresql://u:hun/t@er2@h/db", "postgresql:/...@h/db"),
        ("postgresql:/u:hunter2@h/db/summarise.md", "postgresql:/...@h/db/summarise.md"),
        ("cannot read 'postgresql://u:hunter2': no", "cannot read 'postgresql:/...': no"),
        ("postgresql://host:5432/db is gone", "postgresql://host:5432/db is gone"),
        ("http://127.0.0.1:9/v1/x@y, mail a@b:c", "http://127.0.0.1:9/v1/x@y, mail a@b:c"),
    ],
)
def test_a_password_in_a_url_is_shown_to_nobody(text: str, told: str) -> None:
    assert without_passwords(text) == told
