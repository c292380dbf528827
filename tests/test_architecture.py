"""Data flows one way, and so do imports: a module imports only from modules upstream of it in FLOW."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tfgrpo"
FLOW = (
    "text", "errors", "hashing", "plugins", "records", "trials", "observer", "settings", "assets", "prompts",
    "model", "surfaces", "testing", "tasks", "rollouts", "token_prior", "experiences", "store", "priors", "probe",
    "evaluation", "gate", "learning", "report", "serve", "client", "progress", "demo", "cli", "__main__", "__init__",
)  # fmt: skip
"""From upstream to downstream; a sub-package stands as one, and its own modules may import each other."""

ANYWHERE = {"__version__"}
"""What any module may take from the package itself."""

HEAVY = {
    "aiohttp", "jinja2", "matplotlib", "numpy", "openai", "reasoning_gym", "rich", "sqlite_utils", "tiktoken",
    "tokenizers", "uvicorn", "xllamacpp",
}  # fmt: skip
"""Libraries that take long to load: imported inside the functions that need them, or by modules loaded there."""

FILES = sorted(PACKAGE.rglob("*.py"))


def place(file: Path) -> str:
    """The name in FLOW of the module that a file is, or belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source: str, package: str) -> Iterator[str]:
    """The modules, as `tfgrpo.a.b`, that a source in `package` imports from tfgrpo, anywhere in it.

    `from . import x` counts as importing x; the names in any other `from` may be modules or what modules hold.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "tfgrpo")
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            if module == "tfgrpo":
                yield from (f"tfgrpo.{alias.name}" for alias in node.names)
            elif module.startswith("tfgrpo."):
                yield module


def places_imported(file: Path) -> set[str]:
    """The other places in FLOW from which a file imports."""
    package = ".".join(("tfgrpo", *file.relative_to(PACKAGE).parent.parts))
    modules = imported(file.read_text(encoding="utf-8"), package)
    return {module.partition(".")[2].partition(".")[0] or "__init__" for module in modules} - {place(file)}


@pytest.mark.parametrize(
    ("source", "package", "found"),
    [
        ("from .errors import InputError", "tfgrpo", {"tfgrpo.errors"}),
        ("from . import prior, learn as other", "tfgrpo", {"tfgrpo.prior", "tfgrpo.learn"}),
        ("def f():\n    from .store import Store", "tfgrpo", {"tfgrpo.store"}),
        ("if TYPE_CHECKING:\n    from .store import Store", "tfgrpo", {"tfgrpo.store"}),
        ("from ..records import Prior", "tfgrpo.proxy", {"tfgrpo.records"}),
        ("from .. import records", "tfgrpo.proxy", {"tfgrpo.records"}),
        ("from .app import App", "tfgrpo.proxy", {"tfgrpo.proxy.app"}),
        ("from . import app", "tfgrpo.proxy", {"tfgrpo.proxy"}),
        ("from .proxy.app import App", "tfgrpo", {"tfgrpo.proxy.app"}),
        ("import tfgrpo", "tfgrpo", {"tfgrpo"}),
        ("import tfgrpo.learn as other, json", "tfgrpo", {"tfgrpo.learn"}),
        ("from tfgrpo import learn", "tfgrpo", {"tfgrpo.learn"}),
        ("from tfgrpo.learn import Learner", "tfgrpo", {"tfgrpo.learn"}),
        ("import tfgrpo_plugin\nfrom tfgrpo_plugin import x\nfrom json import loads", "tfgrpo", set()),
    ],
)
def test_no_way_of_importing_is_overlooked(source: str, package: str, found: set[str]) -> None:
    assert set(imported(source, package)) == found


def test_every_module_has_its_place_in_the_flow() -> None:
    assert {place(file) for file in FILES} <= set(FLOW)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_upstream(file: Path) -> None:
    upstream = set(FLOW[: FLOW.index(place(file))])
    assert places_imported(file) - upstream <= ANYWHERE


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_inside_the_package_are_relative(file: Path) -> None:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    assert not [name for name in names if name.split(".")[0] == "tfgrpo"]


@pytest.mark.parametrize("module", ["tfgrpo", "tfgrpo.cli"])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*{HEAVY!r} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stderr, ran.stdout.split()) == ("", [])
