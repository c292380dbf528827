"""What is in the wheel, and that it works away from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
KINDS = {".css", ".jinja", ".js", ".json", ".jsonl", ".md", ".py", ".sql", ".svg", ".txt", ".typed"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the project's own backend, without an environment of its own or the network."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files(folder: Path) -> set[str]:
    """The files below a folder, as paths from it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_package_its_prompts_and_its_store_and_nothing_else(wheel: Path) -> None:
    expected = {f"tfgrpo/{name}" for name in files(ROOT / "tfgrpo")}
    for kind in ("prompts", "store"):
        expected |= {f"tfgrpo/_assets/{kind}/{name}" for name in files(ROOT / kind)}
    inside = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert inside == expected
    assert {PurePosixPath(name).suffix for name in inside} <= KINDS


@pytest.mark.parametrize(
    "name", ["py.typed", "demo/tasks/train.jsonl", "_assets/prompts/prior.md", "_assets/store/0001_initial.sql"]
)
def test_the_wheel_holds_what_is_no_code(name: str, wheel: Path) -> None:
    assert f"tfgrpo/{name}" in contents(wheel)


def test_the_wheel_carries_its_licence_its_command_and_where_to_read_on(wheel: Path) -> None:
    beside = {name.partition(".dist-info/")[2] for name in contents(wheel)}
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= beside
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        assert b"\nProject-URL: Paper, https://" in archive.read(metadata)


def test_a_missing_extra_is_installed_from_the_wheel_that_the_package_is_from(wheel: Path, tmp_path: Path) -> None:
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-compile",
        "--target",
        str(tmp_path),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    source = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from tfgrpo.extras import *; print(install_hint('gym'))"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", source], capture_output=True, text=True, check=True)
    assert ran.stdout.endswith(f"pip install '{wheel}[gym]'\n")


def test_prompts_and_migrations_are_found_in_the_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    source = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import tfgrpo, tfgrpo.demo.run, tfgrpo.prompts, tfgrpo.store\n"
        "tfgrpo.prompts.template('prior'); tfgrpo.store.Store('new.db').close(); tfgrpo.demo.run.part('train')\n"
        "print(tfgrpo.__file__)"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", source], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path)
