"""What a proposed experience must not be or hold before it may be tried. Pure; `refusal` gives the first objection.

An experience is shown to a model, so whoever writes tasks or steers rollouts may try to speak through it. These checks
stop carelessness and known tricks; they prove nothing. Leaks and near-duplicates are judged by `overlap`. Small models
that are to write advice echo what they were told, repeat the task that they were shown, or themselves: that is seen by
runs of words; where words are single ideographs a run has twice as many.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import log2
from typing import TYPE_CHECKING

from ..hashing import content_id
from ..prompts import instructions_of, neutralise, template
from ..records import Experience, Task
from ..settings import Settings
from ..surfaces.triggers import said_text
from ..text import too_long, words
from .overlap import NEAR, NO_MEANINGS, Meanings, leaked_task, repeated, similarity

if TYPE_CHECKING:
    from detect_secrets.plugins.base import BasePlugin


ECHOED = ("answer", "contrast", "merge", "summarise", "written", "instruction", "retry", "prior")
"""Templates of which a model may echo the words."""
ECHO, RESTATED, COPIED = 4, 5, 8
"""Words in a run: half of a text's runs of 4 in our prompts are an echo; most of its runs of 5 in one task's text, or
one run of 8 that most tasks do not share, are a copy."""
LOOP, SAID_AGAIN, COMES_AGAIN = 3, 0.3, 0.75
"""A text goes round in a circle if this share of its words stands in clauses whose runs of 3 were all said before, or
if this share of its runs comes more than once. Advice on several labels says much in the same words, and each time adds
another one."""
FEWEST_RUNS = 2
"""Runs that have to be found: one alone is chance."""
_CLAUSE_ENDS = re.compile(r"[,.!?:;\u060c\u061b\u3001\u3002\uff01\uff0c\uff1b\uff1f\n]+")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?:;\u3002\uff01\uff1f])\s*|\n+")
_SENTENCE = r"(?:^|[.!?]\W*\s)(?:(?:now|so|well|then|yes|great)\b,? |(?:to|before|in order)\b[^.!?:]{0,60}, )?"
_ASKING = r"(?:please|kindly|(?:could|can|would) you(?: please)?) "
_REPLIES = (
    r"^\W*(?:sure|certainly|of course|absolutely|okay|understood|got it|sorry|unfortunately|thank you)\s*[!,.]",
    r"^\W*(?:natürlich|gerne|bien sûr|claro|por supuesto|certo|بالطبع)\s*[!,.،]",
    r"^\W*(?:当然|好的|もちろん(?:です)?|물론(?:이죠|입니다)?)\s*[!,.。]",
    r"^\W*i(?:'m| am) sorry\b",
    r"\bas an ai\b",
    r"^\W*i(?:'ve| have) (?:made|written|created|prepared)\b",
    r"^\W*your (?:description|question|request|input|prompt|message) is\b",
    _SENTENCE + r"i(?:'d| would| will|'ll|'m| am) (?:be )?(?:happy|glad|ready|here|unable|able|not able|help|an ai)\b",
    _SENTENCE + r"i (?:can(?:not|'t)?|do not|don't) (?:help|assist|do|provide|have|see|understand)\b",
    _SENTENCE + r"i (?:will )?need (?:more|the|to|you)\b",
    _SENTENCE + r"(?:how|what) (?:can|may|could|would|do) (?:i|you) (?:help|assist|like|want|need)\b",
    _SENTENCE + r"(?:let me know|feel free to)\b",
    _SENTENCE + _ASKING + r"(?:provide|give|send|tell|show|share|let) (?:me|us)\b",
    _SENTENCE
    + _ASKING
    + r"(?:provide|share|send|paste|enter|upload|specify|clarify) (?:(?:the|your|an?|some|any|more|all) )*"
    + r"(?:inputs?|tasks?|context|questions?|prompts?|examples?|(?:\w+ )?you(?:'d)? (?:\w+ )?(?:like|want))\b",
)
_REPLY = re.compile("|".join(_REPLIES), re.IGNORECASE)
"""How a chat assistant replies to what it was to write, seen at the beginning of a text or of a sentence."""
_OURS = ("advice", "attempt", "experience", "model", "proposal", "reward")
"""Nouns of our prompts. A text with three of them, none from the tasks, speaks of our work and not of the tasks'."""
_MOST_OURS = 2


def echoes_prompt(text: str, tasks: Sequence[Task], prompts: tuple[str, ...] = ECHOED) -> bool:
    """Whether a text says what our prompts (names of templates) say."""
    runs, ours = list(_runs(text, ECHO)), _prompts(prompts)
    echoed = sum(any(f" {run} " in prompt for prompt in ours) for run in runs)
    if echoed >= FEWEST_RUNS and 2 * echoed >= len(runs):
        return True
    if any(f" {run} " in prompt for run in _runs(text, COPIED) for prompt in ours):
        return True  # one whole phrase of ours, with other words around it
    if any(similarity(said, one) >= NEAR for said in _sentences(text) for one in _wishes(prompts)):
        return True  # a sentence of ours in nearly its words
    said = {word.removesuffix("s") for word in words(text)}
    nouns = [noun for noun in _OURS if noun in said]
    return len(nouns) > _MOST_OURS and sum(not _in_any(noun, tasks) for noun in nouns) > _MOST_OURS


def restated_task(text: str, tasks: Sequence[Task]) -> str | None:
    """The id of the first task whose text a text copies, or None."""
    short, long = list(_runs(text, RESTATED)), list(_runs(text, COPIED))
    own = [run for run in long if 2 * sum(f" {run} " in _flat(task.prompt) for task in tasks) <= max(2, len(tasks))]
    for task in tasks:
        flat = _flat(task.prompt)
        copied = sum(f" {run} " in flat for run in short)
        if (copied >= FEWEST_RUNS and 2 * copied > len(short)) or any(f" {run} " in flat for run in own):
            return task.id
    return None


def goes_round(text: str) -> bool:
    """Whether a text says the same again and again, as small models do that have lost their way."""
    said, again = set[str](), 0
    for clause in _CLAUSE_ENDS.split(text):
        runs = set(_runs(clause, LOOP))
        again += len(words(clause)) if runs and runs <= said else 0
        said |= runs
    times = Counter(_runs(text, LOOP))
    more = sum(count for count in times.values() if count > 1)
    return again > SAID_AGAIN * len(words(text)) or more > COMES_AGAIN * times.total()


def is_reply(text: str) -> bool:
    """Whether a text begins as a chat assistant's reply does, or asks whoever reads it for something to work on.

    In other languages than English it is seen by its first word alone.
    """
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
    return bool(_REPLY.search(" ".join(plain.split())))


def _in_any(noun: str, tasks: Sequence[Task]) -> bool:
    return any(f" {noun} " in _flat(task.prompt) or f" {noun}s " in _flat(task.prompt) for task in tasks)


def _runs(text: str, size: int) -> Iterator[str]:
    """Every run of so many words of a text."""
    spoken = _flat(text).split()
    size = 2 * size if 2 * sum(len(word) == 1 and word > "\u0e00" for word in spoken) > len(spoken) else size
    return (" ".join(spoken[start : start + size]) for start in range(len(spoken) - size + 1))


@lru_cache(maxsize=4096)
def _flat(text: str) -> str:
    return f" {' '.join(words(unicodedata.normalize('NFKC', text)))} "


def _sentences(text: str) -> list[str]:
    """The sentences of a text that are long enough to be known again."""
    return [part for part in _SENTENCE_ENDS.split(text) if len(words(part)) >= ECHO]


@lru_cache
def _prompts(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_flat(instructions_of(template(name))) for name in names)


@lru_cache
def _wishes(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one for name in names for one in _sentences(instructions_of(template(name))))


SECRET_CHARS, SECRET_BITS = 20, 3.4
"""A run of so many letters and digits mixed, of so many bits each (Shannon), is a key and no word."""

_LINK = re.compile(
    r"\w+://\S+|\bwww\.\S+|\b(?:[\w-]+\.)+(?:com|net|org|io|dev|app|ai|co|info|biz|xyz|ru|cn)\b(?:/\S*)?", re.IGNORECASE
)
_ROLE = re.compile(
    r"(?:^|[\n.!?;]\s*|#+\s*)(?:system|assistant|developer|user|human|tool)(?:\s+(?:prompt|message))?\s*:"
    r"|#{2,}\s*(?:system|instructions?|response)\b",
    re.IGNORECASE,
)
_OVERRIDE = re.compile(
    r"\b(?:ignor\w*|disregard\w*|forget|override|bypass|oublie\w*|vergiss|olvida\w*)\W+(?:\w+\W+){0,4}?"
    r"(?:instructions?|instrucciones|anweisungen|consignes|prompts?|rules|guidelines|messages?)\b"
    r"|\b(?:reveal|print|repeat|leak|show|output)\W+(?:\w+\W+){0,3}?"
    r"(?:system|hidden|secret)\W+(?:prompt|message|instructions?)\b"
    r"|\byou are now\b|\bnew instructions\b|\bjailbreak"
    r"|(?:忽略|无视).{0,8}(?:指令|指示|提示)",
    re.IGNORECASE,
)
_COMMAND = re.compile(
    r"\brm\s+-\w*[rf]|\b(?:curl|wget|sudo)\s+\S|\|\s*(?:ba)?sh\b|\b(?:eval|exec|os\.system)\s*\("
    r"|\"(?:arguments|tool_calls)\"\s*:",
    re.IGNORECASE,
)
_JOINERS = "\u200c\u200d"
"""Invisible characters that some scripts and emoji need."""
_MIXED = re.compile(r"[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")
"""Latin and Cyrillic letters side by side: words that look like others."""
_OPAQUE = re.compile(rf"[A-Za-z0-9+/=]{{{SECRET_CHARS},}}")
_NAMING_DETECTORS = ("CloudantDetector", "IbmCloudIamDetector", "IbmCosHmacDetector", "SoftlayerDetector")
"""These look for a name and a key behind it, from each word on; few texts hold a key behind any name."""
_KEY_NAMES = ("key", "pw", "pass", "token", "cloudant.com", "softlayer.com")
_DOTTED = re.compile("\u0131|i\u0307")
"""The Turkish letters that are an i to `re.IGNORECASE`, as `casefold` leaves them."""
_NAMED_KEY = re.compile(
    r"""(?:key|pwd|pw|pass|password|token)["']?\]? *(?::=|=>|::|=|:| ) *["']?[\w\-]{24}|cloudant\.com|softlayer\.com"""
)


def refusal(
    experience: Experience,
    existing: Sequence[Experience],
    tasks: Sequence[Task],
    settings: Settings,
    meanings: Meanings = NO_MEANINGS,
    *,
    prompts: tuple[str, ...] = ECHOED,
) -> str | None:
    """Why an experience may not be tried, or None.

    `existing` are the experiences that it must not repeat, `meanings` tells those that say the same in other words;
    `tasks` are those whose answers it must not give away, `prompts` the templates whose words it must not echo. An
    answer that several tasks share is a label: naming it is no leak. A demonstration may hold its source task's answer.
    """
    if objection := _ill_formed(experience, settings) or text_refusal(experience.text, tasks):
        return objection
    if task := leaked_task(experience, tasks):
        return f"it gives away the answer of {task}"
    if experience.kind == "strategy" and (objection := _no_advice(experience.text, tasks, prompts)):
        return objection
    if same := repeated(experience.text, existing, tasks, meanings):
        return f"it says what {same} says already"
    return None


def _no_advice(text: str, tasks: Sequence[Task], prompts: tuple[str, ...]) -> str | None:
    if goes_round(text):
        return "it says the same again and again"
    if is_reply(text):
        return "it is a reply to whoever asked for it"
    if echoes_prompt(text, tasks, prompts):
        return "it echoes the prompt"
    task = restated_task(text, tasks)
    return f"it restates a task ({task})" if task else None


def text_refusal(text: str, tasks: Sequence[Task]) -> str | None:
    """Why a text of a stranger's may not stand among our instructions to a model, whatever its length and form."""
    plain = unicodedata.normalize("NFKC", text)
    return _injection(plain) or _link(plain, tasks) or secret_in(plain)


def _ill_formed(experience: Experience, settings: Settings) -> str | None:
    if not words(experience.text):
        return "it is empty"
    if experience.kind == "demonstration":
        return None
    if len(experience.text.splitlines()) > 1:
        return "it has more than one line"
    return too_long(said_text(experience.text), settings.experience_words)


def _injection(text: str) -> str | None:
    if any(unicodedata.category(char) in ("Cc", "Cf", "Co") and char not in _JOINERS + "\n\t" for char in text):
        return "it holds invisible characters"
    if _MIXED.search(text):
        return "it mixes alphabets within a word"
    if neutralise(text) != text:
        return "it opens or closes a delimiter of a prompt"
    if _ROLE.search(text):
        return "it speaks in the role of another message"
    if _OVERRIDE.search(text):
        return "it gives orders about other instructions"
    return "it holds a command or a tool call" if _COMMAND.search(text) else None


def _link(text: str, tasks: Sequence[Task]) -> str | None:
    links = {match.group().rstrip(".,;:)\"'") for match in _LINK.finditer(text)}
    if all(any(link in task.prompt for task in tasks) for link in links):
        return None
    return "it holds a link that is in no task"


def secret_in(text: str) -> str | None:
    """What looks like a secret in a text: its kind is named, never the secret."""
    if kind := next((kind for kind, secret in _detected(text) if secret), None):
        return f"it holds what looks like a secret ({kind})"
    return "it holds what looks like a key" if any(map(_is_opaque, _OPAQUE.findall(text))) else None


def without_secrets(text: str) -> str:
    """The same text; what looks like a secret is a mark in its place, the same for the same one."""
    found = {secret for _, secret in _detected(text)}
    found |= {run for run in _OPAQUE.findall(text) if _is_opaque(run)}
    for secret in sorted(filter(None, found), key=len, reverse=True):
        text = text.replace(secret, f"[{content_id('secret', secret)[:11]}]")
    return text


def _is_opaque(run: str) -> bool:
    return bool(re.search(r"\d", run) and re.search(r"[A-Za-z]", run) and _bits(run) > SECRET_BITS)


def _bits(run: str) -> float:
    """Shannon entropy of the characters, in bits a character."""
    return -sum(count / len(run) * log2(count / len(run)) for count in Counter(run).values())


def _detected(text: str) -> Iterator[tuple[str, str]]:
    """What the detectors find: the kind of secret, and the secret."""
    folded = _DOTTED.sub("i", text.casefold())
    for detector, may_find in _detectors():
        if may_find(folded):
            yield from ((detector.secret_type, secret) for secret in detector.analyze_string(text))


@lru_cache(maxsize=1)
def _detectors() -> tuple[tuple["BasePlugin", Callable[[str], bool]], ...]:
    """The detectors of detect-secrets that know a form of secret, those that are slow with what tells from a text in
    lower case that they would find nothing; its guesses by entropy expect quoted source code."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import BasePlugin, RegexBasedDetector
    from detect_secrets.plugins.ip_public import IPPublicDetector
    from detect_secrets.plugins.keyword import DENYLIST, KeywordDetector

    spelt = tuple({word.replace("_?", mark).casefold() for word in DENYLIST for mark in ("_", "")})
    hints: dict[str, Callable[[str], bool]] = {
        "KeywordDetector": lambda folded: any(word in folded for word in spelt),
        "ArtifactoryDetector": lambda folded: "akc" in folded or "ap" in folded,
        **dict.fromkeys(_NAMING_DETECTORS, _names_a_key),
    }
    found: Mapping[str, type[BasePlugin]] = get_mapping_from_secret_type_to_class()
    known = [kind for kind in found.values() if issubclass(kind, RegexBasedDetector | KeywordDetector)]
    return tuple((kind(), hints.get(kind.__name__, bool)) for kind in known if kind is not IPPublicDetector)


def _names_a_key(folded: str) -> bool:
    return any(name in folded for name in _KEY_NAMES) and bool(_NAMED_KEY.search(folded))
