"""Learning a question of the decisions API as a user meets it: one call a task, offsets, a gate that calls nothing."""

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tfgrpo as package
from tests.cli.shell import one_line, tfgrpo, works
from tests.routing import served
from tfgrpo.records import Experience, Frame, OptionOffset, Prior, QuestionOffsets, TokenBias
from tfgrpo.store import Store

OPTIONS = ("alpha", "beta", "gamma")
QUESTION: Any = {"type": "choice", "instructions": "Which?", "choices": [{"value": value} for value in OPTIONS]}


class Decides:
    """An upstream that knows the answers, and says the first option too readily."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.refuses = ""
        self.writes = ""
        """What it writes when it is asked for an instruction; without it, it does not chat at all."""
        self.written = 0
        self.surplus = 0.0
        """The probability of an option that was not asked about."""
        self.whatever: list[Any] = []
        """What it answers to any question, if that is one and the same."""
        self.knows_the_key_for = math.inf
        """Decisions, after which it says 401."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        content = b""
        while (event := await receive())["type"] == "http.request":
            content += event.get("body", b"")
            if not event.get("more_body"):
                break
        body = json.loads(content)
        if "questions" not in body:
            return await self.chatted(send)
        if len(self.bodies) >= self.knows_the_key_for:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
            return
        self.bodies.append(body)
        answers = [self.answer(body["input"], question) for question in body["questions"]]
        usage = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}
        told = json.dumps({"model": "m", "answers": answers, "usage": usage}).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    async def chatted(self, send: Any) -> None:
        self.written += 1
        message = {"role": "assistant", "content": self.writes}
        told = json.dumps({"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        status = 200 if self.writes else 404
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": told.encode() if self.writes else b"{}"})

    def answer(self, text: str, question: Any) -> Any:
        if self.whatever:
            return self.whatever[0]
        if self.refuses and self.refuses in text:
            return {"type": "refusal", "name": None}
        values = [entry["value"] for entry in question["choices"]]
        drawn = random.Random(text)
        knows = 2.0 if not self.writes else 6.0 * (self.writes in question["instructions"])
        logits = [drawn.gauss(0, 0.5) + knows * (value in text) + 3.0 * (value == OPTIONS[0]) for value in values]
        total = sum(map(math.exp, logits))
        share = (1 - self.surplus) / total
        listed = [{"value": value, "probability": math.exp(x) * share} for value, x in zip(values, logits, strict=True)]
        best = max(listed, key=lambda entry: entry["probability"])
        listed += [{"value": "other", "probability": self.surplus}] if self.surplus else []
        return {"type": "choice", "choice": best["value"], "confidence": 0.5, "probabilities": listed}


@pytest.fixture
def decides() -> Decides:
    return Decides()


@pytest.fixture
def url(decides: Decides) -> Iterator[str]:
    with served(decides) as url:
        yield url


@pytest.fixture
def tasks(folder: Path) -> Path:
    lines = [{"input": f"{number}: {OPTIONS[number % 3]}", "answer": OPTIONS[number % 3]} for number in range(75)]
    (folder / "tasks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "q.json").write_text(json.dumps(QUESTION))
    return folder


RACE = ("learn", "--surface", "decisions", "q.json", "tasks.jsonl", "--model", "m", "--base-url")
LEARN = (RACE[0], "--no-race", *RACE[1:])
EVAL = ("eval", "--surface", "decisions", "q.json", "tasks.jsonl", "--base-url")


def test_an_option_that_was_not_asked_about_takes_no_part(tasks: Path, url: str, decides: Decides) -> None:
    found = []
    for decides.surplus in (0.0, 0.4):
        learned = json.loads(
            works(*LEARN, url, "--gate", "none", "--fresh", "--namespace", f"n{len(found)}", "--json").stdout
        )
        found.append((learned["why"], [round(one["offset"], 6) for one in learned["offsets"]]))
    assert found[0] == found[1]


def test_offsets_are_learned_gated_shown_measured_and_served(tasks: Path, url: str, decides: Decides) -> None:
    learned = json.loads(works(*LEARN, url, "--json").stdout)
    asked = len(decides.bodies)
    assert (learned["state"], learned["changed"], learned["usage"]["calls"]) == ("live", True, asked)
    assert asked == 60  # one a task that teaches or decides, and none for the gate
    assert learned["gate"]["verdict"] == "promoted"
    assert "exact sign test" in learned["gate"]["why"]
    offsets = {one["option"]: one["offset"] for one in learned["offsets"]}
    assert offsets["alpha"] < -1.5 < 0 < min(offsets["beta"], offsets["gamma"])
    shown = works("tokens", "show").stdout
    assert all(option in shown for option in OPTIONS)
    assert "Which?" in works("prior", "show").stdout
    measured = json.loads(works(*EVAL, url, "--json").stdout)
    assert len(decides.bodies) == asked + 15
    assert measured["means"]["learned"] >= measured["means"]["frozen"] + 0.3
    told = works("runs", "show", learned["run"]).stdout
    assert "note: offsets: " in told
    pytest.importorskip("matplotlib", reason="the extra `report`")
    works("report", learned["run"], "-o", "report.html")
    assert "tfgrpo learn --surface decisions QUESTION.json TASKS --base-url URL" in Path("report.html").read_text()
    pytest.importorskip("openai.types.decision", reason="openai 3 asks for decisions")
    with package.OpenAI(base_url=url, api_key="k", store="tfgrpo.db") as client:
        found = client.decisions.create(model="m", input="7: beta", questions=[QUESTION])
        client.tfgrpo.close()  # or it would look for tfgrpo.db in the folders of later tests
    assert getattr(found.answers[0], "choice", None) == "beta"
    assert decides.answer("7: beta", QUESTION)["choice"] == "alpha"


def test_several_models_make_a_table_of_where_the_offsets_help(tasks: Path, url: str, decides: Decides) -> None:
    works(*LEARN, url)
    shown = works(*EVAL, url, "--model", "m", "--model", "other")
    head, own, other = shown.stdout.splitlines()
    assert "learned - frozen" in head
    assert ("m (learned on it)" in own, other.split()[0], other.rstrip().endswith("helps")) == (True, "other", True)
    assert shown.stderr.count("the offsets were learned on m: clients leave them out for other; learn its own") == 1
    told = json.loads(works(*EVAL, url, "--model", "m", "--model", "other", "--json").stdout)
    assert list(told["models"]) == ["m", "other"]
    asked = len(decides.bodies)
    ended = tfgrpo(*EVAL, url, "--model", "m", "--model", "third", "--max-calls", "3")
    assert "third: the budget of 3 calls is used up" in ended.stderr
    assert len(decides.bodies) == asked + 3


ADVICE = "Pick the option that the text names, whatever it says beside it."


def test_what_is_said_in_the_instructions_races_and_offsets_go_on_top(tasks: Path, url: str, decides: Decides) -> None:
    decides.writes = ADVICE
    learned = json.loads(works(*RACE, url, "--json").stdout)
    assert (learned["said"], learned["state"], learned["kept"]) == ("written 1", "live", True)
    race = {one["source"]: one for one in learned["race"]}
    assert race["written 1"]["tasks"] == race["as it is"]["tasks"] == 37 > race["8 examples"]["tasks"]
    assert race["written 1"]["worth"] > race["as it is"]["worth"] + 0.3
    assert learned["usage"]["calls"] == len(decides.bodies) + decides.written
    assert len(decides.bodies) < 3.5 * 37 + 2 * 23  # of those that teach, and both arms on those that decide
    measured = json.loads(works(*EVAL, url, "--json").stdout)
    assert measured["means"]["learned"] > 0.9 > measured["means"]["frozen"]
    again = works(*RACE, url, "--fresh", "--gate", "none", "--no-demonstrations")  # learned anew on top of what is live
    assert "said in the instructions: as it is" in again.stdout
    pytest.importorskip("openai.types.decision", reason="openai 3 asks for decisions")
    with package.OpenAI(base_url=url, api_key="k", store="tfgrpo.db") as client:
        client.decisions.create(model="m", input="7: beta", questions=[QUESTION])
        client.tfgrpo.close()
    assert decides.bodies[-1]["questions"][0]["instructions"].endswith(ADVICE)


def test_a_server_that_does_not_chat_writes_nothing_and_its_examples_race(tasks: Path, url: str) -> None:
    learned = works(*RACE, url, "--gate", "none")
    assert "race: nothing was written" in learned.stderr
    assert "said in the instructions: as it is" in learned.stdout  # which examples make no better


def test_an_upstream_that_is_lost_in_the_middle_of_a_race_says_nothing_of_its_arms(
    tasks: Path, url: str, decides: Decides
) -> None:
    learn = *RACE, url, "--gate", "none"
    decides.knows_the_key_for = 80  # past what is said now on 75 tasks
    lost = tfgrpo(*learn)
    assert lost.exit_code == 1, lost.output
    assert "answered 401" in lost.stderr.splitlines()[-1]
    decides.knows_the_key_for = math.inf
    again = json.loads(works(*learn, "--json").stdout)
    assert (again["resumed"], again["state"]) == (True, "ungated")
    assert {one["source"] for one in again["race"]} >= {"as it is", "8 examples"}


def test_a_race_goes_on_where_its_budget_ended_and_with_other_settings_it_is_another(
    tasks: Path, url: str, decides: Decides
) -> None:
    decides.writes = ADVICE
    assert tfgrpo(*RACE, url, "--max-calls", "90").exit_code == 3
    asked = len(decides.bodies)
    learned = json.loads(works(*RACE, url, "--json").stdout)
    assert (learned["resumed"], learned["said"], learned["state"]) == (True, "written 1", "live")
    assert learned["usage"]["calls"] == len(decides.bodies) + decides.written > asked
    with Store("tfgrpo.db") as store:
        store.set_state("default", learned["candidate"], "rolled back", frame=Frame("m"))
    assert tfgrpo(*RACE, url, "--max-calls", "50").exit_code == 3
    other = json.loads(works(*RACE, url, "--json", "--no-demonstrations").stdout)
    assert (other["resumed"], other["run"] != learned["run"]) == (False, True)


def test_a_question_with_an_image_is_learned_for_that_image_which_the_store_never_holds(
    tasks: Path, url: str, decides: Decides
) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAABBBB"}
    asked = {**QUESTION, "instructions": [{"type": "input_text", "text": "Which?"}, image]}
    (tasks / "q.json").write_text(json.dumps(asked))
    learned = json.loads(works(*LEARN, url, "--json").stdout)
    measured = json.loads(works(*EVAL, url, "--json").stdout)["means"]
    assert measured["learned"] >= measured["frozen"] + 0.3
    assert decides.bodies[0]["questions"] == [asked]
    assert learned["offsets"]
    assert not any(b"AAAABBBB" in file.read_bytes() for file in tasks.glob("tfgrpo.db*"))
    (tasks / "q.json").write_text(json.dumps({**asked, "instructions": "Which?"}))
    assert "no offsets for this question" in works(*EVAL, url).stderr


def test_answers_that_mean_one_option_are_one_task(tasks: Path, url: str, decides: Decides) -> None:
    lines = (tasks / "tasks.jsonl").read_text().splitlines()
    (tasks / "tasks.jsonl").write_text("\n".join([*lines, *(line.replace('alpha"}', ' ALPHA"}') for line in lines)]))
    learned = json.loads(works(*LEARN, url, "--json", "--gate", "none").stdout)
    assert learned["usage"]["calls"] == len(decides.bodies) == 75


def test_experiences_that_are_live_race_against_nothing_said(tasks: Path, url: str) -> None:
    offsets = tuple(OptionOffset(value, 0.0, 0.0, 1) for value in OPTIONS)
    live(Prior((Experience("Say what you like."),), questions=(QuestionOffsets("choice", "Which?", offsets),)))
    learned = json.loads(works(*RACE, url, "--gate", "none", "--no-demonstrations", "--json").stdout)
    assert {one["source"] for one in learned["race"]} == {"as it is", "nothing said"}
    assert learned["said"] == "nothing said"  # as good, and shorter
    with Store("tfgrpo.db") as store:
        now = store.live("default")
    assert now is not None
    assert not now.prior.has_text


def test_a_token_prior_beside_the_offsets_costs_the_gate_no_call(tasks: Path, url: str, decides: Decides) -> None:
    bias = TokenBias(1, b"a", 1.0, 3.0, 9)
    live(Prior(biases=(bias,), tokenizer="some"))
    learned = json.loads(works(*LEARN, url, "--json").stdout)
    assert (learned["gate"]["verdict"], len(decides.bodies)) == ("promoted", 60)
    with Store("tfgrpo.db") as store:
        now = store.live("default")
    assert now is not None
    assert now.prior.biases == (bias,)


def live(prior: Prior) -> None:
    with Store("tfgrpo.db") as store:
        store.add_prior(prior)
        store.set_state("default", prior.id, "ungated", frame=Frame("m"))


def test_nothing_races_where_what_is_said_reaches_more_than_the_question(tasks: Path, url: str) -> None:
    works(*RACE, url, "--gate", "none")
    (tasks / "q.json").write_text(json.dumps([{**QUESTION, "instructions": "Which one?"}]))
    learned = works(*RACE, url, "--gate", "none")
    assert "no race: what namespace default says reaches more than this question" in learned.stderr


def test_a_run_that_is_made_again_learns_on_top_of_what_is_live(tasks: Path, url: str, decides: Decides) -> None:
    first = json.loads(works(*LEARN, url, "--json", "--gate", "none").stdout)
    assert first["state"] == "ungated"
    assert len(decides.bodies) == 75
    again = works(*LEARN, url, "--gate", "none")
    assert "they are live already; the live prior is as it was" in again.stdout
    (tasks / "q.json").write_text(json.dumps([{**QUESTION, "instructions": "Which one?"}]))
    works(*LEARN, url, "--gate", "none", "--max-calls", "75")
    with Store("tfgrpo.db") as store:
        live = store.live("default")
    assert live is not None
    assert {entry.instructions for entry in live.prior.questions} == {"Which?", "Which one?"}
    other = works("prior", "diff", first["candidate"], live.prior.id).stdout
    assert "none -> " in other
    assert "Which one?" in other


def test_what_the_model_does_not_answer_is_left_out_and_told(tasks: Path, url: str, decides: Decides) -> None:
    decides.refuses = "1"
    learned = works(*LEARN, url, "--gate", "none")
    assert "tasks without an answer (refused, or none of the question's options has a probability)" in learned.stderr
    assert "is live, ungated" in learned.stdout


def test_what_is_an_answer_to_another_question_is_none(tasks: Path, url: str, decides: Decides) -> None:
    for other in ({"type": "predicate", "probability": 0.3}, {"type": "choice", "probabilities": []}, 7, None):
        decides.whatever = [other]
        learned = works(*LEARN, url, "--gate", "none", "--fresh")
        assert "train: 75 tasks without an answer" in learned.stderr
        assert "nothing was learned that evidence supports" in learned.stdout


def test_options_that_a_prior_has_never_seen_are_told_where_it_is_measured(tasks: Path, url: str) -> None:
    works(*LEARN, url)
    choices = [*QUESTION["choices"], {"value": "delta"}]
    (tasks / "q.json").write_text(json.dumps({**QUESTION, "choices": choices}))
    assert "the prior has no offset for 'delta': such options keep their probability" in works(*EVAL, url).stderr


def test_tasks_without_an_answer_are_refused_in_one_line(tasks: Path, url: str) -> None:
    (tasks / "tasks.jsonl").write_text("\n".join(json.dumps({"input": f"{number}"}) for number in range(20)))
    one_line(tfgrpo(*LEARN, url), "has no answer, which names the right option; is it in another field?")


def test_dry_run_says_how_many_calls_there_will_be(tasks: Path, url: str, decides: Decides) -> None:
    assert "at most 60 calls" in works(*LEARN, url, "--dry-run").stdout
    assert "at most " in (told := works(*RACE, url, "--dry-run").stdout)
    assert 60 < int(told.split()[2].replace(",", "")) < 4 * 37 + 2 * 23 + 20
    assert decides.bodies == []


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{", ("q.json, line 1: not JSON",)),
        ("[]", ("q.json holds 0 questions",)),
        (json.dumps({**QUESTION, "type": "essay"}), ("q.json.type must be predicate, choice or score",)),
        (
            json.dumps({**QUESTION, "choices": [{"value": "true"}, {"value": True}]}),
            ("q.json: two options read 'true'", "give one of them other words"),
        ),
        (
            json.dumps({**QUESTION, "choices": [{"value": "x"}, {"value": "y"}]}),
            ("is not one of the question's options (x, y)",),
        ),
    ],
)
def test_what_is_wrong_with_a_question_is_one_line(tasks: Path, url: str, written: str, words: tuple[str, ...]) -> None:
    (tasks / "q.json").write_text(written)
    one_line(tfgrpo(*LEARN, url), *words)
    one_line(
        tfgrpo("learn", "--surface", "decisions", "none.json", "tasks.jsonl", "--model", "m"), "cannot read none.json"
    )


def test_an_agent_makes_no_decisions(tasks: Path, url: str) -> None:
    one_line(tfgrpo(*LEARN, url, "--command", "echo {input}"), "--surface decisions is one call a task")


def test_an_upstream_that_can_decide_nothing_ends_it_at_once(tasks: Path) -> None:
    one_line(tfgrpo(*RACE, "http://127.0.0.1:9/v1"), "127.0.0.1:9")


def test_a_reward_that_compares_a_group_is_refused(tasks: Path, url: str) -> None:
    one_line(tfgrpo(*LEARN, url, "--reward", "majority"), "compares the rollouts of a group, and a decision has none")
