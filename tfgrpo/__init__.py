"""Training-Free GRPO: a frozen model behind an API gets better at your task, with no weights touched."""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers understand it; `typing` would take longer to load than all of this
if TYPE_CHECKING:
    from . import errors, observer, testing
    from .api import aevaluate, alearn, evaluate, learn, open_store
    from .client import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
    from .errors import TfgrpoError
    from .observer import Observer, Silent, StepSummary
    from .records import Experience, Prior, Rollout, Task
    from .report.results import EvaluationRun, LearningRun
    from .serve.call_info import Info, info
    from .serve.carriers import transport, wrap
    from .serve.chunk_steps import WholeAnswer
    from .serve.in_chunks import achat_in_chunks, chat_in_chunks
    from .serve.over_httpx2 import AsyncPriorTransport, PriorTransport
    from .serve.scope import disabled, using
    from .serve.source import PriorSource
    from .settings import Settings
    from .store import Store

__version__ = "0.1.0"

__all__ = [
    "AsyncAzureOpenAI",
    "AsyncOpenAI",
    "AsyncPriorTransport",
    "AzureOpenAI",
    "EvaluationRun",
    "Experience",
    "Info",
    "LearningRun",
    "Observer",
    "OpenAI",
    "Prior",
    "PriorSource",
    "PriorTransport",
    "Rollout",
    "Settings",
    "Silent",
    "StepSummary",
    "Store",
    "Task",
    "TfgrpoError",
    "WholeAnswer",
    "__version__",
    "achat_in_chunks",
    "aevaluate",
    "alearn",
    "chat_in_chunks",
    "disabled",
    "errors",
    "evaluate",
    "info",
    "learn",
    "observer",
    "open_store",
    "testing",
    "transport",
    "using",
    "wrap",
]

_HOMES = {
    "AsyncAzureOpenAI": "client",
    "AsyncOpenAI": "client",
    "AsyncPriorTransport": "serve.over_httpx2",
    "AzureOpenAI": "client",
    "EvaluationRun": "report.results",
    "Experience": "records",
    "Info": "serve.call_info",
    "LearningRun": "report.results",
    "Observer": "observer",
    "OpenAI": "client",
    "Prior": "records",
    "PriorSource": "serve.source",
    "PriorTransport": "serve.over_httpx2",
    "Rollout": "records",
    "Settings": "settings",
    "Silent": "observer",
    "StepSummary": "observer",
    "Store": "store",
    "Task": "records",
    "TfgrpoError": "errors",
    "WholeAnswer": "serve.chunk_steps",
    "achat_in_chunks": "serve.in_chunks",
    "aevaluate": "api",
    "alearn": "api",
    "chat_in_chunks": "serve.in_chunks",
    "disabled": "serve.scope",
    "evaluate": "api",
    "info": "serve.call_info",
    "learn": "api",
    "open_store": "api",
    "transport": "serve.carriers",
    "using": "serve.scope",
    "wrap": "serve.carriers",
}
"""The module of each public name; a public name that is not here is a module itself."""


def __getattr__(name: str) -> object:
    """The public names come from their modules at first use: the SDK and numpy take most of a second to load."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _HOMES:
        return import_module(f".{name}", __name__)
    value: object = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
