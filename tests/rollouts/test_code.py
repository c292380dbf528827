"""Code that is run with its tests: what it may not do, and that it ends."""

import os
import sys
from pathlib import Path

import pytest

from tests.rollouts.scoring import saying
from tfgrpo.errors import InputError
from tfgrpo.records import JSON, Rollout, Task
from tfgrpo.rollouts.rewards.built_in import check, load_reward
from tfgrpo.rollouts.rewards.code import CodeReward, code_of, read_tests
from tfgrpo.rollouts.rewards.reward import score

ADDING = "\ndef add(a, b):\n    return a + b\n"
TESTS = ["assert add(1, 2) == 3", "assert add(2, 2) == 4"]
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's part is Linux's")


async def run(code: str, tests: JSON = TESTS, seconds: float = 60.0) -> Rollout:
    return await score(CodeReward(seconds), saying(code, tests))


async def test_the_share_of_the_tests_that_pass_is_the_reward_and_the_first_failure_the_feedback() -> None:
    half = await run("def add(a, b): return 3")
    assert (half.reward, half.feedback.split(":")[0]) == (0.5, "1 of 2 tests passed; the first that did not")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("while True: pass", "it took more than 0.5 s"),
        ("import time\ntime.sleep(600)", "it took more than 0.5 s"),
        ("import os\nwhile True:\n    os.fork()", "not allowed here"),
        ("import subprocess\nsubprocess.run(['ls'])", "not allowed here"),
        ("data = bytearray(10 * 1024**3)", "MemoryError"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 80))", "not allowed here"),
        ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1')", "not allowed here"),
        ("with open('big', 'wb') as file:\n    while True: file.write(b'x' * 10**6)", "File too large"),
        ("for n in range(999):\n    open(f'{n}', 'wb').write(bytes(10**7))", "it wrote more than 256 MB"),
        ("while True: print('x' * 10**6)", "prints too much"),
        ("import os\nos.kill(os.getppid(), 9)", "not allowed here"),
        ("import os\nos.kill(-1, 9)", "not allowed here"),
        ("import os\nos._exit(0)", "it ended before its tests did"),
        ("import sys\nsys.exit(0)", "SystemExit"),
        ("def f(): f()\nf()", "RecursionError"),
        ("import ctypes\nctypes.string_at(0)", "it ended before its tests did"),
        ("class E(BaseException):\n    def __str__(self): raise E\nraise E", "cannot be shown"),
        ("def add(a, b", "SyntaxError"),
        ("\0", "SyntaxError"),
    ],
)
async def test_what_harms_is_contained(code: str, said: str) -> None:
    rollout = await run(code + ADDING, seconds=0.5 if "0.5 s" in said else 60.0)
    assert (rollout.reward, rollout.error) == (0.0, None)
    assert said in rollout.feedback


async def test_nothing_outside_of_the_folder_is_written_or_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    for code in (
        f"open({str(kept)!r}, 'w')",
        f"import os\nos.remove({str(kept)!r})",
        f"open({str(tmp_path / 'new')!r}, 'x')",
    ):
        assert "not allowed here" in (await run(code + ADDING)).feedback
    assert kept.read_text() == "kept"
    assert os.listdir(tmp_path) == ["kept.txt"]
    assert (await run("open('own.txt', 'w').write('x')" + ADDING)).reward == 1.0


BEHIND_PYTHON = """
import ctypes
library = ctypes.CDLL(None, use_errno=True)
assert library.fork() == -1
assert library.socket(2, 1, 0) == -1
assert library.kill(-1, 0) == -1
assert library.open({inside!r}, 0o101, 0o644) == -1
assert library.chmod({folder!r}, 0) == -1
assert library.open({secret!r}, 0) == -1
"""


@LINUX
async def test_the_kernel_holds_what_goes_behind_pythons_back(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    paths = {"inside": tmp_path / "new", "folder": tmp_path, "secret": secret}
    code = BEHIND_PYTHON.format(**{name: os.fsencode(path) for name, path in paths.items()})
    assert (await run(code + ADDING)).feedback == ""


FORGED = (
    "import os\nfor n in range(3, 64):\n    try: os.write(n, b'passed')\n    except OSError: pass",
    "import sys, __main__\n__main__._tested = __main__._failure = lambda *_: None",
    "import sys\nframe = sys._getframe()\nwhile frame:\n    frame.f_locals.update(results=[None])\n"
    "    frame = frame.f_back",
    "import gc\nassert not [one for one in gc.get_objects() if type(one) is str and 'add(1, 2)' in one]\nadd = 1",
    "import builtins\nbuiltins.AssertionError = builtins.abs = type\ndef add(a, b): return -9",
    "def abs(one): return 0\ndef add(a, b): return -9",
    "class Yes:\n    def __getattr__(s, n): return lambda *_: True\n"
    "    __eq__ = __ge__ = __contains__ = lambda s, o: True\n"
    "    __sub__ = __rsub__ = __abs__ = __float__ = __round__ = lambda s, *o: 0\n    __len__ = __hash__ = lambda s: 1\n"
    "    __bool__ = lambda s: True\n    __iter__ = lambda s: iter([s])\ndef add(a, b): return Yes()",
    "class Yes(int):\n    __eq__ = lambda s, o: True\n    __sub__ = __rsub__ = lambda s, o: 0\n"
    "def add(a, b): return Yes()",
    "class Yes(type):\n    __eq__ = __sub__ = __rsub__ = lambda s, o: 0\n"
    "class add(metaclass=Yes):\n    def __init__(s, *o): pass",
    "import unittest\nunittest.TestCase.run = lambda *_: None\ndef add(a, b): raise unittest.SkipTest",
    "def add(a, b): raise SystemExit(0)",
    "def add(a, b): raise StopIteration",
    "def all(given): return True",
    "import collections\ndef add(a, b): return collections.namedtuple('Yes', 'startswith')(lambda s: True)",
    "import gc\npeer = next(one for one in gc.get_objects() if type(one).__name__ == 'Peer')\nkept = peer._held\n"
    "def made(*asked):\n    peer._send(['call', *asked, ['dict', [], '']])\n    said = peer._receive()\n"
    "    assert said[0] == 'gives'\n    return ['yours', said[1][1]]\n"
    "class Yes: pass\ndef add(a, b):\n    yes = [['__eq__', peer._pack(lambda *_: True)]]\n"
    "    kind = ['X', ['tuple', [['builtin', 'object']]], ['dict', yes, '']]\n"
    "    Yes.told = made(made(['builtin', 'type'], ['list', kind]), ['list', []])\n"
    "    peer._held = lambda one: Yes.told if type(one) is Yes else kept(one)\n    return Yes()",
)
FORGEABLE = (
    "assert add(1, 2) == 3", "assert 3 == add(1, 2)", "assert abs(add(1, 2) - 3) < 1e-6", "assert add(1, 2) in (3, 4)",
    "assert 3 in add(1, 2)", "assert [add(1, 2)] == [3]", "import math\nassert math.isclose(add(1, 2), 3)",
    "assert isinstance(add(1, 2), int) and add(1, 2) == 3", "assert add(1, 2).startswith('3')", "assert add(1, 2) >= 3",
    "import unittest\nclass T(unittest.TestCase):\n    def test_it(self): self.assertAlmostEqual(add(1, 2), 3)",
    "assert all(map(lambda one: add(one, 2) == 3, [1]))", "assert all(add(one, 2) == 3 for one in [1])",
    "class TestIt:\n    def test_it(self): assert add(1, 2) == 3", "assert 1 + 2 == 3",
    "def check(it): assert it(1, 2) == 3",
)  # fmt: skip


@pytest.mark.parametrize("code", FORGED)
async def test_no_code_makes_its_own_tests_pass(code: str) -> None:
    harmed = await run(code, list(FORGEABLE), seconds=1)
    assert harmed.reward == 0.0, harmed.feedback


async def test_a_check_is_given_what_the_task_names_and_code_without_it_fails() -> None:
    check = "def check(it):\n    assert abs(it(1, 2) - 3) < 1e-6"
    right, wrong = "class Some:\n    def add(self, a, b): return a + b", "def abs(one): return 0\n"
    cases = {(right, "Some().add"): 1.0, (wrong, "add"): 0.0, (wrong + "def add(a, b): return 9", "add"): 0.0}
    for (code, entry), reward in cases.items():
        task = Task("Add.", None, {"test": check, "entry_point": entry})
        assert (await score(CodeReward(60), Rollout(task, 0, 0, "", text=code))).reward == reward, code


ACROSS = """
import collections, dataclasses, math
class Stack:
    def __init__(self, items=()): self.items = list(items)
    def push(self, item): self.items.append(item); return self
    def pop(self):
        if not self.items: raise Empty("nothing left", 7)
        return self.items.pop()
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
    def __add__(self, other): return Stack(self.items + other.items)
    def __eq__(self, other): return isinstance(other, Stack) and self.items == other.items
class Empty(LookupError):
    def __init__(self, why, code): super().__init__(why); self.code = code
Point = collections.namedtuple("Point", "x y")
count = 0
def add(a, b): global count; count += 1; return a + b
def sort(items): items.sort(); items[0] = {"first": items[0]}
def apply(run, items): return [run(item) for item in items]
def numbers():
    for number in range(3): yield number
def hello(): print("hello", end="")
def kinds():
    return [1, 2.5, True, None, "a", b"b", (1, (2,)), {3}, {"a": [float("inf")]}, 2**70, 1j, range(3), Point(1, 2)]
def reverse(node):
    last = None
    while node: node.next, last, node = last, node, node.next
    return last
def repeated(run): return lambda *given: [run(*given), run(*given)]
"""
CROSSING = (
    "assert add(1, 2) == 3 and count == 1 and add('a', 'b') == 'ab' and math.pi > 3",
    "items = [3, 1, 2]\nsort(items)\nassert items == [{'first': 1}, 2, 3]",
    "assert apply(lambda one: one + 1, [1, 2]) == [2, 3] and apply(str, [1]) == ['1']",
    "assert list(numbers()) == [0, 1, 2] and sum(numbers()) == 3 and next(numbers()) == 0 and 2 in numbers()",
    "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()) as said: hello()\n"
    "assert said.getvalue() == 'hello'",
    "assert kinds()[:9] == [1, 2.5, True, None, 'a', b'b', (1, (2,)), {3}, {'a': [float('inf')]}]\n"
    "assert kinds()[9:] == [2**70, 1j, range(3), (1, 2)]\n"
    "assert kinds()[-1].x == 1 and kinds()[2] is True",
    "stack = Stack([1])\nassert isinstance(stack, Stack) and len(stack.push(2)) == 2 and stack.items == [1, 2]\n"
    "assert stack + Stack([3]) == Stack([1, 2, 3]) and list(stack) == [1, 2] and stack != Stack()",
    "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n"
    "        with self.assertRaises(Empty) as caught: Stack().pop()\n"
    "        self.assertEqual((str(caught.exception), caught.exception.code), ('nothing left', 7))\n"
    "        self.assertRaises(LookupError, Stack().pop)\n        self.assertRaises(TypeError, add, 1, '')",
    "class Node:\n    def __init__(self, value, next): self.value, self.next = value, next\n"
    "node = reverse(Node(1, Node(2, None)))\nassert (node.value, node.next.value, node.next.next) == (2, 1, None)",
    "@repeated\ndef seven(n): return n + 7\nassert seven(1) == [8, 8]",
    "from unittest import mock\nwith mock.patch('builtins.print') as said: hello()\nassert said.call_count == 1",
    "async def test_it(): pass\nassert add(1, 1) == 2",
    "class TestIt:\n    def setup_method(self, at): self.two = 2\n    def test_it(self): assert add(1, self.two) == 3",
)


async def test_values_objects_errors_and_functions_cross_between_code_and_tests() -> None:
    scored = await run(ACROSS, list(CROSSING))
    assert (scored.reward, scored.feedback) == (1.0, "")


async def test_no_key_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert (await run("import os\nassert 'secret' not in str(os.environ)" + ADDING)).reward == 1.0


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"test_list": TESTS, "test_setup_code": "import math"}, "def add(a, b): return math.floor(a + b)"),
        ({"test": "def check(candidate):\n    assert candidate(1, 2) == 3", "entry_point": "add"}, "    return a + b"),
        (
            {"tests": "import unittest\nclass T(unittest.TestCase):\n    def test_it(self): assert add(1, 2) == 3"},
            ADDING,
        ),
        ({"test_cases": [{"input": "1 2\n", "output": "3\n"}]}, "print(sum(map(int, input().split())))"),
        ({"tests": '{"inputs": ["1"], "outputs": ["1"]}'}, "import sys\nprint(sys.stdin.read())\nsys.exit()"),
    ],
)
async def test_tests_come_as_data_sets_hold_them(metadata: dict[str, JSON], code: str) -> None:
    task = Task('def add(a, b):\n    """The sum."""\n', None, metadata)
    scored = await score(load_reward("code"), Rollout(task, 0, 0, "", text=code))
    assert (scored.reward, scored.feedback) == (1.0, "")


def test_a_task_without_tests_is_refused() -> None:
    with pytest.raises(InputError, match="it has no tests"):
        check(load_reward("code"), [Task("add", "a + b")])
    assert read_tests(Task("add", "assert True")) == ["assert True"]


def test_the_code_is_the_last_fence_that_defines_something() -> None:
    text = "```python\ndef f(): ...\n```\nthen\n```python\nf()\n```\n```bash\nls\n```"
    assert code_of(text) == "def f(): ..."
    assert code_of("<think>```python\ndef g(): ...\n```</think>f = 1") == "f = 1"
    assert code_of("```py\nf = 1") == "f = 1"
