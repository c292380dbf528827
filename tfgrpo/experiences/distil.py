"""From groups to proposals: the semantic advantage, by a language model that only proposes; numbers decide.

Long rollouts are summarised, better ones contrasted with worse ones, and failed ones with the expected answer; then the
edits of a step are merged. What tasks, rollouts and models say is data: it stands between tags that it cannot close.
Every call states its sampling (temperature 0, but 1 where many texts are wanted; top_p 1, a hashed seed) and has a
key of its own, so that a run that is resumed finds it again. Many are wanted of a step's groups: of a small model's
likeliest answers most go round in a circle until they are cut off.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from ..errors import ModelError, PromptError, UnusableError, UpstreamError
from ..hashing import canonical, content_id, derive_seed
from ..model.asking import OUR_SCHEMA
from ..prompts import Template, clip, neutralise, template, transcript
from ..records import JSON, CallKey, ChatBody, Experience, Group, Message, Reply, Rollout, Task
from ..rollouts.group import group_kind
from ..settings import Settings
from ..surfaces.chat import said_by_user
from .edits import Edit, Form, Proposals, Unusable, consolidate, filled_up, need_merging, one_update_each, repeats

if TYPE_CHECKING:
    from ..model.upstream import Model

COMPARED = 4
"""Rollouts of one group that are compared at most, half of them the best, half the worst (`paper`: all)."""
FAILED = 1
"""The same for a group that all failed, the most frequent first: with four, a small model proposed what *they* say."""
CHUNK = 4
"""A long rollout is read in parts of this many times `summary_chars`."""

_MOST_RETRIES = 1_000_000
"""More than one try at a group ever needs."""

_BLANKS: Mapping[str, Sequence[str]] = {
    "summarise": ("task", "notes", "attempt", "part", "parts", "reward", "words"),
    "contrast": ("task", "answer", "attempts", "experiences", "limit", "words"),
    "answer": ("task", "answer", "attempts", "experiences", "limit", "words"),
    "merge": ("experiences", "proposals", "limit", "words"),
    "written": ("tasks", "limit", "words"),
    "instruction": ("tasks", "words"),
}
"""What each stage fills in."""
_PLAIN_BLANKS: Mapping[str, Sequence[str]] = {"retry": ("error",)}
"""The same for templates that are no chat of their own."""
PROMPTS = (*_BLANKS, *_PLAIN_BLANKS)
"""The templates that a folder of the user's holds."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Distiller:
    """The model that proposes, and all that its calls depend on."""

    model: "Model"
    name: str
    """Model name in the request."""
    run: str
    settings: Settings
    templates: Mapping[str, Template] = field(default_factory=lambda: templates(None), repr=False)
    """By name; read once, so that a file that is changed during a run changes nothing."""
    request: Mapping[str, JSON] = field(default_factory=dict)
    """Further body fields (a server's own samplers switched off, response_format, ...); they win over ours."""
    system_role: bool = True
    """Whether the model is known to have one, or not known to have none."""

    def template(self, name: str) -> Template:
        """The template of a stage."""
        return self.templates[name]

    def body(
        self, messages: Sequence[Message], key: CallKey, form: Form | None = None, temperature: float = 0
    ) -> ChatBody:
        """The request for one call, for an answer of that form.

        Every server is asked to hold the answer to the form's JSON schema. No probe is needed: one that refuses to says
        so at the first call and is not asked again (`refusals.py`), and one that ignores it answers as it would have.
        """
        seed = derive_seed(self.settings.seed, key.stage, key.step, key.task, key.sample, key.retry)
        sampling = {"temperature": temperature, "top_p": 1, "seed": seed, "max_tokens": self.settings.distiller_tokens}
        held = {"response_format": _response_format(form)} if form else {}
        said = list(messages) if self.system_role else said_by_user(messages)
        return {"model": self.name, "messages": said, **sampling, **held, **self.request}


def _response_format(form: Form) -> dict[str, JSON]:
    return {"type": "json_schema", "json_schema": {"name": OUR_SCHEMA, "strict": True, "schema": form.schema}}


class LaterTry:
    """The Model of a later try at distilling a group: it asks as the first try did, under keys of its own."""

    def __init__(self, model: "Model", number: int) -> None:
        """The first try has the number 0."""
        self._model, self._first = model, number * _MOST_RETRIES
        self.is_new = False
        """Whether any call was made; otherwise all that it came to was in the journal."""

    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        """As the Protocol says."""
        replayed = False
        try:
            reply = await self._model(body, replace(key, retry=key.retry + self._first))
            replayed = reply.replayed
            return reply
        finally:
            self.is_new = self.is_new or not replayed


def templates(folder: Path | None) -> Mapping[str, Template]:
    """The templates by name, of a folder of the user's or ours.

    Raises PromptError for the first that is missing or cannot be filled in, and for a `prior.md` that differs from
    ours: a prior is served where that folder is not.
    """
    found = {name: template(name, folder) for name in PROMPTS}
    for name, blanks in _BLANKS.items():
        found[name].messages(**dict.fromkeys(blanks, ""))
    for name, blanks in _PLAIN_BLANKS.items():
        found[name].render(**dict.fromkeys(blanks, ""))
    if folder and (folder / "prior.md").exists() and template("prior", folder) != template("prior"):
        raise PromptError(f"prompt prior: {folder / 'prior.md'} would not be used; priors are served with our own")
    return found


def templates_version(folder: Path | None) -> str:
    """The content id of all templates; raises PromptError as `templates` does."""
    return content_id("prompts", *(entry.version for entry in templates(folder).values()))


def can_teach(group: Group, *, ground_truth: bool = True) -> Literal["contrast", "answer"] | None:
    """How a group teaches: by its better and worse rollouts, or, when none solved it, by the task's answer.

    A group of one has nothing to compare: only its failure teaches. Without an answer, or without `ground_truth`,
    failures teach nothing.
    """
    kind = group_kind(group)
    if kind == "mixed":
        return "contrast"
    known = ground_truth and group.task.answer is not None
    return "answer" if kind in ("hopeless", "flat") and known else None


async def propose(distiller: Distiller, group: Group, current: Sequence[Experience]) -> Proposals:
    """The edits that one group proposes to the current experiences; a group that teaches nothing makes no call.

    A distiller that only repeats the list is asked once more, without it.

    A failure is told as such, never as an empty success. Raises UpstreamError when no call can succeed.
    """
    stage = can_teach(group, ground_truth=distiller.settings.ground_truth)
    if stage is None:
        return Proposals()
    try:
        return await _proposals(distiller, stage, group, tuple(current))
    except UpstreamError:
        raise
    except ModelError as error:
        return Proposals(failure=str(error), unusable=error.answers if isinstance(error, UnusableError) else 1)


async def _proposals(
    distiller: Distiller, stage: Literal["contrast", "answer"], group: Group, current: tuple[Experience, ...]
) -> Proposals:
    settings, task, prompt = distiller.settings, group.task, distiller.template(stage)
    described = [await _described(distiller, *one) for one in _compared(group, settings)]
    temperature = 0 if settings.recipe == "paper" else 1

    async def asked(listed: tuple[Experience, ...], first_try: int) -> Proposals:
        messages = prompt.messages(
            task=_quoted_task(task, settings),
            answer=_quoted_answer(task, settings),
            attempts="\n".join(described),
            experiences=_listed("E", [experience.text for experience in listed]),
            limit=str(settings.proposals),
            words=str(settings.experience_words),
        )
        form = Form(listed, settings.proposals, settings.experience_words, prompt.text, tasks=(task.id,))
        key = CallKey(distiller.run, stage, group.step, task.id, retry=first_try)
        return await ask(distiller, key, messages, form.read, form, temperature=temperature)

    found = await asked(current, 0)
    return await asked((), settings.distiller_retries + 1) if repeats(found.edits, current) else found


async def merge(
    distiller: Distiller, step: int, edits: Sequence[Edit], current: Sequence[Experience], *, rests: bool = False
) -> Proposals:
    """The edits of a step, in task order, as one list of edits; a model is asked only where it must join or choose.

    Under `measured` that is where there are more of them than places on trial: what can be tried is tried as it is, and
    what a model leaves out fills the places that it leaves free.
    When it rests or gives no usable answer the edits are merged by rule, and `failure` says why. Raises UpstreamError
    when no call can succeed.
    """
    by_rule = consolidate(edits, current)
    settings = distiller.settings
    if not need_merging(by_rule.edits, 1 if settings.recipe == "paper" else settings.trial_experiences):
        return by_rule
    if rests:
        return replace(one_update_each(by_rule), failure="the distiller rests")
    try:
        joined = await _joined(distiller, step, by_rule.edits, tuple(current))
    except UpstreamError:
        raise
    except ModelError as error:
        return replace(one_update_each(by_rule), failure=str(error))
    kept = joined.edits
    if settings.recipe != "paper":
        kept = filled_up(kept, by_rule.edits, settings.trial_experiences)
    merged = one_update_each(consolidate(kept, current))
    return replace(merged, dropped=by_rule.dropped + joined.dropped + merged.dropped)


async def _joined(
    distiller: Distiller, step: int, edits: tuple[Edit, ...], current: tuple[Experience, ...]
) -> Proposals:
    settings, prompt = distiller.settings, distiller.template("merge")
    limit = len(edits) if settings.recipe == "paper" else min(len(edits), settings.trial_experiences)
    places = {experience.id: f" E{number}" for number, experience in enumerate(current, 1)}
    said = [f"{edit.operation}{places.get(edit.target or '', '')} {edit.text}" for edit in edits]
    messages = prompt.messages(
        experiences=_listed("E", [experience.text for experience in current]),
        proposals=_listed("P", said),
        limit=str(limit),
        words=str(settings.experience_words),
    )
    form = Form(current, limit, settings.experience_words, prompt.text, proposals=edits)
    return await ask(distiller, CallKey(distiller.run, "merge", step), messages, form.read, form)


async def ask(
    distiller: Distiller,
    key: CallKey,
    messages: Sequence[Message],
    read: Callable[[str], T | Unusable],
    form: Form | None = None,
    *,
    temperature: float = 0,
    whole: bool = True,
) -> T:
    """The first usable answer; each further try is shown the last answer and what was wrong with it.

    One that was cut off is not usable, unless `whole` is false and `read` makes do with its beginning. A try that would
    repeat the last request is not made. Raises ModelError when a call fails, UnusableError when no try gives a
    usable answer.
    """
    asked, why, tries = list(messages), "", 0
    while tries <= distiller.settings.distiller_retries:
        this = replace(key, retry=key.retry + tries)
        reply = await distiller.model(distiller.body(asked, this, form, temperature), this)
        cut = whole and reply.finish_reason == "length"
        result = Unusable("it was cut off; answer shorter") if cut else read(reply.text)
        if not isinstance(result, Unusable):
            return result
        said = neutralise(clip(reply.text, distiller.settings.summary_chars)) or "(nothing)"
        correction = distiller.template("retry").render(error=neutralise(result.why))
        before, why, tries = asked, result.why, tries + 1
        asked = [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": correction}]
        if asked == before:
            break
    said = f"the distiller {distiller.name} gave no usable answer to {key.stage}, tries: {tries}, last: {why}"
    raise UnusableError(said, tries)


def _compared(group: Group, settings: Settings) -> list[tuple[Rollout, str, int]]:
    """The distinct rollouts to compare, each with its transcript and how often it came up: best reward first."""
    first: dict[tuple[float, str], Rollout] = {}
    times: Counter[tuple[float, str]] = Counter()
    for rollout in group.scored:
        kind = (rollout.reward or 0.0, transcript(rollout))
        first.setdefault(kind, rollout)
        times[kind] += 1
    ordered = sorted(first, key=lambda kind: (-kind[0], -times[kind], first[kind].sample))
    if settings.recipe != "paper" and group_kind(group) != "mixed":
        ordered = ordered[:FAILED]
    elif settings.recipe != "paper" and len(ordered) > COMPARED:
        ordered = ordered[: COMPARED // 2] + ordered[-(COMPARED // 2) :]
    return [(first[kind], kind[1], times[kind]) for kind in ordered]


async def _described(distiller: Distiller, rollout: Rollout, text: str, times: int) -> str:
    """A rollout between its tags; short ones stand for themselves (`paper`: every one is summarised)."""
    if distiller.settings.recipe == "paper" or len(text) > distiller.settings.summary_chars:
        text = await _summary(distiller, rollout, text)
    cut = ' cut_off="yes"' if rollout.finish_reason == "length" else ""
    head = f'<attempt reward="{rollout.reward:.2f}" times="{times}"{cut}>'
    said = neutralise(clip(rollout.feedback, distiller.settings.summary_chars // 4).strip())
    feedback = f"\n<feedback>\n{said}\n</feedback>" if said else ""
    return f"{head}\n{neutralise(text) or '(nothing)'}{feedback}\n</attempt>"


async def _summary(distiller: Distiller, rollout: Rollout, text: str) -> str:
    """Notes on a rollout, carried over from part to part, so that every call's context is bounded."""
    settings, prompt = distiller.settings, distiller.template("summarise")
    size = CHUNK * settings.summary_chars
    parts = [text[start : start + size] for start in range(0, len(text), size)] or [""]
    notes = ""
    for number, part in enumerate(parts):
        messages = prompt.messages(
            task=_quoted_task(rollout.task, settings),
            notes=neutralise(notes) or "(none: this is the first part)",
            attempt=neutralise(part) or "(nothing)",
            part=str(number + 1),
            parts=str(len(parts)),
            reward=f"{rollout.reward:.2f}",
            words=str(max(20, settings.summary_chars // 10)),
        )
        first_try = number * (settings.distiller_retries + 1)
        key = CallKey(distiller.run, "summarise", rollout.step, rollout.task.id, rollout.sample, first_try)
        notes = clip(await ask(distiller, key, messages, _read_notes), settings.summary_chars)
    return notes


def _read_notes(answer: str) -> str | Unusable:
    return answer.strip() or Unusable("it is empty")


def _quoted_task(task: Task, settings: Settings) -> str:
    return neutralise(clip(task.prompt, 2 * settings.summary_chars))


def _quoted_answer(task: Task, settings: Settings) -> str:
    if task.answer is None or not settings.ground_truth:
        return "(not known)"
    text = task.answer if isinstance(task.answer, str) else canonical(task.answer)
    return neutralise(clip(text, settings.summary_chars))


def _listed(letter: str, texts: Sequence[str]) -> str:
    lines = [f"{letter}{number}: {neutralise(text)}" for number, text in enumerate(texts, 1)]
    return "\n".join(lines) or "(none yet)"
