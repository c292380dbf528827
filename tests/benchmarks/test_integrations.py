"""The benchmarks of what fits beside tfgrpo and of other clients, in small: on the SDK that is installed."""

import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks.beside import reason
from benchmarks.integrations import INTEGRATIONS, biased, table, tried, written
from tests.clients.every_api import EveryApi, Got
from tests.live import go_live
from tfgrpo.testing import serving

WANTED = {
    "openai": ("1.66.0", "2.20.0", "2.54.0", "3.57.0"),
    "rich": ("13.9.4", "14.0.0"),
    "tiktoken": ("0.10.0", "0.12.0"),
    "numpy": ("1.26.4", "2.2.0"),
}
"""Versions that well-known frameworks ask for (`python -m benchmarks.beside`): crewai, aider, instructor, vllm, ..."""


def test_what_well_known_frameworks_ask_for_is_allowed() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    bounds = {one.name: one.specifier for one in map(Requirement, project["dependencies"])}
    wrong = [f"{name} {version}" for name, versions in WANTED.items() for version in versions
             if name in bounds and Version(version) not in bounds[name]]  # fmt: skip
    assert wrong == []
    assert "httpx2" not in bounds  # an older SDK brings httpx in its place


def test_a_reason_is_the_last_conclusions_on_one_line() -> None:
    told = (
        "No way:\n Because a needs b<1\n and b is 2, a is no use.\n And because c needs a, c is none.\n And we want c."
    )
    assert reason(told) == "And because c needs a, c is none. And we want c."


def test_a_program_is_run_and_what_the_upstream_got_is_looked_at(tmp_path: Path) -> None:
    upstream = EveryApi()
    one = next(one for one in INTEGRATIONS if one.name == "openai 3")
    with serving(upstream.app) as url:
        at = url, go_live(tmp_path / "s.db")
        found = [tried(one, Path(sys.executable), upstream, at, program) for program in (one.ours, "", "nonsense")]
    assert found == ["yes", "-", "fails"]
    upstream.requests.append(Got("/v1/responses", {}, b"{}"))
    assert [biased(upstream), biased(upstream)] == ["no: /v1/responses", "no call"]
    assert "| openai 3 | yes | `from tfgrpo import OpenAI` | no |" in table([(one, "yes", "no")])


def test_the_page_is_written_anew_and_what_is_by_hand_below_the_table_stays(tmp_path: Path) -> None:
    page = tmp_path / "integrations.md"
    for rows in ("| a |", "| b |"):
        written(page, rows)
        page.write_text(page.read_text().partition("\n## ")[0] + "\n## Beside\n\nBy hand.\n")
    written(page, "| c |")
    assert page.read_text().endswith("| c |\n\n## Beside\n\nBy hand.\n") and "| b |" not in page.read_text()
