"""Code that is run with its tests: what it may not do, and that it ends."""

import os
import sys
import time
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


async def run(code: str, tests: JSON = TESTS, seconds: float = 1.0) -> Rollout:
    return await score(CodeReward(seconds), saying(code, tests))


async def test_the_share_of_the_tests_that_pass_is_the_reward_and_the_first_failure_the_feedback() -> None:
    half = await run("def add(a, b): return 3")
    assert (half.reward, half.feedback.split(":")[0]) == (0.5, "1 of 2 tests passed; the first that did not")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("while True: pass", "it took more than 1 s"),
        ("import time\ntime.sleep(60)", "it took more than 1 s"),
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
    began = time.monotonic()
    rollout = await run(code + ADDING)
    assert (rollout.reward, rollout.error) == (0.0, None)
    assert said in rollout.feedback
    assert time.monotonic() - began < 8


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
