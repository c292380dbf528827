"""The house: data flows one way, and so do imports, between folders and within them; one name means one thing.

Each of the tables says from upstream to downstream what there is. A new file is put where it belongs: below all that it
imports. Where no such place is, two files need each other: what both need belongs into one above them.
"""

import ast
import importlib.util
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.tables import each

PACKAGE = Path(__file__).parent.parent / "tfgrpo"
FLOW = (
    "text", "errors", "hashing", "plugins", "records", "extras", "trials", "observer", "settings", "prompts",
    "http1", "model", "surfaces", "testing", "tasks", "rollouts", "token_prior", "experiences", "store", "priors",
    "probe", "evaluation", "gate", "learning", "deployment", "report", "serve", "client", "progress", "options",
    "blocking", "api", "demo", "cli", "__main__", "__init__",
)  # fmt: skip
"""The files and folders of the package; a folder stands as one."""

ORDER: Mapping[str, tuple[str, ...]] = {
    "": FLOW,
    "http1": ("__init__", "dialing", "outgoing", "answers", "connections"),
    "model": (
        "__init__", "library", "posts", "families", "templates", "prices", "budget", "asking", "retries",
        "failures", "secrets_held", "connection", "tokenizer", "replies", "pace", "questions", "upstream", "events",
        "local", "endpoints",
    ),
    "model/local": ("child", "eight_bits", "model", "decisions", "front", "server", "__init__"),
    "surfaces": (
        "__init__", "nearest", "parts", "patterns", "surface", "sureness", "signs", "triggers", "chat", "whole_text",
        "responses", "messages", "completions", "decisions", "decided", "label_set", "labels", "redecided", "resampled",
        "routes", "http", "refused", "streamed", "redecided_stream",
    ),
    "tasks": (
        "__init__", "gym", "fields", "messages", "providers", "cells", "containers", "choices", "shapes", "parts",
        "understood", "yaml_file", "parquet", "formats", "hub", "harbor", "promptfoo", "traced", "traffic", "read",
        "split",
    ),
    "tasks/gym": ("__init__", "child", "verifier", "source"),
    "rollouts": (
        "__init__", "redecided_rollouts", "request_vectors", "executor", "uncuttable", "chunk_answers", "ways_on",
        "bounded", "environment", "acting", "agents", "group", "rewards", "on_ray",
    ),
    "rollouts/agents": (
        "agent", "command", "harbor", "function", "load", "session", "endpoint", "trajectory", "executor", "__init__",
    ),
    "rollouts/rewards": (
        "__init__", "latex", "spelled", "units", "numbers", "final", "threads", "reward", "matchers", "sentences",
        "numeric", "choice", "jsons", "maths_child", "maths", "sandbox", "code_values", "code_wire", "code_child",
        "code", "patience", "judge", "decisions", "majority", "url", "sums", "verified", "built_in",
    ),
    "rollouts/on_ray": ("__init__", "worker", "cluster", "elsewhere"),
    "token_prior": (
        "__init__", "gradient", "decisions", "exact", "choice", "path", "calibration", "log_odds",
        "estimators", "listing", "verbalised",
    ),
    "experiences": (
        "__init__", "numerals", "dealing", "edits", "distil", "step_notes", "overlap", "conditions", "tensor_logic",
        "analogies", "relations", "admission", "embedding", "credit", "library", "variants", "embedded_examples",
        "trajectories", "answer_pool", "amplification", "transitions", "early_experience", "seen_actions", "foreseen",
        "told_in_hindsight", "moments", "awaited_moments", "write",
        "race",
    ),
    "store": (
        "database", "sqlite", "migrations", "rows", "file", "postgres", "opened", "keys", "runs", "trials",
        "experiences", "lineage", "inferences", "forgetting", "history", "browse", "check", "copying",
        "__init__", "__main__",
    ),
    "store/postgres": ("__init__", "dialect", "transactions", "connections", "schema", "server"),
    "priors": (
        "__init__", "fields", "offered", "by_hand", "prompting", "questions", "versions", "serving", "youtu",
        "portable", "parse", "signing", "importing",
    ),
    "probe": ("__init__", "backend", "goes_on", "unchanged", "capabilities", "learnable"),
    "evaluation": (
        "__init__", "difference", "answered", "arms", "exact", "held_out", "written_arm", "few_shot_arm", "fire_rates",
        "moment_arms",
        "measure", "wanted", "decisions",
    ),
    "gate": (
        "__init__", "offsets", "bets", "e_process", "power", "labels", "likelihood", "listed", "passes", "verdict",
        "training", "trial", "promote",
    ),
    "learning": (
        "__init__", "ready", "transfer", "plan", "cost", "token_prior", "race", "exact", "experiences", "result",
        "curves", "forecast", "steps", "run", "traffic", "wanted", "decision_race", "decision_result", "decision_gate",
        "decisions", "port", "earned", "hindsight", "explore", "wanted_exploration",
    ),
    "deployment": (
        "__init__", "comparison", "effects", "step", "facts", "autopilot", "lock", "child", "history", "status",
    ),
    "report": (
        "canvas", "extremes", "health", "figures", "gather", "plots", "repeat", "row_plots", "gallery", "verdict",
        "page", "__init__", "notebook", "results",
    ),
    "serve": (
        "__init__", "keys", "logs", "forks", "following", "places", "pulled", "objects", "scope", "drawing", "source",
        "passing", "call_info", "feedback_labels", "reporting", "recording", "unpacking", "writing", "taking", "access",
        "ahead", "mould", "asked_vectors", "exchange", "wire", "over_httpx2", "over_httpx", "carriers", "chunk_steps",
        "in_chunks", "one_call", "dashboard", "proxy",
    ),
    "serve/dashboard": (
        "__init__", "visits", "rendering", "counting", "looks", "run_looks", "canary", "traffic", "site", "pages",
        "buttons", "app",
    ),
    "serve/proxy": (
        "limits", "paths", "asgi", "headers", "bodies", "asked", "spending", "spans", "shelf", "pulled_shelf",
        "metrics", "relay", "decide", "door", "head", "onward", "remembered", "waiting", "record", "delivery", "shadow",
        "vectors", "uncut", "bounding", "call", "feedback", "collecting", "pages", "admin",
        "app", "listening", "serving", "untaken", "protocol", "worker", "workers", "server", "__init__",
    ),
    "demo": ("__init__", "demo_store", "run"),
    "cli": (
        "settings_file", "command", "options", "lines", "endpoints", "streams", "fires", "root", "__init__", "chat",
        "demo", "evaluate", "experience", "explore", "forecast", "learn", "local", "prior_files", "signing", "prior",
        "port", "probe", "prompts", "report", "rollouts", "runs", "keys", "autopilot", "history", "beside", "serve",
        "collect", "store", "tasks", "tokens",
    ),
    "cli/options": (
        "__init__", "gathered", "surface", "agents", "arms", "frame", "settings", "shared", "embedding", "spending",
        "splits", "target", "distiller", "tasks", "traffic", "pulled", "serving",
    ),
    "cli/lines": (
        "__init__", "tables", "decisions", "evaluation", "experiences", "priors", "relations", "race", "learning",
        "demo", "autopilot", "probing", "porting", "runs", "rollouts", "tasks",
    ),
}  # fmt: skip
"""By folder, its files; `__init__` stands first where it is a docstring, and last where it gathers what others hold."""

ANYWHERE = {"__version__"}
"""What any module may take from the package itself."""

HEAVY = {
    "aiohttp", "gguf", "jinja2", "matplotlib", "numpy", "openai", "reasoning_gym", "rich", "sqlite_utils", "tiktoken",
    "opentelemetry", "prometheus_client", "psycopg", "ray", "starlette", "structlog", "tokenizers",
    "uvicorn", "xllamacpp",
}  # fmt: skip
"""Libraries that take long to load: imported inside the functions that need them, or by modules loaded there."""

LONGEST_FUNCTION = 50
MOST_PARAMETERS = 8
FACES = ("api.py",)
"""Files of functions that take each of a run's settings by name, as the SDKs do."""

FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def package_of(file: Path) -> str:
    """The package, as `tfgrpo.a`, that a file's relative imports start from."""
    return ".".join(("tfgrpo", *file.relative_to(PACKAGE).parent.parts))


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every statement, however deep; what is within an expression is none."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for node in getattr(tree, block, ()):
            yield node
            yield from statements(node)


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """What a source in `package` imports from tfgrpo, anywhere in it: modules, or names in them, as `tfgrpo.a.b`."""
    for node in statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "tfgrpo")
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            if module.split(".")[0] == "tfgrpo":
                yield from (f"{module}.{alias.name}" for alias in node.names)


@cache
def file_of(dotted: str) -> Path:
    """The file of the module that `tfgrpo.a.b` is, or is held by."""
    path = PACKAGE.joinpath(*dotted.split(".")[1:])
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if path.is_dir() else file_of(dotted.rpartition(".")[0])


def meeting(one: Path, other: Path) -> tuple[str, str, str]:
    """The innermost folder that holds both files, and the names by which each stands there."""
    parts, others = ([*file.relative_to(PACKAGE).with_suffix("").parts] for file in (one, other))
    depth = next(place for place, (part, its) in enumerate(zip(parts, others, strict=False)) if part != its)
    return "/".join(parts[:depth]), parts[depth], others[depth]


@each(
    ("source", "package", "found"),
    [
        ("from .errors import InputError", "tfgrpo", {"tfgrpo.errors.InputError"}),
        ("from . import prior, learn as other", "tfgrpo", {"tfgrpo.prior", "tfgrpo.learn"}),
        ("def f():\n    from .store import Store", "tfgrpo", {"tfgrpo.store.Store"}),
        ("match 1:\n  case 1:\n    try: pass\n    except E: import tfgrpo.a", "tfgrpo", {"tfgrpo.a"}),
        ("if TYPE_CHECKING:\n    from .store import Store", "tfgrpo", {"tfgrpo.store.Store"}),
        ("from ..records import Prior", "tfgrpo.proxy", {"tfgrpo.records.Prior"}),
        ("from .. import records", "tfgrpo.proxy", {"tfgrpo.records"}),
        ("from .app import App", "tfgrpo.proxy", {"tfgrpo.proxy.app.App"}),
        ("from . import app", "tfgrpo.proxy", {"tfgrpo.proxy.app"}),
        ("from .proxy.app import App", "tfgrpo", {"tfgrpo.proxy.app.App"}),
        ("import tfgrpo", "tfgrpo", {"tfgrpo"}),
        ("import tfgrpo.learn as other, json", "tfgrpo", {"tfgrpo.learn"}),
        ("from tfgrpo import learn", "tfgrpo", {"tfgrpo.learn"}),
        ("from tfgrpo.learn import Learner", "tfgrpo", {"tfgrpo.learn.Learner"}),
        ("import tfgrpo_plugin\nfrom tfgrpo_plugin import x\nfrom json import loads", "tfgrpo", set()),
    ],
)
def test_no_way_of_importing_is_overlooked(source: str, package: str, found: set[str]) -> None:
    assert set(imported(ast.parse(source), package)) == found


@each(
    ("dotted", "path"),
    [
        ("tfgrpo.records.Prior", "records.py"),
        ("tfgrpo.serve.proxy", "serve/proxy/__init__.py"),
        ("tfgrpo.serve.proxy.Proxy", "serve/proxy/__init__.py"),
        ("tfgrpo.serve.proxy.app", "serve/proxy/app.py"),
        ("tfgrpo.__version__", "__init__.py"),
    ],
)
def test_what_is_imported_is_known_by_its_file(dotted: str, path: str) -> None:
    assert file_of(dotted) == PACKAGE / path


def test_every_file_has_its_place_in_the_order() -> None:
    there = defaultdict(set)
    for file in FILES:
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        for depth, part in enumerate(parts):
            there["/".join(parts[:depth])].add(part)
    wrong = [
        f"ORDER[{folder!r}] lacks {sorted(there[folder] - {*ORDER.get(folder, ())})}"
        f" and has {sorted({*ORDER.get(folder, ())} - there[folder])}, which is not there"
        for folder in sorted({*there, *ORDER})
        if there[folder] != {*ORDER.get(folder, ())}
    ]
    assert not wrong, "put each new file below all that it imports:\n" + "\n".join(wrong)
    assert [folder for folder, names in ORDER.items() if len(names) > len({*names})] == []


def downstream(file: Path) -> Iterator[str]:
    """The imports of a file that point downstream, a line each."""
    for dotted in imported(parsed(file), package_of(file)):
        held = file_of(dotted)
        if held == file or dotted.rpartition(".")[2] in ANYWHERE:
            continue
        folder, name, other = meeting(file, held)
        order = ORDER.get(folder, ())
        if name in order and other in order and order.index(other) > order.index(name):
            yield f"{file.relative_to(PACKAGE)}: {dotted}: in ORDER[{folder!r}] {other} stands below {name}"


def test_imports_point_upstream() -> None:
    wrong = "\n".join(line for file in FILES for line in downstream(file))
    assert not wrong, f"move the name that is imported to a file above, or the importing file below:\n{wrong}"


def test_imports_inside_the_package_are_relative() -> None:
    wrong = []
    for file in FILES:
        nodes = list(statements(parsed(file)))
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
        wrong += [f"{file}: {name}" for name in names if name.split(".")[0] == "tfgrpo"]
    assert wrong == []


@pytest.mark.parametrize("module", ["tfgrpo", "tfgrpo.cli"])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*{HEAVY!r} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stderr, ran.stdout.split()) == ("", [])


MOST_CALLED = 60
"""Files of the package, `__init__` aside, whose functions a small run calls; four of them are its own HTTP."""
SMALL_RUN = """if True:
    import asyncio, sys, threading
    from pathlib import Path
    from tests.routing import TASKS, plan, simulated
    from tfgrpo.learning.run import carry_out
    from tfgrpo.model.upstream import Upstream
    from tfgrpo.observer import Silent
    from tfgrpo.settings import Settings
    from tfgrpo.store import Store
    from tfgrpo.testing import serving

    called = set()

    def seen(frame, event, arg):
        if event == "call" and frame.f_code.co_name != "<module>":
            called.add(frame.f_code.co_filename)

    async def run(url):
        settings = Settings(steps=1, group_size=2)
        with Store(Path(sys.argv[1])) as store:
            async with Upstream(url, api_key="-", settings=settings, journal=store) as calls:
                await carry_out(plan(settings, TASKS[:6]), store, calls, Silent(), fresh=False)

    with serving(simulated().app) as url:
        sys.setprofile(seen), threading.setprofile(seen)
        asyncio.run(run(url))
        sys.setprofile(None)
    print(*(module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "tfgrpo"))
    print(*called, sep="\\n")
"""


def test_a_small_run_passes_through_few_files_and_loads_no_later_stage(tmp_path: Path) -> None:
    """No agent either, and no reasoning-gym. Prints the files that it passes through: `pytest -s` shows them."""
    command = [sys.executable, "-c", SMALL_RUN, str(tmp_path / "tfgrpo.db")]
    ran = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    told, _, called = ran.stdout.partition("\n")
    loaded, passed = (
        sorted({file.relative_to(PACKAGE).as_posix() for file in map(Path, files) if file in FILES} - {"testing.py"})
        for files in (told.split(), called.splitlines())
    )
    passed = [name for name in passed if not name.endswith("__init__.py")]
    print(f"a small run passes through {len(passed)} files of the package:", *passed, sep="\n")
    later = [f"{one}{end}" for one in FLOW[FLOW.index("learning") + 1 :] for end in ("/", ".py")]
    others = ["rollouts/agents/", "rollouts/rewards/verified.py", "tasks/gym/"]
    own = [name for name in loaded if not name.endswith("__init__.py")]
    assert [name for name in own if name.startswith((*later, *others))] == []
    assert 40 < len(passed) <= MOST_CALLED, "put what a file holds into the one whose noun it is part of"


# Names


def is_command(node: ast.stmt) -> bool:
    """Whether it is the function behind a command, which is named as the command is."""
    named = [ast.unparse(one) for one in getattr(node, "decorator_list", ())]
    return any("command" in one or "group" in one for one in named)


def public_names(tree: ast.Module) -> Iterator[str]:
    """What a module defines for others: functions, classes, constants; TypeVars and functions behind commands aside."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not is_command(node):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            if node.value is not None and "TypeVar" in ast.unparse(node.value):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def test_no_public_name_stands_twice() -> None:
    places = defaultdict(list)
    for file in FILES:
        for name in public_names(parsed(file)):
            if not name.startswith("_"):
                places[name].append(str(file.relative_to(PACKAGE)))
    twice = [f"{name}: {', '.join(found)}" for name, found in sorted(places.items()) if len(found) > 1]
    assert not twice, "rename one of each, make it private, or import it from the other:\n" + "\n".join(twice)


# Size


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in statements(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many it takes from a caller, `self` aside."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return len([each for each in named if each.arg not in ("self", "cls")])


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or 0) - function.lineno + 1


def test_a_function_is_short_and_takes_few_parameters() -> None:
    every = [(file, one) for file in FILES for one in functions(parsed(file))]
    few = [(file, one) for file, one in every if not is_command(one) and file.name not in FACES]
    long = {f"{file}:{one.name}": length(one) for file, one in every if length(one) > LONGEST_FUNCTION}
    many = {f"{file}:{one.name}": parameters(one) for file, one in few if parameters(one) > MOST_PARAMETERS}
    assert (long, many) == ({}, {})


def test_files_and_functions_are_short_in_the_median() -> None:
    lines = [len(file.read_text(encoding="utf-8").splitlines()) for file in FILES if file.name != "__init__.py"]
    assert statistics.median(lines) <= 120
    assert statistics.median(length(one) for file in FILES for one in functions(parsed(file))) <= 7
