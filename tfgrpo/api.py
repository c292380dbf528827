"""Learn and measure from Python: what the command line does, as functions, for scripts, services and notebooks.

`alearn` and `aevaluate` are awaited; `learn` and `evaluate` are the same for callers who do not await.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from inspect import Parameter, Signature
from typing import Unpack

from .blocking import blocking
from .errors import TfgrpoError
from .observer import Observer, Watch
from .options import DEFAULTS, EvaluateOptions, LearnOptions, SettingOptions, wanted_evaluation, wanted_learning
from .progress import Display
from .report.results import EvaluationRun, LearningRun
from .store import Store, StorePath, default_store_path
from .tasks.read import TaskSource


def open_store(path: str | StorePath | None = None, *, create: bool = False) -> Store:
    """The store at a path (None: TFGRPO_STORE, else ./tfgrpo.db), to read in it what was learned; for a `with`.

    Raises StoreError where there is none, unless it is to be made.
    """
    return Store(default_store_path(path), create=create)


async def alearn(tasks: TaskSource, **options: Unpack[LearnOptions]) -> LearningRun:
    """Learn a prior from tasks, and make it live if held-out tasks show that it is better.

    Tasks are a path, `gym:FAMILY`, or dicts and Tasks. `reward` is a name (default: `exact`), or a function from a
    rollout to a number from 0 to 1, alone or in a pair with feedback, sync or async. `model` and `base_url` name the
    model (`base_url="local"`: the embedded one). The same call goes on where it was interrupted, unless `fresh`. What a
    ceiling ends is no error: `ended` of the result says so. Without an observer a display on stderr tells how it goes.
    `docs/python-api.md` explains every option and setting. Raises TfgrpoError, in one line.
    """
    with _errors_for_python():
        ready = wanted_learning(tasks, options).prepared()
        with ready.started() as started, open_store(options.get("store"), create=True) as store:
            found = await started.learn(
                store, _watch(options.get("observer")), fresh=options.get("fresh", DEFAULTS["fresh"])
            )
            return LearningRun.of(found, store.path)


async def aevaluate(tasks: TaskSource, **options: Unpack[EvaluateOptions]) -> EvaluationRun:
    """Measure a prior on tasks that were not used for learning, with intervals over tasks.

    The arms are frozen, written, few-shot and learned. `prior` is an id, a Prior, or "candidate", what was learned
    last; by default it is the live one, and where there is none what was learned last. Without a model, it is measured
    on that which it was learned on. `docs/python-api.md` explains every option. Raises TfgrpoError, in one line;
    BudgetEnded where a ceiling ends it, and a larger one goes on from there.
    """
    with (
        _errors_for_python(),
        open_store(options.get("store")) as store,
        wanted_evaluation(tasks, options).prepared(store).started() as started,
    ):
        found = await started.measure(store, _watch(options.get("observer")))
        return EvaluationRun.of(found, started.measurement.prior)


def _watch(observer: Observer | None) -> Watch:
    """What watches a run: a display on stderr where no observer is given."""
    return _PythonDisplay if observer is None else lambda usage: nullcontext(observer)


class _PythonDisplay(Display):
    """The display of the command line, with options as Python names them."""

    def note(self, line: str) -> None:
        """Print one line above the bar."""
        super().note(_in_python(line))


_PHRASES: Mapping[str, str] = {
    "--base-url local": 'base_url="local"',
    "--clip-rewards": "clip_rewards=True",
    "--command": "agent",
    "--distiller-key-env": "distiller_api_key",
    "--embedding-key-env": "embedding_api_key",
    "--fresh": "fresh=True",
    "--gate none": "gate=False",
    "--no-experiences": "experiences=False",
    "--no-stop-hopeless": "stop_hopeless=False",
    "--prior candidate": 'prior="candidate"',
    "--price IN/OUT": 'price="IN/OUT"',
    "--validation FILE": "validation=...",
}
"""How options are told on the command line, and in Python where that is not the name alone."""
_NAMES = {*LearnOptions.__annotations__, *EvaluateOptions.__annotations__}


def _in_python(text: str) -> str:
    """A message with options as Python names them."""
    for told, here in _PHRASES.items():
        text = text.replace(told, here)

    def named(found: re.Match[str]) -> str:
        name = found.group(1).replace("-", "_")
        return name if name in _NAMES else found.group()

    return re.sub(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)", named, text)


@contextmanager
def _errors_for_python() -> Iterator[None]:
    """Errors of ours name options as Python does."""
    try:
        yield
    except TfgrpoError as error:
        error.args = (_in_python(str(error)), *error.args[1:])
        raise


def _signature(options: type, result: type) -> Signature:
    """What help shows: every option by name, and the settings as such."""
    names = [name for name in options.__annotations__ if name not in SettingOptions.__annotations__]
    named = [Parameter(name, Parameter.KEYWORD_ONLY, default=DEFAULTS.get(name)) for name in names]
    tasks, settings = Parameter("tasks", Parameter.POSITIONAL_OR_KEYWORD), Parameter("settings", Parameter.VAR_KEYWORD)
    return Signature([tasks, *named, settings], return_annotation=result)


vars(alearn)["__signature__"] = _signature(LearnOptions, LearningRun)
vars(aevaluate)["__signature__"] = _signature(EvaluateOptions, EvaluationRun)
learn = blocking(alearn, "learn")
evaluate = blocking(aevaluate, "evaluate")
