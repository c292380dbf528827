"""What `deploy/` and `docs/production.md` tell people is what there is; linted by what this machine has."""

import re
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.help import commands
from tests.live import MODEL, PRIOR, TEXT, go_live
from tfgrpo.cli import main

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
OPTIONS = {
    name: {option for param in command.params for option in param.opts} for name, command in commands(main, "tfgrpo")
}


@pytest.mark.parametrize(
    "file", ["deploy/Dockerfile", "deploy/compose.yaml", "deploy/compose.postgres.yaml", "deploy/tfgrpo.service"]
)
def test_every_option_that_is_given_exists(file: str) -> None:
    text = "\n".join(line for line in (ROOT / file).read_text().splitlines() if "tfgrpo serve " in line or "--" in line)
    used = set(re.findall(r"(?<![\w-])--(?:host|upstream|upstream-key-env|workers|grace|log-format|store)\b", text))
    assert used
    assert used <= OPTIONS["tfgrpo serve"]


def test_the_page_on_production_names_options_and_headers_that_there_are() -> None:
    text = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    known = {option for options in OPTIONS.values() for option in options}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known
    source = "".join(file.read_text() for file in (ROOT / "tfgrpo").rglob("*.py"))
    for header in set(re.findall(r"x-tfgrpo-[a-z-]+", text)):
        assert f'"{header}"' in source, header
    for figure in set(re.findall(r"tfgrpo_[a-z_]+_(?:total|seconds)|tfgrpo_in_flight|tfgrpo_store_readable", text)):
        assert f'"{figure.removesuffix("_total")}"' in source, figure


def test_the_compose_file_gives_no_rights_and_no_keys_away() -> None:
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["proxy"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["environment"] == {"UPSTREAM_KEY": None}
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert "USER 10001" in dockerfile
    assert "HEALTHCHECK" in dockerfile


def test_the_compose_file_on_postgresql_has_two_proxies_and_a_learner_on_one_database() -> None:
    services = yaml.safe_load((DEPLOY / "compose.postgres.yaml").read_text())["services"]
    assert sorted(services) == ["learner", "postgres", "proxy-1", "proxy-2"]
    ours = [service for name, service in services.items() if name != "postgres"]
    assert len({service["environment"]["TFGRPO_STORE"] for service in ours}) == 1
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in ours)
    for name in ("proxy-1", "learner"):
        command, *given = services[name]["command"]
        assert {word.partition("=")[0] for word in given if word.startswith("--")} <= OPTIONS[f"tfgrpo {command}"]
    text = (DEPLOY / "compose.postgres.yaml").read_text()
    assert "${POSTGRES_PASSWORD:?" in text, "nobody gets a password that everybody knows"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_unit_is_sound() -> None:
    ran = subprocess.run(
        ["systemd-analyze", "verify", str(DEPLOY / "tfgrpo.service")], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(not HADOLINT, reason="needs hadolint")
def test_the_dockerfile_is_sound() -> None:
    ran = subprocess.run([str(HADOLINT), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


async def test_the_hook_for_litellm_adds_the_prior_and_fails_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger: Any = types.ModuleType("litellm.integrations.custom_logger")
    logger.CustomLogger = type("CustomLogger", (), {"__init__": lambda self: None})
    for name in ("litellm", "litellm.integrations"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, logger.__name__, logger)
    monkeypatch.setenv("TFGRPO_STORE", str(go_live(tmp_path / "s.db")))
    monkeypatch.syspath_prepend(str(DEPLOY / "litellm"))
    monkeypatch.delitem(sys.modules, "tfgrpo_prior", raising=False)
    import importlib

    hook = importlib.import_module("tfgrpo_prior").hook
    data = {"model": MODEL, "messages": [{"role": "user", "content": "Which?"}], "metadata": {"a": 1}, "stream": True}
    sent = await hook.async_pre_call_hook(None, None, data, "acompletion")
    assert TEXT in str(sent["messages"])
    assert (sent["metadata"], sent["stream"]) == ({"a": 1, "tfgrpo_prior": PRIOR.id}, True)
    for given, kind in (
        ({**data, "metadata": {"tfgrpo": "off"}}, "acompletion"),
        (data, "embeddings"),
        ({**data, "messages": object()}, "acompletion"),
    ):
        assert await hook.async_pre_call_hook(None, None, given, kind) is given
