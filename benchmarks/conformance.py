"""openai-python's own tests against its own mock, directly and through `tfgrpo serve`: do the same tests pass?

    python -m benchmarks.conformance [--checkout URL] [--keep FOLDER] [PYTEST_ARGUMENT ...]

The tests (`tests/api_resources`), the OpenAPI description and the name of the mock come from a checkout of
openai-python, made anew (URL may be a folder with a git repository); its SDK is installed beside them, and the mock
(steady) by npm. FOLDER keeps all three, else they are thrown away. The prior that is live has 12 experiences, 4
demonstrations and 100 whole-number biases, learned on the model that most of the tests for chat name. Needs `git`,
`npm`, the package indexes, and 4 minutes. Fails where a test comes out differently.
"""

import argparse
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from benchmarks.client import PRIOR
from benchmarks.proxy import process, run_proxy
from tests.live import go_live
from tfgrpo.records import Demonstration

SOURCE = "https://github.com/openai/openai-python"
TESTED_WITH = ("pytest", "pytest-asyncio", "pytest-xdist", "inline-snapshot", "rich", "trio")
"""What its tests import, beside the SDK."""
DESCRIPTION = "api_reference/openapi.transformed.yml"
AS_PYTHON_DOES = tuple(
    f"--validator-{part}=brackets"
    for part in ("query-array-format", "form-array-format", "query-object-format", "form-object-format")
)
"""How the SDK writes what is nested, as its own `scripts/mock` tells the mock."""
STARTING_SECONDS = 60.0


def checked_out(source: str, folder: Path) -> Path:
    """openai-python's newest commit, in a folder."""
    there = folder / "openai-python"
    if not there.exists():
        url = Path(source).resolve().as_uri() if Path(source).exists() else source
        subprocess.run(["git", "clone", "-q", "--depth", "1", url, str(there)], check=True)
    return there


def sdk_version(checkout: Path) -> str:
    """The version of the SDK that the tests belong to."""
    found = re.search(r'^version = "([^"]+)"', (checkout / "pyproject.toml").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{checkout}/pyproject.toml names no version")
    return found[1]


def environment(folder: Path, version: str) -> str:
    """A Python with the SDK and what its tests import."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
    wanted = (f"openai[aiohttp]=={version}", *TESTED_WITH)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
    return str(python)


@contextmanager
def mock(folder: Path, checkout: Path) -> Iterator[str]:
    """openai-python's mock of the API; yields its base URL."""
    named = json.loads((checkout / "package.json").read_text())["devDependencies"].get("@stdy/cli", "latest")
    command = folder / "node_modules" / ".bin" / "steady"
    if not command.exists():
        subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), f"@stdy/cli@{named}"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--quiet", "--host", "127.0.0.1", "--port", str(port), *AS_PYTHON_DOES, str(checkout / DESCRIPTION)]
    with (folder / "mock.log").open("wb") as log:
        running = subprocess.Popen([str(command), *arguments], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/_x-steady/health", running)
        yield url
    finally:
        running.terminate()
        running.wait()


def _wait_for(url: str, running: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + STARTING_SECONDS
    while running.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(url).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the mock does not start: see mock.log (--keep FOLDER)")


def outcomes(python: str, checkout: Path, base: str, report: Path, chosen: Sequence[str]) -> Mapping[str, str]:
    """What became of each test against a base URL."""
    command = [
        python, "-m", "pytest", "tests/api_resources", "-q", "-o", "addopts=", "-p", "no:cacheprovider", "--tb=line",
        f"--junitxml={report}", *chosen,
    ]  # fmt: skip
    variables = {**os.environ, "TEST_API_BASE_URL": base, "DEFER_PYDANTIC_BUILD": "false"}
    ran = subprocess.run(command, cwd=checkout, env=variables, capture_output=True, text=True, check=False)
    if not report.exists():
        raise SystemExit(f"pytest wrote no report: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    cases = ElementTree.parse(report).iter("testcase")
    return {f"{case.get('classname')}.{case.get('name')}": _outcome(case) for case in cases}


def _outcome(case: ElementTree.Element) -> str:
    if case.find("skipped") is not None:
        return "skipped"
    return "passed" if case.find("failure") is None and case.find("error") is None else "failed"


def live(folder: Path, checkout: Path) -> Path:
    """A store with a live prior, learned on the model that the tests for chat name."""
    named = re.findall(r'model="([^"]+)"', (checkout / "tests/api_resources/chat/test_completions.py").read_text())
    shown = tuple(Demonstration(f"Where is invoice {number}?", "BILL") for number in range(4))
    whole = tuple(replace(bias, bias=float(round(bias.bias) or 1)) for bias in PRIOR.biases)
    prior = replace(PRIOR, experiences=PRIOR.experiences[:12], demonstrations=shown, biases=whole)
    return go_live(folder / "s.db", prior, model=Counter(named).most_common(1)[0][0])


def served(root: str) -> Counter[str]:
    """How many calls the proxy answered, by surface and variant, as its own figures say."""
    found: Counter[str] = Counter()
    with urllib.request.urlopen(f"{root}/metrics") as figures:
        for line in figures.read().decode().splitlines():
            if line.startswith("tfgrpo_requests_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                found[f"{labels['surface']}, prior: {labels['variant']}"] += int(float(line.rpartition(" ")[2]))
    return found


def compare(direct: Mapping[str, str], through: Mapping[str, str]) -> int:
    """Print both and what differs; how many do."""
    print(f"{'':<20}{'passed':>8}{'failed':>8}{'skipped':>8}")
    for name, found in (("directly", direct), ("through the proxy", through)):
        counted = Counter(found.values())
        print(f"{name:<20}" + "".join(f"{counted[kind]:>8}" for kind in ("passed", "failed", "skipped")))
    different = sorted(test for test in direct.keys() | through.keys() if direct.get(test) != through.get(test))
    print(f"tests that come out differently: {len(different)}")
    for test in different[:50]:
        print(f"  {test}: {direct.get(test)}, through the proxy {through.get(test)}")
    return len(different)


def run(folder: Path, source: str, chosen: Sequence[str]) -> int:
    """Fetch, start, test twice, compare."""
    checkout = checked_out(source, folder)
    version = sdk_version(checkout)
    python = environment(folder, version)
    with (
        TemporaryDirectory() as made,
        mock(folder, checkout) as base,
        process(run_proxy, base, str(live(Path(made), checkout))) as proxy,
    ):
        print(f"openai-python {version} at {source}", flush=True)
        direct = outcomes(python, checkout, base, Path(made) / "direct.xml", chosen)
        root = proxy.removesuffix("/v1")
        through = outcomes(python, checkout, root, Path(made) / "through.xml", chosen)
        for what, calls in sorted(served(root).items()):
            print(f"  {calls:>6} calls of surface {what}")
        return compare(direct, through)


def main() -> None:
    """Compare both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", default=SOURCE)
    parser.add_argument("--keep", type=Path)
    given, chosen = parser.parse_known_args()
    multiprocessing.set_start_method("spawn", force=True)
    with TemporaryDirectory() as folder:
        kept = given.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        sys.exit(1 if run(kept.resolve(), given.checkout, chosen) else 0)


if __name__ == "__main__":
    main()
