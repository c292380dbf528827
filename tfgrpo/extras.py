"""The optional parts of the package (`local`, `serve`, ...), and the command that installs one where it is missing.

The command takes the extra from where the package itself came from, as its installation recorded it (PEP 610): a
release on an index says nothing to someone who works in a checkout.
"""

import json
import shutil
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from .records import JSON

_NAME = "tfgrpo"


def install_hint(extra: str, installed: "Distribution | None" = None) -> str:
    """The command, quoted for a shell, that installs an extra of `installed`: by default of the running package."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = installed or distribution(_NAME)
    except PackageNotFoundError:  # run from a folder that nobody installed
        return f"pip install {quote(_requirement(extra, {}))}"
    origin = _origin(found)
    editable = "-e " if _is_editable(origin) else ""
    return f"{_installer(found)} {editable}{quote(_requirement(extra, origin))}"


def _origin(found: "Distribution") -> "JSON":
    """What `direct_url.json` tells; nothing where the package is from an index, or where it cannot be read."""
    try:
        told = json.loads(found.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) and isinstance(told.get("url"), str) else {}


def _is_editable(origin: "JSON") -> bool:
    return bool(origin.get("dir_info", {}).get("editable"))


def _requirement(extra: str, origin: "JSON") -> str:
    """What pip is given: a path with the extra, else the name with the extra and the URL, if any."""
    url = origin.get("url")
    if url is None:
        return f"{_NAME}[{extra}]"
    if url.startswith("file:") and "vcs_info" not in origin:
        return f"{_path(url)}[{extra}]"
    where = _without_secrets(url)
    if vcs := origin.get("vcs_info"):
        revision = vcs.get("requested_revision")
        where = f"{vcs.get('vcs', 'git')}+{where}" + (f"@{revision}" if revision else "")
    folder = origin.get("subdirectory")
    return f"{_NAME}[{extra}] @ {where}" + (f"#subdirectory={folder}" if folder else "")


def _path(url: str) -> str:
    from urllib.request import url2pathname

    return url2pathname(urlsplit(url).path)


def _without_secrets(url: str) -> str:
    """The URL without what may be a secret: passwords and tokens before the host, the query; `git@` of ssh stays."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    keep = parts.scheme == "ssh" and user and ":" not in user
    return parts._replace(netloc=f"{user}@{host}" if keep else host, query="", fragment="").geturl()


def _installer(found: "Distribution") -> str:
    """The command that installs into the environment that runs, whether it is the shell's or not."""
    if (found.read_text("INSTALLER") or "").strip() == "uv":
        return f"uv pip install --python {quote(sys.executable)}"
    first = shutil.which("pip")
    if first is None or Path(first).parent != Path(sys.executable).parent:
        return f"{quote(sys.executable)} -m pip install"
    return "pip install"
