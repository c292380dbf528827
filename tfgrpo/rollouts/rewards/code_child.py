"""The process that tests untrusted code, and begins the other one that runs it: told on standard input what to do, it
answers on its output.

Loaded by path, so that nothing of the package is in reach of that code, which runs in a process of its own: values pass
between the two (`code_wire`), and nothing else. So the code sees neither its tests nor what they expect, and nothing
that it does to its own process makes a test pass. The answer begins with the seal that this process was given. Tests
that put something in the place of what the code uses (`mock`, `stdin`) or await it run beside the code all the same.
"""

import ast
import builtins
import contextlib
import importlib.util
import io
import json
import os
import re
import signal
import sys
from typing import Any

_MOST_SAID = 1_000_000
_BESIDE = re.compile(
    r"\b(?:mock|patch|monkeypatch|stdin|builtins|async|await|asyncio|globals)\b|__dict__|sys\.(?:modules|argv)"
)
"""Words of tests that have to reach into the process of the code."""
_ENDED = "it ended before its tests did"


def _loaded(name: str) -> Any:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Said(io.StringIO):
    """What is printed, up to a bound."""

    def write(self, text: str) -> int:
        if self.tell() + len(text) > _MOST_SAID:
            raise MemoryError("it prints too much")
        return super().write(text)


class _Told(io.TextIOBase):
    """What the code prints is printed where its tests run."""

    def __init__(self, peer: Any) -> None:
        self._peer = peer

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._peer.ask("print", str(text)[: _MOST_SAID + 1])
        return len(text)


def _failure(run: Any) -> str | None:
    """Why something fails, None where it does not; whatever is raised counts as failing."""
    try:
        run()
    except BaseException as error:
        try:
            if type(error).__name__ == "EndedError":
                return _ENDED
            return f"{type(error).__name__}: {error}"[:300]
        except BaseException:
            return "an error that cannot be shown"
    return None


def _execute(code: str, name: str, space: dict[str, Any]) -> None:
    exec(compile(code, name, "exec", dont_inherit=True), space)


class _Code:
    """The side of the code: it is run, and what it defines is called from the other side."""

    def __init__(self, told: dict[str, Any], peer: Any) -> None:
        self._source, self._entry, self._peer = f"{told['setup']}\n{told['code']}", told["entry"], peer
        self._space: dict[str, Any] = {"__name__": "__tested__"}
        peer.answers.update(begin=self._begin, name=self._space.__getitem__, printed=self._printed, beside=self._beside)

    def _begin(self) -> list[str]:
        """Run it; the names that it defines."""
        sys.stdout = sys.stderr = _Told(self._peer)
        _execute(self._source, "<code>", self._space)
        return [name for name in self._space if not name.startswith("__")]

    def _printed(self, given: str) -> str:
        """What it prints as a program."""
        said = _Said()
        sys.stdin = io.StringIO(given)
        with contextlib.redirect_stdout(said):
            try:
                _execute(self._source, "<code>", {"__name__": "__main__"})
            except SystemExit as ended:
                if ended.code not in (None, 0):
                    raise
        return said.getvalue()

    def _beside(self, test: str) -> str | None:
        """Run a test that has to be here; why it fails."""
        said = contextlib.redirect_stdout(_Said())  # what it looks at is printed here
        with said:
            return _failure(lambda: _tested(self._entry, test, self._space))


class _Names(dict[str, Any]):
    """The names of a test: its own, then those of the code.

    A builtin of the same name as something of the code's stays what it is, but where that is what is tested, and
    nothing else: else code could say what `abs` is.
    """

    def __init__(self, peer: Any, theirs: list[str], test: str, entry: str | None) -> None:
        super().__init__(__name__="__tested__")
        tested = {name for name in re.findall(r"^\w+", entry or "") if name in theirs}
        used = {name for name in theirs if name in {*re.findall(r"\w+", test)}}
        own = {name for name in used if hasattr(builtins, name)}
        self._peer, self._test = peer, test
        alone = not tested and all(hasattr(builtins, name) for name in _not_its_own(test))
        self._theirs = (used if alone else used - own) | tested

    def __missing__(self, name: str) -> Any:
        if name not in self._theirs:
            raise KeyError(name)
        if name in sys.modules and re.search(rf"\b{name}\.", self._test) and f"{name}(" not in self._test:
            return sys.modules[name]  # as it is, whatever the code calls so
        return self._peer.ask("name", name)


def _not_its_own(test: str) -> set[str]:
    """The names that a test uses and does not make."""
    found = list(ast.walk(ast.parse(test)))
    used = {one.id for one in found if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}
    made = {one.id for one in found if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)}
    made |= {one.arg for one in found if isinstance(one, ast.arg)}
    made |= {one.name for one in found if isinstance(one, ast.FunctionDef | ast.ClassDef)}
    return used - made - {(one.asname or one.name).partition(".")[0] for one in found if isinstance(one, ast.alias)}


def _tested(entry: str | None, test: str, space: Any) -> None:
    """One test in Python, after the code."""
    _execute(test, "<test>", space)
    check = space.get("check")
    if "def check" in test and callable(check) and entry:
        check(eval(entry, space))  # a name, or what makes it, as in `Solution().add`
    for name, found in list(space.items()):
        if name.startswith("test") and callable(found) and f"def {name}" in test:
            found()
        if name.startswith("Test") and isinstance(found, type) and f"class {name}" in test:
            _methods(found)
    if "unittest" in test:
        _unittest(space)


def _methods(kind: type) -> None:
    """Run the tests of a class, each on an object of its own; those of unittest's are run by that."""
    for name in () if hasattr(kind, "assertEqual") else vars(kind):
        if name.startswith("test") and callable(getattr(kind, name)):
            one = kind()
            run = getattr(one, name)
            if ready := getattr(one, "setup_method", None):
                ready(*[run][: ready.__code__.co_argcount - 1])
            run()


def _unittest(space: dict[str, Any]) -> None:
    import unittest

    kinds = [found for found in space.values() if isinstance(found, type) and issubclass(found, unittest.TestCase)]
    for kind in kinds:
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(kind).run(result)
        for _, told in (*result.failures, *result.errors):
            raise AssertionError(told.strip().rpartition("\n")[2])


def _compared(peer: Any, given: str, wanted: str) -> None:
    """One test by what is printed; compared line by line, without white space at their ends."""
    said = str(peer.ask("printed", given))
    found, right = ([line.rstrip() for line in text.strip().splitlines()] for text in (said, wanted))
    if found != right:
        raise AssertionError(f"for input {given[:60]!r} it prints {said[:60]!r}, not {wanted[:60]!r}")


def _in_names(peer: Any, program: dict[str, Any], theirs: list[str], test: str) -> None:
    """One test in Python, apart from the code; what the task sets up is there for both."""
    names = _Names(peer, theirs, f"{program['setup']}\n{test}", program["entry"])
    _execute(program["setup"], "<setup>", names)
    before = peer.asked
    _tested(program["entry"], test, names)
    if peer.asked == before:
        raise AssertionError("the test uses nothing that the code defines")


def _beside(peer: Any, test: str) -> None:
    if failed := peer.ask("beside", test):
        raise AssertionError(failed)


def _results(program: dict[str, Any], peer: Any) -> list[str | None]:
    """For each test why it fails, None where it passes."""
    theirs = list[str]()
    found = list[str | None]()

    def begin() -> None:
        theirs.extend(peer.ask("begin"))

    def run(test: Any) -> str | None:
        if not isinstance(test, str):
            return _failure(lambda: _compared(peer, test["input"], test["output"]))
        if broken:
            return broken
        if _BESIDE.search(test):
            return _failure(lambda: _beside(peer, test))
        return _failure(lambda: _in_names(peer, program, theirs, test))

    with contextlib.redirect_stdout(_Said()), contextlib.redirect_stderr(_Said()):
        broken = _failure(begin) if any(isinstance(test, str) for test in program["tests"]) else None
        for test in program["tests"]:
            found.append(run(test))
    return found


def _allows(what: str, thing: Any, more: tuple[Any, ...]) -> bool:
    """What the code may do to what a test gives it: call it, go through it, and use what a class of the test's has."""
    if what in ("get", "set", "del"):
        own = type(thing).__module__ == "__tested__" or getattr(thing, "__module__", "") == "__tested__"
        return own and isinstance(more[0], str) and not more[0].startswith("_")
    return True


def _main() -> None:
    """Part, read, confine, run, answer, and be gone."""
    wire, values, sandbox = _loaded("code_wire"), _loaded("code_values"), _loaded("sandbox")
    import unittest  # noqa: F401  # what tests import is loaded while it can be

    (asked, asks), (told, tells) = os.pipe(), os.pipe()
    nowhere = os.open(os.devnull, os.O_RDWR)
    code = os.fork()  # before anything was read: that process never has the tests
    if not code:
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        os.close(asks)
        os.close(told)
        peer = wire.Peer(asked, tells, values, lambda *_: True)
        peer.answers["program"] = lambda given: _Code(given, peer) and None
        peer.answers["confine"] = sandbox.confined
        with contextlib.suppress(wire.EndedError):
            peer.serve_forever()
        os._exit(0)
    os.close(asked)
    os.close(tells)
    peer = wire.Peer(told, asks, values, _allows)
    program = json.load(sys.stdin)
    seal, answer = program.pop("seal"), os.dup(1)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    peer.answers["print"] = lambda text: sys.stdout.write(str(text)) and None
    limits = program["folder"], program["seconds"], program["bytes"], program["file_bytes"]
    open_to = peer.ask("confine", *limits)
    sandbox.confined(*limits)
    peer.ask("program", {name: program[name] for name in ("setup", "code", "entry")})
    sandbox.unseen()
    results = _results(program, peer)
    if _ENDED in results and os.waitstatus_to_exitcode(os.waitpid(code, 0)[1]) == -signal.SIGXCPU:
        results = [f"it took more than {program['seconds']:g} s" if one == _ENDED else one for one in results]
    beside = any(isinstance(test, str) and _BESIDE.search(test) for test in program["tests"])
    said = {"results": results, "open": open_to, "beside": beside}
    os.write(answer, f"{seal}{json.dumps(said)}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    _main()
