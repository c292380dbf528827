"""Commands about who vouches for a prior: prior sign, prior trust."""

from pathlib import Path

import click

from ..errors import InputError
from .command import TextCommand
from .options.shared import json_option
from .streams import read_text, tell, write_text


@click.command("sign", cls=TextCommand)
@click.argument("file", required=False)
@click.option("--key", "key_file", metavar="FILE", help="The private key to sign with.")
@click.option("--new-key", metavar="FILE", help="Make a private key first, in a new file that only you can read.")
@click.option("-o", "--output", metavar="FILE", help="Write to this file.  [default: the signed file itself]")
@json_option
def sign(*, file: str | None, key_file: str | None, new_key: str | None, output: str | None, as_json: bool) -> None:
    """Sign FILE, an exported prior, so that whoever trusts your key may serve it (ed25519).

    The line that is printed is for `tfgrpo prior trust`, on the machines that are to have it.
    """
    from ..priors.parse import FILE_BYTES
    from ..priors.signing import new_signing_key, read_signing_key, with_signature

    if (key_file is None) == (new_key is None):
        raise InputError("which key? Name one with --key FILE, or have one made with --new-key FILE")
    if file is None and new_key is None:
        raise InputError("which prior? Name a file that `tfgrpo prior export` wrote")
    text = read_text(file, FILE_BYTES) if file else ""
    key = new_signing_key(Path(new_key)) if new_key else read_signing_key(Path(str(key_file)))
    lines = [f"its key: {key.public}"]
    if file:
        signed = with_signature(file, text, key)
        write_text(output or file, signed)
        lines = [f"{output or file} is signed", *lines]
    tell(as_json, {"file": output or file, "key": key.public}, *lines)


@click.command("trust", cls=TextCommand)
@click.argument("key", required=False)
@click.option("--name", default="", help="Whose it is, for people.")
@click.option(
    "--trust",
    "trust_file",
    envvar="TFGRPO_TRUST",
    default="trusted-keys",
    show_default=True,
    metavar="FILE",
    help="The file of trusted keys; else TFGRPO_TRUST.",
)
@json_option
def trust(*, key: str | None, name: str, trust_file: str, as_json: bool) -> None:
    """Trust KEY, as `tfgrpo prior sign` prints it; without KEY, list those that are trusted.

    Where a trust file is named (TFGRPO_TRUST; `serve --trust`), a prior that is pulled, or read from a file, reaches
    calls only if one of its keys has signed it.
    """
    from ..priors.signing import trust_key, trusted_keys

    path = Path(trust_file)
    if key is not None:
        new = trust_key(path, key.strip(), name)
        done = f"{path} trusts it {'now' if new else 'already'}; it is heeded where TFGRPO_TRUST={path} is set"
        return tell(as_json, {"file": str(path), "key": key.strip(), "new": new}, done)
    known = trusted_keys(path)
    tell(as_json, known, *(f"{named} {whose}".strip() for named, whose in known.items()))
