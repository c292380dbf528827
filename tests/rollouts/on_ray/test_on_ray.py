"""Rollouts on a real cluster of two nodes on this machine, of which one is killed; skipped without Ray."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.routing import TASKS
from tfgrpo.cli import main
from tfgrpo.errors import InputError
from tfgrpo.rollouts.on_ray.cluster import check_executor, told_of
from tfgrpo.store import Store
from tfgrpo.testing import ScriptedModel, serving

AGENT = """
import os, time
def route(client, task):
    with open("{log}", "a") as file:
        file.write(f"{{os.getpid()}} {{task.id}}\\n")
    said = client.chat.completions.create(model="default", messages=[{{"role": "user", "content": task.prompt}}])
    time.sleep(0.2)
    return said.choices[0].message.content
def reward(rollout):
    with open("{log}", "a") as file:
        file.write(f"{{os.getpid()}} reward\\n")
    return float(rollout.text == rollout.task.answer)
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, every_processor: None) -> Iterator[Any]:
    """Two nodes with a processor each, to which `--executor ray` connects."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 200, "health_check_failure_threshold": 3}
    quick["worker_niceness"] = 0  # of 15, as Ray has it, a worker beside other tests takes half a minute to begin
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
    head |= {"include_log_monitor": False, "no_monitor": True}  # two processes that nobody here asks for
    made = Cluster(initialize_head=True, head_node_args=head)
    made.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", str(made.address))
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_node_killed_in_the_middle_changes_no_prior_and_no_journal(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent_on_ray.py").write_text(AGENT.format(log=tmp_path / "log"))
    (tmp_path / "tasks.jsonl").write_text(
        "\n".join(json.dumps({"input": task.prompt, "answer": task.answer}) for task in TASKS[:6])
    )
    _, second = cluster.list_all_nodes()

    def answer(body: Any) -> str:
        if len(model.requests) == 20 and name == "ray":
            cluster.remove_node(second, allow_graceful=False)
        return ("billing", "shipping", "account")[int(body["seed"]) % 3]

    model, found = ScriptedModel(answer), {}
    with serving(model.app) as url:
        for name in ("asyncio", "ray"):
            model.requests.clear()
            asked = ["--agent", "agent_on_ray:route", "--reward", "agent_on_ray:reward", "--executor", name]
            small = ["--gate", "none", "--steps", "2", "--group-size", "2", "--no-experiences", "--seed", "3"]
            alike = ["--hedge", "0"]  # the server waits while the node is killed, and a hedged call counts twice
            place = ["--model", "fake", "--base-url", url, "--store", f"{name}.db", "--json"]
            result = CliRunner().invoke(main, ["learn", "tasks.jsonl", *asked, *small, *alike, *place])
            assert result.exit_code == 0, result.output
            with Store(Path(f"{name}.db")) as store:
                run = store.runs()[0].run
                found[name] = (
                    json.loads(result.stdout)["prior"],
                    store.spent(run.id),
                    sorted(journalled(Path(f"{name}.db"))),
                )
    assert found["ray"] == found["asyncio"]
    workers = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len(workers) > 2 * 2 * 24, "what was lost was made again"
    assert len({pid for pid, _ in workers}) > 2, "both nodes took part"


def journalled(path: Path) -> list[tuple[Any, ...]]:
    import sqlite3

    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT stage, step, task, sample, retry FROM calls").fetchall()


@pytest.mark.parametrize("given", ["dask", "ray:1", "ray://", ""])
def test_an_executor_that_there_is_not_is_told_with_those_there_are(given: str) -> None:
    with pytest.raises(InputError, match=r"asyncio, ray, or the address of a cluster: ray://HOST:10001"):
        check_executor(given)


def test_without_ray_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    sys.modules.pop("ray", None)
    with pytest.raises(InputError, match=r"needs Ray, of the extra `ray`: .*\[ray\]"):
        check_executor("ray://head:10001")


def test_a_cluster_of_another_python_is_told_in_one_line() -> None:
    said = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: 3.12.4\n"
        "This process on Ray Client was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    assert told_of(RuntimeError(said)) == (
        "the cluster runs Ray 2.60.0 on Python 3.12.4, and this is Ray 2.60.0 on Python 3.11.7;"
        " run tfgrpo with the same versions"
    )
