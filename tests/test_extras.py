"""Where the package came from is told by a distribution made of the files that an installer writes."""

import json
import os
import shlex
import sys
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Any

import pytest

from tfgrpo.extras import install_hint


@pytest.fixture(autouse=True)
def active(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The shell's pip is that of the interpreter that runs, as in an activated environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    pip = folder / "pip"
    pip.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(folder))


def installed(folder: Path, origin: dict[str, Any] | None, installer: str = "pip") -> Distribution:
    """A distribution as its installer left it; without an origin it came from an index."""
    (folder / "METADATA").write_text("Metadata-Version: 2.4\nName: tfgrpo\nVersion: 1.0\n")
    (folder / "INSTALLER").write_text(f"{installer}\n")
    if origin is not None:
        (folder / "direct_url.json").write_text(json.dumps(origin))
    return PathDistribution(folder)


GIT = {"vcs": "git", "commit_id": "0" * 40}


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'tfgrpo[local]'"),
        ({"url": "file:///home/me/tfgrpo", "dir_info": {"editable": True}}, "pip install -e '/home/me/tfgrpo[local]'"),
        ({"url": "file:///home/me/tfgrpo", "dir_info": {}}, "pip install '/home/me/tfgrpo[local]'"),
        ({"url": "file:///my%20code", "dir_info": {"editable": True}}, "pip install -e '/my code[local]'"),
        (
            {"url": "file:///dist/tfgrpo-1.0-py3-none-any.whl", "archive_info": {}},
            "pip install '/dist/tfgrpo-1.0-py3-none-any.whl[local]'",
        ),
        (
            {"url": "https://host/tfgrpo-1.0.tar.gz", "archive_info": {}},
            "pip install 'tfgrpo[local] @ https://host/tfgrpo-1.0.tar.gz'",
        ),
        ({"url": "https://host/a/b.git", "vcs_info": GIT}, "pip install 'tfgrpo[local] @ git+https://host/a/b.git'"),
        (
            {"url": "https://host/b", "vcs_info": GIT | {"requested_revision": "v1"}, "subdirectory": "python"},
            "pip install 'tfgrpo[local] @ git+https://host/b@v1#subdirectory=python'",
        ),
        ({"url": "ssh://git@host/b", "vcs_info": GIT}, "pip install 'tfgrpo[local] @ git+ssh://git@host/b'"),
        ({"url": "file:///repos/b", "vcs_info": GIT}, "pip install 'tfgrpo[local] @ git+file:///repos/b'"),
    ],
)
def test_an_extra_comes_from_where_the_package_came_from(
    origin: dict[str, Any] | None, command: str, tmp_path: Path
) -> None:
    assert install_hint("local", installed(tmp_path, origin)) == command


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@host/b",
        "https://hunter2@host/b",
        "https://host/b?token=hunter2",
        "https://host/b#hunter2",
        "ssh://git:hunter2@host/b",
    ],
)
def test_a_secret_in_the_address_is_not_told(url: str, tmp_path: Path) -> None:
    hint = install_hint("local", installed(tmp_path, {"url": url, "vcs_info": GIT}))
    assert "hunter2" not in hint
    assert "//host/b" in hint


@pytest.mark.parametrize("written", ["", "{", "[]", "{}", '{"url": 1}'])
def test_a_record_that_cannot_be_read_counts_as_an_index(written: str, tmp_path: Path) -> None:
    found = installed(tmp_path, None)
    (tmp_path / "direct_url.json").write_text(written)
    assert install_hint("serve", found) == "pip install 'tfgrpo[serve]'"


@pytest.mark.parametrize("path", ["/it's here", "/a; rm -r b", "/$HOME/`c`"])
def test_a_shell_takes_the_path_as_it_is(path: str, tmp_path: Path) -> None:
    origin = {"url": Path(path).as_uri(), "dir_info": {}}
    assert shlex.split(install_hint("gym", installed(tmp_path, origin))) == ["pip", "install", f"{path}[gym]"]


def test_where_the_shells_pip_is_another_the_interpreter_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = installed(tmp_path, None)
    monkeypatch.setattr(sys, "executable", "/its own/bin/python")
    assert install_hint("local", found) == "'/its own/bin/python' -m pip install 'tfgrpo[local]'"
    monkeypatch.setenv("PATH", os.devnull)
    assert install_hint("local", found) == "'/its own/bin/python' -m pip install 'tfgrpo[local]'"


def test_what_uv_installed_is_installed_by_uv(tmp_path: Path) -> None:
    hint = install_hint("local", installed(tmp_path, None, "uv"))
    assert hint == f"uv pip install --python {sys.executable} 'tfgrpo[local]'"
