"""Options that say which model is called, and where."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .gathered import MODEL, gathered, titled

if TYPE_CHECKING:
    from ...model.tokenizer import Tokenizer
    from ...records import Snapshot
    from ...store import Namespace


@dataclass(frozen=True, slots=True)
class Target:
    """The options as they were given."""

    base_url: str | None
    model: str | None

    def or_model(self, learned_on: str) -> "Target":
        """The model that a prior was learned on, where none is named; an embedded model has its own name."""
        return self if self.model or self.base_url == "local" else Target(self.base_url, learned_on)


class _OneName(click.types.StringParamType):
    """A name as it stands: in the environment it is one, whatever spaces it holds (the path of a model's file)."""

    def split_envvar_value(self, rv: str) -> tuple[str, ...]:
        """All of it."""
        return (rv,)


_option = titled(MODEL)
_base_url = _option(
    "--base-url",
    envvar="TFGRPO_BASE_URL",
    metavar="URL",
    help="API, or `local` (embedded).  [default: OpenAI's]",
)

target_options = gathered(
    "target",
    Target,
    _base_url,
    _option(
        "--model",
        envvar="TFGRPO_MODEL",
        help="Its name; its key is read from OPENAI_API_KEY.",
    ),
)
"""--base-url and --model; the command gets them as `target`."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The same where several models may be named."""

    base_url: str | None
    model: tuple[str, ...]

    @property
    def each(self) -> tuple[Target, ...]:
        """One for each model, in the order in which they were named."""
        return tuple(Target(self.base_url, model) for model in dict.fromkeys(self.model or (None,)))


targets_options = gathered(
    "target",
    Targets,
    _base_url,
    _option(
        "--model",
        envvar="TFGRPO_MODEL",
        multiple=True,
        type=_OneName(),
        help="Its name, except with `local`; given several times, a table of where the prior helps. The key is read"
        " from OPENAI_API_KEY.",
    ),
)
"""The same as `target_options`, with --model any number of times."""

tokenizer_option = _option(
    "--tokenizer",
    rare=True,
    metavar="FILE",
    help="The model's tokenizer.json, where the server gives tokens no ids (extra `tfgrpo[tokenizer]`).  [default:"
    " tiktoken for OpenAI's models]",
)


def read_tokenizer(path: str | None) -> "Tokenizer | None":
    """The tokenizer that --tokenizer names."""
    from ...model.tokenizer import file_tokenizer

    return file_tokenizer(path) if path else None


@contextmanager
def endpoint(base_url: str | None, model: str | None) -> "Iterator[tuple[str | None, str]]":
    """The base URL and model to call; starts the embedded model for `local`, and stops it on exit."""
    from ...model.endpoints import Endpoint

    with Endpoint(base_url, model).started() as there:
        yield there.base_url, there.model or ""


def warn_of_model(namespace: str, known: "Iterable[Namespace]", used: "Snapshot | None", model: str) -> None:
    """Say once, on stderr, that a namespace was learned on another model; `used` is the prior in use there, if any."""
    from ...priors.versions import model_notice

    if notice := model_notice(namespace, known, used, model):
        click.echo(f"{notice}; to re-validate it: tfgrpo eval TASKS --namespace {namespace} --model {model}", err=True)
