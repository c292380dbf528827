"""The page of a run: its numbers are the store's, its texts are harmless, and it stands alone."""

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

from tests import stories
from tests.cli.shell import one_line, tfgrpo, works
from tests.help import commands
from tfgrpo.cli import main
from tfgrpo.model.prices import FixedPrice
from tfgrpo.records import (
    Decision,
    Effect,
    Experience,
    Frame,
    Group,
    Origin,
    Prior,
    Rollout,
    Run,
    RunStatus,
    Task,
    TokenBias,
    Usage,
)
from tfgrpo.report import gather_figures, render_page
from tfgrpo.report.repeat import NAMED, SWITCHES, VALUES, repeat_of
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.trials import Reached, task_set_id

VOID = {"meta", "br", "hr", "link", "img", "input", "use"}


class Page(HTMLParser):
    """A page as a reader's program sees it: numbers and text by the id of the element around them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str | None]] = []
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.numbers: dict[str, list[float]] = {}
        self.words: dict[str, str] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append((tag, found.get("id")))
        if tag == "data":
            for name in self._around():
                self.numbers.setdefault(name, []).append(float(found["value"] or "nan"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for name in ("page", *self._around()):
            self.words[name] = self.words.get(name, "") + data

    def _around(self) -> list[str]:
        return [name for _, name in self.open if name]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "tfgrpo.db") as opened:
        yield opened


async def told(store: Store) -> tuple[str, Page]:
    run, _ = await stories.tell(store)
    return run.id, Page(render_page(gather_figures(store, run.id)))


# Numbers


async def test_the_numbers_of_the_steps_are_the_stores(store: Store) -> None:
    run, page = await told(store)
    expected = []
    for step in gather_figures(store, run).steps:
        assert step.reward
        groups = [group for group in store.groups(run) if group.step == step.number - 1]
        rewards = [rollout.reward for group in groups for rollout in group.scored if rollout.reward is not None]
        assert step.reward.mean == pytest.approx(sum(rewards) / len(rewards))
        rollouts = sum(len(group.rollouts) for group in groups)
        kinds = [step.kinds[kind] for kind in ("mixed", "solved", "hopeless", "unscored")]
        expected += [step.reward.mean, step.reward.low, step.reward.high, *kinds, rollouts - len(rewards), rollouts]
    assert page.numbers["steps"] == expected


async def test_the_numbers_of_the_experiences_are_the_stores(store: Store) -> None:
    run, page = await told(store)
    last = {effect.experience: effect for effect in store.effects("default", run)}
    effects = [last[Experience(text).id] for text in (stories.HELPS, stories.HURTS)]
    shown = page.numbers["forest"]
    assert shown[0::4] == [effect.mean for effect in effects]
    assert shown[1::4] == pytest.approx([effect.mean - 1.96 * effect.sd for effect in effects], abs=1e-4)
    assert shown[2::4] == pytest.approx([effect.mean + 1.96 * effect.sd for effect in effects], abs=1e-4)
    assert shown[3::4] == [effect.evidence for effect in effects]


async def test_the_numbers_of_the_token_biases_and_of_the_spend_are_the_stores(store: Store) -> None:
    run, page = await told(store)
    assert page.numbers["biases"] == [2.5, 4.0, -0.5, -1.5]
    spent = store.spent(run)
    assert page.numbers["stages"][-3:] == [spent.calls, spent.prompt_tokens, spent.completion_tokens]
    stages = [usage for _, usage in store.spent_by_stage(run).items()]
    assert page.numbers["stages"][:-3] == [
        number for usage in stages for number in (usage.calls, usage.prompt_tokens, usage.completion_tokens)
    ]


@pytest.mark.parametrize("verdict", ["promoted", "rejected", None])
async def test_the_numbers_of_the_gate_are_the_stores(store: Store, verdict: Reached | None) -> None:
    run, prior = await stories.tell(store)
    stories.validate(store, run, prior, (-0.5, 1.5, 3.95), verdict)
    (gate,) = store.trials(run=run.id)
    page = Page(render_page(gather_figures(store, run.id)))
    outcome = gate.outcome
    found = (outcome.estimate, outcome.low, outcome.high, outcome.lost, outcome.lost_by_candidate) if outcome else ()
    terms = (gate.number, len(gate.tasks), gate.level, gate.alpha)
    e_value = outcome.e_value if outcome else math.exp(3.95)
    assert page.numbers["gate-facts"] == pytest.approx([e_value, 1 / gate.level, 3, 32, *found, *terms])
    assert ("for a <reason>" in page.words["page"]) == (verdict == "rejected")


async def test_the_last_evaluation_of_the_prior_stands_beside_what_the_run_says(store: Store) -> None:
    run, prior = await stories.tell(store)
    stories.evaluate(store, prior)
    page = Page(render_page(gather_figures(store, run.id)))
    assert page.numbers["arms"] == [0.479, 0.812, 0.5, 0.812, 0.755, 0.9, 0.333]
    assert page.numbers["contrasts"] == [number for one in stories.CONTRASTS.values() for number in one.values()]


async def test_what_it_cost_is_said_where_a_price_is_given(store: Store) -> None:
    run, _ = await stories.tell(store)
    page = Page(render_page(gather_figures(store, run.id), FixedPrice(1.0, 10.0)))
    usd = [
        usage.prompt_tokens * 1e-6 + usage.completion_tokens * 1e-5 for usage in store.spent_by_stage(run.id).values()
    ]
    assert page.numbers["stages"][3::4] == pytest.approx([*usd, sum(usd)])


async def test_what_was_refused_and_what_failed_is_counted_with_examples(store: Store) -> None:
    _, page = await told(store)
    for text in ("it gives away the answer of a task", *stories.LEAKS, "14 rollouts failed: timed out", "no JSON"):
        assert text in page.words["page"]


# It stands alone


async def test_it_loads_nothing_and_runs_nothing(store: Store) -> None:
    run, _ = await stories.tell(store)
    html = render_page(gather_figures(store, run.id))
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "a"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not re.search(r"@import|@font-face|https?:|url\((?!#)", html)
    policies = [found["content"] for tag, found in page.tags if found.get("http-equiv") == "Content-Security-Policy"]
    assert policies[0] and policies[0].startswith("default-src 'none'; style-src 'unsafe-inline';")


async def test_ids_are_unique_and_what_plots_refer_to_is_there(store: Store) -> None:
    run, _ = await stories.tell(store)
    html = render_page(gather_figures(store, run.id))
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert not [name for name in ids if ids.count(name) > 1]
    referred = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', html)
    assert referred
    assert {one or other for one, other in referred} <= set(ids)


async def test_plots_take_the_colours_and_letters_of_the_page(store: Store) -> None:
    run, _ = await stories.tell(store)
    html = render_page(gather_figures(store, run.id))
    plots = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert set(re.findall(r"var\(--(\w+)\)", plots)) <= set(re.findall(r"--(\w+):", html))
    assert "var(--good)" in plots
    assert not re.search(r"#[0-9a-f]{6}|font-family", plots)


async def test_every_section_has_a_heading_and_every_plot_a_name_or_a_table(store: Store) -> None:
    _, page = await told(store)
    ids = {found.get("id") for tag, found in page.tags if tag == "h2"}
    assert [found.get("aria-labelledby") in ids for tag, found in page.tags if tag == "section"] == [True] * 8
    assert all(found.get("aria-label") for tag, found in page.tags if tag == "figure")


# Texts of others

HOSTILE = (
    "</style></svg><script>alert(1)</script>",
    "<img src=x onerror=alert(1)> & \"quoted\" 'so'",
    "{{ 7 * 7 }} {% include 'page.css' %} $x^2$ \\frac",
    "\u202eright to left\u202c \x00\x1b[2J \ud800 \u2028 zero\u200bwidth",
    "]]><!-- --> <bdi></bdi></bdi> 日本語 🧪",
)


def hostile(store: Store, text: str) -> str:
    """A run in which every text that somebody else writes is this one."""
    writable = text.encode("utf-8", "replace").decode()
    task = Task(writable, writable)
    store.add_tasks([task])
    frame = Frame(writable, writable, {"stop": writable})
    run, _ = store.begin(Run("learn", writable, frame, {"distiller": writable}, (task.id,), writable))
    store.add_group(run.id, stories.group_of(task, 0, (1.0, 0.0)))
    failed = Rollout(task, 1, 0, "prior_0", text=text, error=text)
    store.add_group(run.id, Group(task, 1, (failed,)))
    origin = Origin(run.id)
    found = (
        Experience(f"kept {writable}", origin=origin),
        Experience(f"refused {writable}", origin=origin),
        Experience(f"shown {writable}", "demonstration", origin),
    )
    store.add_experiences(writable, found)
    store.add_effects(writable, [Effect(found[0].id, run.id, 0, 0.1, 0.05, 8)])
    store.add_decisions(writable, [Decision(found[0].id, "kept", text, run=run.id)])
    store.add_decisions(writable, [Decision(found[1].id, "refused", text, run=run.id)])
    store.add_decisions(writable, [Decision(found[2].id, "on trial", text, run=run.id)])
    store.add_decisions(writable, [Decision(found[0].id, "retired", text, writable)])
    prior = Prior(found[:1], (TokenBias(1, text.encode("utf-8", "surrogatepass"), 1.0, 2.0, 4),), "t")
    store.add_prior(prior)
    store.set_state(writable, prior.id, "ungated", frame=frame, run=run.id)
    store.end(run.id, "finished", Usage(), {"notes": [text]})
    return run.id


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_others_are_shown_and_never_obeyed(store: Store, text: str) -> None:
    page = Page(html := render_page(gather_figures(store, hostile(store, text))))
    plain = Page(render_page(gather_figures(store, hostile(store, "plain"))))
    assert [(tag, sorted(found)) for tag, found in page.tags] == [(tag, sorted(found)) for tag, found in plain.tags]
    html.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    first = text.split(maxsplit=1)[0]
    assert page.words["page"].count(first if first.isprintable() else "\\u202eright") >= 5


# Runs that have little to tell


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
async def test_a_run_that_did_not_finish_has_a_page(store: Store, status: RunStatus) -> None:
    run = await stories.begin(store)
    if status != "running":
        store.end(run.id, status, store.spent(run.id), {"error": "401: no <key>"})
    page = Page(render_page(gather_figures(store, run.id)))
    assert page.words["verdict"] == {"running": "Running, or killed"}.get(status, status.capitalize())
    assert ("401: no <key>" in page.words["page"]) == (status == "failed")
    assert page.numbers["stages"][-3:] == [7, 700, 70]


def test_a_run_in_which_nothing_happened_has_a_page(store: Store) -> None:
    run, _ = store.begin(Run("learn", "default", Frame("m"), {}, (), "exact"))
    page = Page(render_page(gather_figures(store, run.id)))
    assert "No step has been completed." in page.words["page"]
    assert "None was proposed." in page.words["page"]


def test_a_step_in_which_nothing_was_scored_has_a_page(store: Store) -> None:
    store.add_tasks(stories.TASKS)
    run, _ = store.begin(Run("learn", "default", Frame("m"), {}, (stories.TASKS[0].id,), "exact"))
    store.add_group(run.id, stories.group_of(stories.TASKS[0], 0, (None, None)))
    page = Page(render_page(gather_figures(store, run.id)))
    assert page.numbers["steps"] == [1, 2, 2]


def test_an_evaluation_has_a_page(store: Store) -> None:
    store.add_prior(Prior())
    run = stories.evaluate(store, Prior())
    page = Page(render_page(gather_figures(store, run.id)))
    assert page.words["verdict"] == "Better than frozen by +27.6 points"
    assert page.numbers["arms"] == [0.479, 0.812, 0.5, 0.812, 0.755, 0.9, 0.333]
    assert page.numbers["contrasts"] == [number for one in stories.CONTRASTS.values() for number in one.values()]
    assert page.words["command"].endswith(f"--prior {Prior().id}")


def test_an_evaluation_on_a_few_tasks_has_no_interval(store: Store) -> None:
    store.add_prior(Prior())
    figures = gather_figures(store, stories.evaluate(store, Prior()).id)
    assert figures.measured
    text = render_page(replace(figures, measured=replace(figures.measured, tasks=4)))
    ends = {number for one in stories.CONTRASTS.values() for number in (one["low"], one["high"])}
    assert not ends & set(Page(text).numbers["contrasts"])
    assert "no interval" in text


# The command line


def test_a_port_is_repeated_as_one() -> None:
    settings = {**Settings().as_json(), "ported": "prior_1", "from": "mail", "known_effect": 0.2, "kl_limit": 9.0}
    run = Run("learn", "mail@new", Frame("new", system="Be brief."), settings, (), "exact")
    repeat = repeat_of(run)
    assert repeat.command == "tfgrpo port mail --to new --base-url URL --into mail@new --gate none"
    assert (repeat.system, repeat.unsettable) == (None, ())


def test_what_learned_offsets_is_repeated_with_its_question() -> None:
    settings = {"surface": "decisions", "question": {"type": "choice"}, "seed": 0, "alpha": 0.01, "race": False}
    repeat = repeat_of(Run("learn", "default", Frame("m"), settings, (), "exact"))
    command = "tfgrpo learn --surface decisions QUESTION.json TASKS --base-url URL --model m --reward exact"
    assert (repeat.command, repeat.unsettable) == (f"{command} --gate none --alpha 0.01 --no-race", ())


def test_every_option_of_the_command_that_repeats_a_run_exists() -> None:
    options = {
        name: {option for one in command.params if isinstance(one, click.Option) for option in one.opts}
        for name, command in commands(main, "tfgrpo")
    }
    for name, option in {**VALUES, **SWITCHES, **NAMED}.items():
        assert option in options["tfgrpo eval" if name == "repeats" else "tfgrpo learn"]


def test_the_command_states_what_is_not_the_default() -> None:
    settings = Settings(seed=3, ground_truth=False, review=True, kl_limit=0.1)
    told = {**settings.as_json(), "distiller": "a model", "prompts": "prompts_other"}
    run = Run("learn", "math", Frame("m", "Be brief.", temperature=1.0), told, (), "my:reward")
    repeat = repeat_of(run)
    assert repeat.command == (
        "tfgrpo learn TASKS --base-url URL --model m --reward my:reward --namespace math --system system.txt"
        " --temperature 1 --gate none --seed 3 --no-ground-truth --review --distiller-model 'a model' --prompts PROMPTS"
    )
    assert repeat.unsettable == ("kl_limit",)
    assert (repeat.system, repeat.request) == ("Be brief.", None)


def test_the_recipe_of_a_paper_has_its_own_defaults() -> None:
    told = {**Settings.for_recipe("paper", steps=5).as_json()}
    repeat = repeat_of(Run("learn", "default", Frame("m"), told, (), "exact"))
    assert repeat.command.endswith("--reward exact --gate none --steps 5 --recipe paper")


@pytest.mark.parametrize(
    ("agent", "option"),
    [("my.agents:solve", "--agent my.agents:solve"), ("solve {input}", "--command 'solve {input}'")],
)
def test_an_agent_and_the_sides_of_a_gate_are_in_the_command(agent: str, option: str) -> None:
    told = {**Settings(gate_alpha=0.01).as_json(), "agent": agent, "validation": "set_1", "test": "set_2"}
    command = repeat_of(Run("learn", "default", Frame("m"), told, (), "exact")).command
    assert command.endswith(f"--alpha 0.01 {option} --validation VALIDATION --test TEST")


def test_the_page_says_how_many_tasks_each_side_had(store: Store) -> None:
    store.add_tasks(stories.TASKS)
    ids = [task.id for task in stories.TASKS]
    sides: dict[str, str] = {"validation": task_set_id(ids[:5]), "test": task_set_id(ids[5:])}
    run, _ = store.begin(Run("learn", "default", Frame("m"), sides, (), "exact"))
    store.hold_out(run.id, "validation", ids[:5])
    store.hold_out(run.id, "test", ids[5:])
    words = Page(render_page(gather_figures(store, run.id))).words["page"]
    assert "VALIDATION that of the 5 validation tasks, TEST that of the 1 test tasks" in words


async def test_the_page_is_written_where_it_is_asked_for_over_what_is_there(folder: Path) -> None:
    with Store("tfgrpo.db") as store:
        run, _ = await stories.tell(store)
    Path("r.html").write_text("old")
    result = works("report", run.id[:8], "-o", "r.html")
    assert result.stdout == ""
    assert result.stderr.startswith("r.html: ")
    assert Path("r.html").read_text(encoding="utf-8") == works("report", run.id, "-o", "-").stdout
    told = json.loads(works("report", run.id, "-o", "r.html", "--json").stdout)
    assert (told["run"], told["output"], told["bytes"]) == (run.id, "r.html", Path("r.html").stat().st_size)
    assert told["verdict"]["title"] in Path("r.html").read_text(encoding="utf-8")
    one_line(tfgrpo("report", run.id, "-o", "-", "--json"), "--json and -o -")
    works("report", run.id)
    assert Path("report.html").exists()


async def test_bad_input_is_one_line(folder: Path) -> None:
    one_line(tfgrpo("report", "run_nowhere"), "tfgrpo.db", "")
    with Store("tfgrpo.db") as store:
        run, _ = await stories.tell(store)
    one_line(tfgrpo("report", "run_nowhere"), "run_nowhere", "runs list")
    one_line(tfgrpo("report", run.id, "-o", "no/such/r.html"), "no/such/r.html")
    one_line(tfgrpo("report", run.id, "-o", "."), "cannot write .")
    one_line(tfgrpo("report", run.id, "--price", "free"), "price 'free' must be IN/OUT")


async def test_without_its_libraries_a_report_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store("tfgrpo.db") as store:
        run, _ = await stories.tell(store)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    one_line(tfgrpo("report", run.id), "matplotlib, of the extra `report`", "pip install", "[report]'")
    assert not Path("report.html").exists()
