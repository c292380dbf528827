"""Signatures over exported priors (ed25519), and the keys that are trusted: who reads a prior may ask who did it.

What is signed is what reaches calls: the prior, the request frame and the namespace. What is told of it besides, its
lineage, effects and decisions, may be left out or added on the way. A trust file has a line for each key,
`ed25519:BASE64`, and whose it is behind it; lines that begin with # are for people.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..extras import install_hint
from ..hashing import canonical
from ..records import JSON
from ..text import shortened
from .parse import read_portable
from .portable import Portable, json_text, portable_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGN_VARIABLE = "TFGRPO_SIGN_KEY"
"""The environment variable that names the private key with which `tfgrpo serve` signs what is pulled from it."""
_KIND = "ed25519:"
_DOMAIN = b"tfgrpo prior 1\n"
"""What a signature is for: it holds for nothing else that such a key may sign."""
_MOST_SIGNATURES = 32
_TRUST_BYTES = 1_000_000


def signed_bytes(given: Portable) -> bytes:
    """What a signature is made over."""
    bare = Portable(given.prior, given.frame, given.namespace)
    return _DOMAIN + canonical(portable_json(bare)).encode("utf-8", "surrogatepass")


class SigningKey:
    """A private key, as a file in PEM."""

    def __init__(self, key: "Ed25519PrivateKey") -> None:
        self._key = key

    @property
    def public(self) -> str:
        """The line of a trust file that stands for it."""
        return _KIND + base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, given: Portable) -> dict[str, str]:
        """The signature over a prior, as its file has it."""
        signature = base64.b64encode(self._key.sign(signed_bytes(given))).decode()
        return {"key": self.public, "signature": signature}


def new_signing_key(path: Path) -> SigningKey:
    """A new key, in a file that nobody else may read; raises InputError where there is one already."""
    _check_library()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = Ed25519PrivateKey.generate()
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except FileExistsError as error:
        raise InputError(f"--new-key {path}: there is such a file already; name another") from error
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    return SigningKey(made)


def read_signing_key(path: Path) -> SigningKey:
    """The key in a file; raises InputError for what is none."""
    _check_library()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        found = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}; tfgrpo prior sign --new-key FILE makes a key"
        ) from error
    except (ValueError, TypeError) as error:  # TypeError: one with a password
        raise InputError(f"{path} holds no private key in PEM; tfgrpo prior sign --new-key FILE makes one") from error
    if not isinstance(found, Ed25519PrivateKey):
        raise InputError(f"{path} holds a key of another kind than ed25519")
    return SigningKey(found)


def signer() -> SigningKey | None:
    """The key that the environment names; raises InputError for one that cannot be used."""
    named = os.environ.get(SIGN_VARIABLE)
    return read_signing_key(Path(named).expanduser()) if named else None


def with_signature(source: str, text: str, key: SigningKey) -> str:
    """The text of an exported prior with one more signature; raises InputError for what is no such text."""
    form = _form(source, text)
    made = key.sign(read_portable(source, form))
    others = [one for one in _signatures(form) if one != made and one["key"] != made["key"]]
    return json.dumps({**form, "signatures": [*others, made]}, indent=2) + "\n"


def signed_text(given: Portable, key: SigningKey) -> str:
    """A prior as an exported file, signed."""
    return with_signature("this prior", json_text(given), key)


def trusted_keys(path: Path) -> dict[str, str]:
    """The keys that a file trusts, and whose they are; raises InputError, naming file and line, for what is no key."""
    try:
        if path.stat().st_size > _TRUST_BYTES:
            raise InputError(f"{path} is too large for a trust file: at most {_TRUST_BYTES:,} bytes")
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"the trust file {path} cannot be read: {error.strerror}; no prior is trusted") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the trust file {path} is no text in UTF-8; no prior is trusted") from error
    found = {}
    for number, line in enumerate(lines, 1):
        named, _, whose = line.strip().partition(" ")
        if named and not named.startswith("#"):
            _public_bytes(f"{path}, line {number}", named)
            found[named] = whose.strip()
    return found


def trust_key(path: Path, named: str, whose: str) -> bool:
    """Add a key to a trust file, which is made where there is none; False: it was there. Raises InputError."""
    _public_bytes("the key", named)
    if path.exists() and named in trusted_keys(path):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(f"{before.rstrip()}\n{named} {' '.join(whose.split())}".strip() + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    return True


def check_trusted(source: str, text: str, trust: Path) -> None:
    """Raise InputError for an exported prior that no trusted key has signed, or that was changed since."""
    keys, form = trusted_keys(trust), _form(source, text)
    signatures = [one for one in _signatures(form) if one["key"] in keys]
    if not signatures:
        what = "is signed by no key that" if form.get("signatures") else "is not signed, and"
        tail = "trusts" if form.get("signatures") else "asks for that"
        raise InputError(f"{source} {what} {trust} {tail}: it is refused; see tfgrpo prior sign, tfgrpo prior trust")
    content = signed_bytes(read_portable(source, form))
    if not any(_holds(one, content) for one in signatures):
        raise InputError(f"{source} is not what was signed: it was changed since, and is refused")


def _holds(signature: dict[str, str], content: bytes) -> bool:
    _check_library()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(_public_bytes("the key", signature["key"]))
    try:
        key.verify(base64.b64decode(signature["signature"], validate=True), content)
    except (InvalidSignature, binascii.Error):
        return False
    return True


def _form(source: str, text: str) -> dict[str, JSON]:
    try:
        form = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is not readable as JSON; `tfgrpo prior export` writes such a file") from error
    if not isinstance(form, dict) or form.get("tfgrpo") != "prior":
        raise InputError(f"{source} holds no prior as `tfgrpo prior export` writes it")
    return form


def _signatures(form: dict[str, JSON]) -> Iterator[dict[str, str]]:
    """Those that have the right shape, so many at most: what is verified takes time."""
    listed = form.get("signatures")
    for one in listed[:_MOST_SIGNATURES] if isinstance(listed, list) else ():
        if isinstance(one, dict) and all(isinstance(one.get(name), str) for name in ("key", "signature")):
            yield {"key": one["key"], "signature": one["signature"]}


def _public_bytes(where: str, named: str) -> bytes:
    try:
        raw = base64.b64decode(named.removeprefix(_KIND), validate=True)
    except binascii.Error:
        raw = b""
    if not named.startswith(_KIND) or len(raw) != 32:
        raise InputError(f"{where}: {shortened(named, 60)!r} is no key; one looks like ed25519:BASE64")
    return raw


def _check_library() -> None:
    from importlib.util import find_spec

    if find_spec("cryptography") is None:
        raise InputError(f"signatures need cryptography, of the extra `sign`: {install_hint('sign')}")
