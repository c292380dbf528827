"""What rows are sealed by."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.live import PRIOR
from tfgrpo.store import Inference, Store
from tfgrpo.store.database import Value, _checksum_of_bytes, checksum

texts = st.text() | st.text(st.characters(max_codepoint=127))
values = st.none() | texts | st.integers() | st.floats() | st.binary()


@given(st.lists(values, max_size=6))
def test_a_checksum_is_the_same_whichever_way_it_is_made(row: list[Value]) -> None:
    assert checksum(*row) == _checksum_of_bytes(*row)


def test_a_checksum_is_the_same_for_ever() -> None:
    assert checksum(1, "a", None, 0.5, "é", b"b") == "572936d1"
    assert checksum(1, "a", None, 0.5) == "6a2578d8"


def test_what_is_written_later_of_an_earlier_row_is_sealed_and_what_was_there_is_not_sealed_anew(
    tmp_path: Path,
) -> None:
    bare = Inference("inf_1", "default", PRIOR.id, "live", "chat", "m", 200, 1)  # which is 1.0 once it is written
    told = Inference("inf_1", "default", PRIOR.id, "live", "chat", "m", 200, 1, "{}", "{}")
    with Store(tmp_path / "s.db") as store:
        store.add_calls_in_use([bare, Inference("inf_2", "default", PRIOR.id, "live", "chat", "m", 200, 1, "{}", "{}")])
        store.add_calls_in_use([told])
        assert [one.request for one in store.inferences("default")] == ["{}", "{}"]
        assert store.verify() == ()
        store._write("damaging it", lambda db: db.execute("UPDATE bodies SET checksum = 'beef'"))
        store.add_calls_in_use([told])
        assert len(store.verify()) == 2
