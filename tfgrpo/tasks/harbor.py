"""Tasks of Harbor: sandboxed work for agents, each a folder with an instruction, an environment and a verifier.

`harbor:FOLDER` is a task or a folder of them; any other name is a data set of Harbor's registry, which the program
`harbor` fetches into the user's cache once.
"""

import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from ..errors import InputError
from ..extras import install_hint
from ..records import JSON, Task
from ..text import is_unicode, shortened

HARBOR = "harbor:"
"""How a source of such tasks begins, and the name of an agent of Harbor's."""
HARBOR_REWARD = "harbor"
"""Name of the reward by which these tasks are scored."""
_CONFIG, _INSTRUCTION = "task.toml", "instruction.md"
_FETCH_SECONDS = 1_800.0


def harbor_entries(source: str) -> Iterator[tuple[str, JSON]]:
    """The tasks of a source, each with its place: what is asked, a hash of all that belongs to it, and its folder.

    Raises InputError where there are none, or they cannot be fetched.
    """
    named = source.removeprefix(HARBOR)
    if not named:
        raise InputError(f"{source}: a source looks like harbor:FOLDER or harbor:ORG/NAME@VERSION")
    try:
        folder = Path(named).expanduser()
        folders = _tasks_below(folder if folder.is_dir() else _fetched(named))
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{shortened(source, 200)}: no folder, and no data set, has such a name: {error}") from error
    if not folders:
        raise InputError(f"{shortened(source, 200)}: there is no folder with a {_CONFIG} in {folder}")
    for one in folders:
        try:
            asked = (one / _INSTRUCTION).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = f"has no {_INSTRUCTION} that can be read; tasks of several steps are not learned from"
            raise InputError(f"{shortened(source, 200)}: {one} {why}") from error
        if not is_unicode(str(one.resolve())):
            raise InputError(f"{shortened(source, 200)}: {str(one)!r} has a name that is no text; give it another")
        try:
            digest = _digest(one)
        except OSError as error:
            raise InputError(f"{shortened(source, 200)}: {error.filename} cannot be read: {error.strerror}") from error
        yield one.name, {"input": asked, "id": str(one.resolve()), "metadata": {"harbor": digest}}


def harbor_program() -> str:
    """The program that runs sandboxes; InputError where there is none."""
    import shutil

    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if found := shutil.which("harbor", path=beside):
        return found
    hint = f"install it with `{install_hint('harbor')}` (Python 3.12), or by itself with `uv tool install harbor`"
    raise InputError(f"there is no program `harbor`; {hint}")


def harbor_folder(task: Task) -> Path:
    """Where a task of Harbor's is; InputError for one that is none."""
    if "harbor" not in task.metadata:
        raise InputError(f"task {task.id} is none of Harbor's, which this needs; tasks of its are harbor:FOLDER")
    return Path(str(task.metadata.get("id")))


def _tasks_below(folder: Path) -> list[Path]:
    return sorted(found.parent for found in folder.glob(f"**/{_CONFIG}"))


def _fetched(name: str) -> Path:
    """The folder of a data set, from the cache or by Harbor itself."""
    import subprocess

    from platformdirs import user_cache_path

    folder = user_cache_path("tfgrpo") / "harbor" / quote(name, safe="@")
    if _tasks_below(folder):
        return folder
    making = folder.with_name(f"{folder.name}.part")
    command = [harbor_program(), "download", name, "--output-dir", str(making), "--export", "--overwrite"]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_FETCH_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"harbor:{name} was not fetched within {_FETCH_SECONDS:,.0f} s") from error
    if ran.returncode:
        said = shortened(" ".join((ran.stderr or ran.stdout).split())[-300:], 300)
        hint = "there is no such folder here, and Harbor cannot fetch such a data set"
        raise InputError(f"harbor:{shortened(name, 100)}: {hint}: {said or f'code {ran.returncode}'}")
    try:
        making.rename(folder)
    except OSError as error:  # another process was quicker; or nothing came, and nothing is there
        if not _tasks_below(folder):
            raise InputError(f"{folder} cannot be made of what Harbor fetched: {error.strerror}") from error
    return folder


def _digest(folder: Path) -> str:
    """Of all that belongs to a task: two that say the same may check something else."""
    found = sha256()
    for path in sorted(path for path in folder.glob("**/*") if path.is_file()):
        name = path.relative_to(folder).as_posix().encode(errors="surrogateescape")
        found.update(name + f"\n{path.stat().st_size}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
