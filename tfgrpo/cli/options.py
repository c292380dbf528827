"""Options that several commands share, and what is made of them."""

import json
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import InputError, is_unicode

if TYPE_CHECKING:
    from ..records import JSON, Frame, Snapshot
    from ..store import Namespace, Store
    from ..tokenizer import Tokenizer

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def _namespace(context: click.Context, option: click.Parameter, given: str) -> str:
    if is_unicode(given) and not (given.strip() and given.isprintable()):  # TextCommand tells what is no Unicode
        raise InputError(f"--namespace {given!r}: give a name of visible characters")
    return given


def store_options(command: F) -> F:
    """--store and --namespace."""
    for option in (
        click.option(
            "--namespace",
            default="default",
            envvar="TFGRPO_NAMESPACE",
            help="Lineage of priors.",
            show_default=True,
            callback=_namespace,
        ),
        click.option("--store", metavar="FILE", help="The store [default: TFGRPO_STORE, else ./tfgrpo.db]."),
    ):
        command = option(command)
    return command


def upstream_options(command: F) -> F:
    """--model and --base-url."""
    for option in (
        click.option(
            "--model", envvar="TFGRPO_MODEL", help="Model name; the embedded model's own with --base-url local."
        ),
        click.option(
            "--base-url",
            envvar="TFGRPO_BASE_URL",
            metavar="URL",
            help="OpenAI-compatible endpoint, or `local` for the embedded model [default: OpenAI's; the key is"
            " OPENAI_API_KEY].",
        ),
    ):
        command = option(command)
    return command


tokenizer_option = click.option(
    "--tokenizer",
    metavar="FILE",
    help="The model's tokenizer.json, where the server gives tokens no ids (extra `tfgrpo[tokenizer]`).  [default:"
    " tiktoken for OpenAI's models]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
by_option = click.option("--by", metavar="NAME", help="Who decides, to remember.  [default: the user's login name]")


def person(given: str | None) -> str:
    """The name that stands with a person's decision."""
    import getpass

    try:
        return given if given is not None else getpass.getuser()
    except (OSError, KeyError, ImportError) as error:  # a container's user may have no name
        raise InputError("your user has no login name; say who decides with --by NAME") from error


def open_store(given: str | None, *, create: bool = False) -> "Store":
    """The store that the options name."""
    from ..store import Store, default_store_path

    return Store(default_store_path(given), create=create)


def read_tokenizer(path: str | None) -> "Tokenizer | None":
    """The tokenizer that --tokenizer names."""
    from ..tokenizer import file_tokenizer

    return file_tokenizer(path) if path else None


def warn_of_model(
    namespace: str, known: "Iterable[Namespace]", used: "Snapshot | None", model: str, *, measuring: bool = False
) -> None:
    """Say once, on stderr, that a namespace was learned on another model; `used` is the prior in use there, if any."""
    from ..versions import model_notice

    if notice := model_notice(namespace, known, used, model):
        hint = "" if measuring else f"; to re-validate it: tfgrpo eval TASKS --namespace {namespace} --model {model}"
        click.echo(notice + hint, err=True)


@contextmanager
def endpoint(base_url: str | None, model: str | None) -> "Iterator[tuple[str | None, str]]":
    """The base URL and model to call; starts the embedded model for `local`, and stops it on exit."""
    if base_url is not None and base_url.partition(":")[0] == "local":
        from ..local import upstream

        with upstream(base_url) as (url, own):
            yield url, model or own
    elif model is None:
        raise InputError("which model? Name it with --model, or use --base-url local for the embedded one")
    else:
        yield base_url, model


def read_frame(
    model: str, system: str | None, request: str | None, temperature: float | None, top_p: float | None
) -> "Frame":
    """The request frame from --system FILE, --request FILE.json and the sampling options; options win over the file."""
    from ..records import Frame

    fields = _read_request(request)
    told = {"temperature": temperature, "top_p": top_p}
    for name, given in told.items():
        in_file = fields.pop(name, None)
        told[name] = given if given is not None else in_file
    sampling = {name: _number(request, name, value) for name, value in told.items() if value is not None}
    return Frame(model, _read(system).strip() if system else None, fields, **sampling)


def _number(path: str | None, name: str, value: "JSON") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{path}: {name} is {value!r}; it must be a number")
    return float(value)


def _read_request(path: str | None) -> "dict[str, JSON]":
    from ..settings import RESERVED_FIELDS

    if path is None:
        return {}
    try:
        fields = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(fields, dict):
        raise InputError(f'{path}: a request file holds one JSON object, such as {{"max_tokens": 8}}')
    if not is_unicode(json.dumps(fields, ensure_ascii=False)):
        raise InputError(f"{path}: it holds half a surrogate pair, which is no character")
    if refused := sorted(set(fields) & set(RESERVED_FIELDS)):
        raise InputError(f"{path}: {', '.join(refused)} cannot be set here")
    return fields


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def read_text(path: str, limit: int) -> str:
    """The text of a file, or of standard input for `-`, of at most so many bytes."""
    name = "standard input" if path == "-" else path
    try:
        with click.open_file(path, "rb") as file:
            raw = file.read(limit + 1)
        text = "" if len(raw) > limit else str(raw, "utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {name}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    if len(raw) > limit:
        raise InputError(f"{name} is too large: at most {limit:,} bytes are read")
    return text


def check_output(option: str, path: str | None) -> None:
    """Refuse an output file that could not be written, before anything is spent for it."""
    if path and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
        raise InputError(f"{option} {path}: there is no such folder, or it is one; name a file in a folder that exists")


def write_text(path: str | None, text: str) -> None:
    """A text to a file, or to standard output."""
    if path is None:
        return click.echo(text, nl=False)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; Ctrl-C cancels the work, lets it clean up and is raised as KeyboardInterrupt."""
    import asyncio

    return asyncio.run(work)


def print_json(value: "JSON") -> None:
    """JSON on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
