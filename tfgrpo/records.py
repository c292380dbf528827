"""The nouns that stages exchange: frozen, and free of behaviour beyond their own identity."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from .errors import InputError
from .hashing import content_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JSON: TypeAlias = Any
"""Anything that `json.loads` can return."""
Message: TypeAlias = Mapping[str, JSON]
"""One chat message, as the OpenAI API spells it."""
ChatBody: TypeAlias = Mapping[str, JSON]
"""The JSON body of a POST to /chat/completions."""
Vector: TypeAlias = tuple[float, ...]
"""A text's place by an embedding model; texts of like meaning point in like directions."""


@dataclass(frozen=True, slots=True)
class Task:
    """One example to learn from or to be measured on; equal tasks share an id and are one task with a count.

    A name that a file gives the task is kept as `metadata["id"]`, and is no part of its identity.
    """

    input: str | tuple[Message, ...]
    answer: JSON = None
    metadata: Mapping[str, JSON] = field(default_factory=dict)
    count: int = 1
    id: str = field(init=False)

    def __post_init__(self) -> None:
        told = {name: value for name, value in self.metadata.items() if name != "id"}
        object.__setattr__(self, "id", content_id("task", self.input, self.answer, told))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The input as chat messages."""
        return _messages(self.input)

    @property
    def prompt(self) -> str:
        """The input as text, for people, for the distiller and for leak checks."""
        return "\n".join(message_text(message) for message in self.messages)


def _messages(given: str | tuple[Message, ...]) -> tuple[Message, ...]:
    return ({"role": "user", "content": given},) if isinstance(given, str) else given


def message_text(message: Message) -> str:
    """The text of one chat message, whether its content is a string, a list of parts or absent."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return "" if content is None else str(content)


def _is_bias(token: JSON, bias: JSON) -> bool:
    number = isinstance(bias, int | float) and not isinstance(bias, bool)
    return str(token).isdecimal() and number and abs(bias) <= 100


@dataclass(frozen=True, slots=True)
class Frame:
    """The request around each task: a prior is only known to help under the frame that it was learned in."""

    model: str
    system: str | None = None
    request: Mapping[str, JSON] = field(default_factory=dict)
    """Further body fields (tools, max_tokens, response_format, ...), sent as they are."""
    temperature: float = 0.7
    top_p: float = 1.0
    labels: tuple[str, ...] = ()
    """An answer is one of these; none: it is a text, or nothing is said of it. No part of what a run is."""

    def __post_init__(self) -> None:
        """Raises InputError for sampling settings or biases that no upstream could take."""
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature is {self.temperature}; it must be a number of at least 0")
        object.__setattr__(self, "labels", tuple(self.labels))
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        biases = self.request.get("logit_bias") or {}
        if not (isinstance(biases, Mapping) and all(_is_bias(*entry) for entry in biases.items())):
            raise InputError("logit_bias of the request must map token ids to numbers from -100 to 100")


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls have cost so far."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, eq=False)
class TokenTrace:
    """What was sampled at each of L positions, and the likeliest alternatives there (at most K).

    Log-probabilities are natural logarithms as the server reported them: of which policy (before or after the bias, at
    which temperature) is said by `Backend`. Positions that the server left without a log-probability are not in here.
    """

    ids: "NDArray[np.int64]"
    """Token ids, shape (L, 1 + K): column 0 was sampled, the others are distinct; -1: none."""
    logprobs: "NDArray[np.float64]"
    """Their log-probabilities, shape (L, 1 + K); -inf where there is none."""
    pieces: Mapping[int, bytes]
    """The bytes of each token id that occurs."""


@dataclass(frozen=True, slots=True, eq=False)
class AnswerTree:
    """All answers to one request, as far as an upstream lists them: what may come after each of N beginnings.

    The first beginning is the empty one; each other is another one's with one of the tokens listed there.
    """

    tokens: "NDArray[np.int64]"
    """Token ids listed after each beginning, shape (N, C); -1: none."""
    reported: "NDArray[np.float64]"
    """Their log-probabilities at temperature 1 and without a token prior, shape (N, C); -inf where there is none."""
    rewards: "NDArray[np.float64]"
    """Of the answer that ends with that token, shape (N, C); NaN where it goes on."""
    after: "NDArray[np.int64]"
    """Number of the beginning that it goes on as, always a later one, shape (N, C); -1: ended, or not listed."""
    texts: Mapping[tuple[int, int], str]
    """The answers that end, by row and column."""
    pieces: Mapping[int, bytes]
    """The bytes of each token id that occurs."""


GoesOn: TypeAlias = Literal["", "continue_final_message", "prefix", "message", "apply-template", "tokenize", "text"]
"""The name of a way by which an upstream goes on with an answer (`rollouts.ways_on`)."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What an upstream was seen to honour, measured by `probe` for one model."""

    kind: Literal["llama.cpp", "vllm", "other"] = "other"
    logit_bias: Literal["honoured", "rejected", "inert", "unknown"] = "unknown"
    """Unknown: no token could be named to force, or no answer showed what forcing it did."""
    token_ids: bool = False
    """Ids of the tokens with log-probabilities are known: the server's own, or by `Upstream.tokenizer`."""
    logprobs: bool = False
    includes_bias: bool = False
    """Reported log-probabilities are those after the bias (llama.cpp reports them before)."""
    includes_temperature: bool = False
    """Reported log-probabilities are those at the temperature of sampling, not at 1."""
    tokenizer: str = ""
    """Fingerprint of the model's tokenizer."""
    lacking: str = ""
    """Why token ids could not be had on this machine, and what to do about it."""
    fractional: bool | None = None
    """Biases that are no whole numbers are taken; None: not known."""
    id_names: bool = False
    """Asked to (`return_tokens_as_token_ids`), it names tokens by their ids."""
    system_role: Literal["honoured", "rejected", "unknown"] = "unknown"
    """Rejected: its template knows no system role, and a request with one fails."""
    shutdown_date: str = ""
    """The day on which the model leaves the API, in ISO 8601; empty where none is announced."""
    alternatives: int = 0
    """Log-probabilities listed at a position, of MOST_LISTED asked for; 0: not measured, or none come."""
    context: int = 0
    """Tokens of a prompt and its answer, at most; 0: not known."""
    goes_on: GoesOn = ""
    """How it goes on with an answer, `text` where it does not; empty: not tried."""


_ROUTE = re.compile(r"/(?:chat/completions|responses|messages|completions|decisions)$")
_PORTS = {"http": 80, "https": 443}


def backend_key(url: str) -> str:
    """The base URL that a request's URL, or a base URL itself, belongs to: no key, no query, one spelling."""
    parts = urlsplit(url)
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{port}{_ROUTE.sub('', parts.path.rstrip('/')).rstrip('/')}"


@dataclass(frozen=True, slots=True)
class Reply:
    """One completed model call."""

    text: str
    message: Message
    finish_reason: str
    usage: Usage
    trace: TokenTrace | None = None
    replayed: bool = field(default=False, compare=False)
    """It was in the journal, and no call was made."""
    choices: int = 1
    """How many the server gave; the first is the reply."""


@dataclass(frozen=True, slots=True)
class CallKey:
    """The place of one call in a run; with the hash of its request it names the call for ever."""

    run: str
    stage: str
    step: int = 0
    task: str = ""
    sample: int = 0
    retry: int = 0


@dataclass(frozen=True, slots=True)
class Rollout:
    """One try of the model, or of an agent, at a task; a failed call is a rollout with an error, not an exception."""

    task: Task
    step: int
    sample: int
    prior: str
    """Id of the prior in force."""
    included: tuple[str, ...] = ()
    """Ids of the experiences that this rollout was shown."""
    messages: tuple[Message, ...] = ()
    """The whole trajectory, tool calls and final answer included."""
    text: str = ""
    reward: float | None = None
    """In [0, 1]; None when the call or the reward failed."""
    error: str | None = None
    finish_reason: str = ""
    usage: Usage = Usage()
    trace: TokenTrace | None = None
    variant: str = ""
    """Id of the variant that it was made under, while variants race."""
    feedback: str = ""
    """What the reward said of it beside the number."""


@dataclass(frozen=True, slots=True, eq=False)
class ListedPrompt:
    """The rollouts of a group that were made under one prompt, where all their answers' probabilities are known."""

    task: Task
    request: str
    """Names the prompt: hash of the request without its biases."""
    tree: AnswerTree
    size: int
    """Rollouts of the group that it stands for; they are drawn from it, at no call."""
    mean: float
    """Their expected reward."""
    missing: float
    """Bound on the probability of answers that are not listed."""
    variant: str = ""
    included: tuple[str, ...] = ()
    """As in those rollouts."""


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one task in one step, in order of sample."""

    task: Task
    step: int
    rollouts: tuple[Rollout, ...]
    listed: tuple[ListedPrompt, ...] = field(default=(), compare=False)
    """What is known of their answers exactly, prompt by prompt; not stored, since the journal has the calls."""

    @property
    def scored(self) -> tuple[Rollout, ...]:
        """The rollouts that have a reward."""
        return tuple(rollout for rollout in self.rollouts if rollout.reward is not None)

    @property
    def rewards(self) -> "NDArray[np.float64]":
        """Rewards of the scored rollouts, shape (n,)."""
        import numpy as np  # the clients load these records, and get on without

        return np.array([rollout.reward for rollout in self.scored], dtype=np.float64)

    @property
    def is_exact(self) -> bool:
        """Whether all its rollouts are drawn from answers whose probabilities are known."""
        return bool(self.listed) and sum(one.size for one in self.listed) == len(self.rollouts)

    @property
    def mean(self) -> float:
        """The mean reward: expected where that is known, else of the scored rollouts, of which there must be one."""
        if self.is_exact:
            return sum(one.size * one.mean for one in self.listed) / len(self.rollouts)
        return float(self.rewards.mean())


@dataclass(frozen=True, slots=True)
class Observation:
    """What an environment shows after a reset or an action."""

    text: str
    over: bool = False
    """No action follows it."""
    reward: float | None = None
    """In [0, 1], where the environment gives one at its end."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an experience came from."""

    run: str = ""
    step: int = 0
    tasks: tuple[str, ...] = ()
    """Ids of the tasks whose group proposed it: left out of its own estimate."""
    parent: str | None = None
    """The experience that it replaces."""


ExperienceKind: TypeAlias = Literal["strategy", "demonstration"]


@dataclass(frozen=True, slots=True)
class Experience:
    """A short text for the prompt; immutable, and the same text is the same experience."""

    text: str
    kind: ExperienceKind = "strategy"
    origin: Origin = field(default=Origin(), compare=False)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", content_id("exp", self.kind, self.text))


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A worked example, shown as turns of its own: what was asked, and a right answer as the assistant would give it.

    The same words are the same demonstration, whichever task they come from.
    """

    input: str | tuple[Message, ...]
    answer: str
    task: str = field(default="", compare=False)
    """Id of the task that it is taken from, and is never shown on."""
    vector: str = field(default="", compare=False)
    """Of what it asks, in the compact form (`surfaces.nearest`), where an embedding model was asked for it."""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", content_id("demo", self.input, self.answer))

    def __hash__(self) -> int:
        return hash(self.id)  # messages cannot be hashed

    @property
    def messages(self) -> tuple[Message, ...]:
        """The input as chat messages."""
        return _messages(self.input)


@dataclass(frozen=True, slots=True)
class Variant:
    """A whole way to prompt: an instruction or none, an ordered set of demonstrations or none; what the race compares.

    Without both it is the frozen model.
    """

    instruction: str | None = None
    demonstrations: tuple[Demonstration, ...] = ()
    nearest: int = 0
    """0: all demonstrations are shown, in order; k: those k that are nearest to each request, the nearest last."""
    source: str = field(default="", compare=False)
    """A short name for people: `frozen`, `16 examples, draw 2`, `8 nearest`, `written 1`, `live`."""
    embedding: str = ""
    """The embedding model whose vectors tell which are nearest; empty: character trigrams do, or there is no pool."""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "embedding", self.embedding if self.nearest else "")
        object.__setattr__(self, "id", content_id("variant", *_prompting(self)))


@dataclass(frozen=True, slots=True)
class Effect:
    """What one experience is worth, as of one step: a change of the mean reward, in reward units."""

    experience: str
    run: str
    step: int
    mean: float
    sd: float
    evidence: int
    """Scored rollouts behind the estimate."""


Fate: TypeAlias = Literal["awaiting review", "refused", "waiting", "on trial", "kept", "retired"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of an experience, why, and by whom (`rule`, `distiller` or a person)."""

    experience: str
    verdict: Fate
    why: str
    by: str = "rule"
    run: str = ""
    step: int = 0


BIAS_DECIMALS = 4
"""Biases are rounded before they are hashed, stored or sent."""


@dataclass(frozen=True, slots=True)
class TokenBias:
    """One entry of a token prior: `bias` is added to the token's logit, in nats at temperature 1."""

    token: int
    piece: bytes
    bias: float
    z: float
    """Averaged bias over its jackknife standard deviation, leaving out whole tasks; by log-odds, that of `log_odds`."""
    evidence: int
    """Effective number of tasks whose mixed groups moved it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", round(float(self.bias), BIAS_DECIMALS) + 0.0)  # -0.0 is 0.0, or ids differ


QuestionKind: TypeAlias = Literal["predicate", "choice", "score"]
Option: TypeAlias = str | bool
"""The value of a choice, the label of a level, or, of a predicate, whether it is true."""


@dataclass(frozen=True, slots=True)
class OptionOffset:
    """One option of a question, and what is added to its log-probability, in nats."""

    option: Option
    offset: float
    z: float
    """The offset over its jackknife standard deviation."""
    evidence: int
    """Tasks that it was learned from."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "offset", round(float(self.offset), BIAS_DECIMALS) + 0.0)


@dataclass(frozen=True, slots=True)
class QuestionOffsets:
    """What was learned of a question's options; a question in other words is another one."""

    kind: QuestionKind
    instructions: str
    """As the caller asks it; of an image, its hash."""
    offsets: tuple[OptionOffset, ...]
    """An option that is not among them has 0."""
    id: str = field(init=False)
    """Of the question, whatever its offsets."""

    def __post_init__(self) -> None:
        ordered = sorted(self.offsets, key=lambda entry: (str(entry.option), isinstance(entry.option, bool)))
        object.__setattr__(self, "offsets", tuple(ordered))
        object.__setattr__(self, "id", question_id(self.kind, self.instructions))


def question_id(kind: str, instructions: str) -> str:
    """The id of a question of the decisions API: of what it asks, whatever it is named and whichever options it has."""
    return content_id("question", kind, instructions)


@dataclass(frozen=True, slots=True)
class Prior:
    """An immutable version of what was learned: a way to prompt, experiences in the order shown, and a token prior."""

    experiences: tuple[Experience, ...] = ()
    biases: tuple[TokenBias, ...] = ()
    tokenizer: str | None = None
    """Fingerprint of the tokenizer that the biases belong to."""
    template: str = ""
    """Version (content id) of the template that renders the experiences."""
    parent: str | None = field(default=None, compare=False)
    instruction: str | None = None
    """Stands before the experiences."""
    demonstrations: tuple[Demonstration, ...] = ()
    """In the order shown; with `nearest`, a pool to choose from."""
    nearest: int = 0
    """As of `Variant`."""
    questions: tuple[QuestionOffsets, ...] = ()
    """Offsets of the options of questions that the decisions API is asked."""
    embedding: str = ""
    """As of `Variant`; each request then costs one call of that model."""
    id: str = field(init=False)
    logit_bias: Mapping[str, float] = field(init=False, compare=False, repr=False)
    """The token prior as the API's `logit_bias` map; made once, since every request needs it."""

    def __post_init__(self) -> None:
        ordered = sorted(self.biases, key=lambda entry: entry.token)
        object.__setattr__(self, "biases", tuple(ordered))
        object.__setattr__(self, "logit_bias", {str(entry.token): entry.bias for entry in ordered})
        object.__setattr__(self, "embedding", self.embedding if self.nearest else "")
        texts = [[experience.kind, experience.text] for experience in self.experiences]
        biases = [[entry.token, entry.bias] for entry in ordered]
        prompting = [_prompting(self)] if self.instruction or self.demonstrations or self.nearest else []
        object.__setattr__(self, "questions", tuple(sorted(self.questions, key=lambda entry: entry.id)))
        learned = [[one.id, [[each.option, each.offset] for each in one.offsets]] for one in self.questions]
        offsets = [{"questions": learned}] if learned else []
        parts = [texts, biases, self.tokenizer, self.template, *prompting, *offsets]
        object.__setattr__(self, "id", content_id("prior", *parts))

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def has_text(self) -> bool:
        """Whether there is anything in it for the model to read; a token prior works unread."""
        return bool(self.instruction or self.experiences or self.demonstrations)


def _prompting(given: Variant | Prior) -> list[JSON]:
    by_vectors = [given.embedding, [entry.vector for entry in given.demonstrations]] if given.embedding else []
    return [given.instruction, [entry.id for entry in given.demonstrations], given.nearest, *by_vectors]


PriorState: TypeAlias = Literal["candidate", "canary", "live", "ungated", "rejected", "superseded", "rolled back"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a client or proxy holds in memory: the prior that is live in a namespace, and what it was learned for."""

    namespace: str
    prior: Prior
    state: PriorState
    frame: Frame


RunStatus: TypeAlias = Literal["running", "finished", "interrupted", "failed", "out of budget"]


@dataclass(frozen=True, slots=True)
class Run:
    """One learning or evaluation: everything needed to resume or repeat it. The id contains no clock."""

    kind: Literal["learn", "eval", "explore"]
    namespace: str
    frame: Frame
    settings: Mapping[str, JSON]
    tasks: tuple[str, ...]
    """Task ids in order."""
    reward: str
    parent: str | None = None
    """The prior that it started from (learn) or measures (eval)."""
    attempt: int = 0
    """The number of the repeat: how many runs with the same settings came before."""
    status: RunStatus = field(default="running", compare=False)
    usage: Usage = field(default=Usage(), compare=False)
    result: Mapping[str, JSON] = field(default_factory=dict, compare=False)
    """Figures of the finished run; `prior` names what a learning made."""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        frame = [self.frame.model, self.frame.system, self.frame.request, self.frame.temperature, self.frame.top_p]
        settings = [self.namespace, frame, self.settings, self.tasks, self.reward, self.parent, self.attempt]
        object.__setattr__(self, "id", content_id("run", self.kind, *settings))
