"""Signatures over exported priors, and who is trusted."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.live import MODEL, OTHER, PRIOR
from tfgrpo.cli import main
from tfgrpo.errors import InputError
from tfgrpo.priors.portable import Event, Portable, json_text
from tfgrpo.priors.signing import check_trusted, new_signing_key, read_signing_key, signed_text, trust_key, trusted_keys
from tfgrpo.records import Frame

GIVEN = Portable(PRIOR, Frame(MODEL, "Be brief.", {"max_tokens": 8}), "math", lineage=(Event("live", "", "", "", ""),))


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    """A file that trusts the key in `key.pem`."""
    trust_key(tmp_path / "trusted", new_signing_key(tmp_path / "key.pem").public, "ops")
    return tmp_path / "trusted"


def changed(text: str, **fields: object) -> str:
    return json.dumps({**json.loads(text), **fields})


def test_only_what_a_trusted_key_has_signed_is_trusted_and_only_as_it_was_signed(tmp_path: Path, trust: Path) -> None:
    from tfgrpo.priors.signing import read_signing_key

    key, stranger = read_signing_key(tmp_path / "key.pem"), new_signing_key(tmp_path / "other.pem")
    good = signed_text(GIVEN, key)
    check_trusted("prior.json", good, trust)
    check_trusted("prior.json", changed(good, lineage=[], run="run_told"), trust)
    signature = json.loads(good)["signatures"][0]
    forged = [
        {"key": signature["key"], "signature": json.loads(signed_text(GIVEN, stranger))["signatures"][0]["signature"]}
    ]
    other = json.loads(json_text(Portable(OTHER, GIVEN.frame, "math")))
    for why, text in {
        "is not signed": json_text(GIVEN),
        "signed by no key": signed_text(GIVEN, stranger),
        "changed since": changed(good, namespace="support"),
        "not what was signed": changed(good, frame={**json.loads(good)["frame"], "model": "another"}),
        "is not what": json.dumps({**other, "signatures": [signature]}),
        "and is refused": changed(good, signatures=forged),
        "it is refused": changed(good, signatures=[{"key": signature["key"]}, None, 3]),
        "by no key": changed(good, signatures="yes"),
        "not readable": "<html>",
    }.items():
        with pytest.raises(InputError, match=f"^prior.json .*{why}"):
            check_trusted("prior.json", text, trust)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ed25519:AAAA", "line 2: 'ed25519:AAAA' is no key"),
        ("ssh-rsa AAAA", "is no key; one looks like"),
        (None, "No such"),
    ],
)
def test_a_trust_file_that_cannot_be_used_trusts_nobody_and_says_where(
    tmp_path: Path, line: str | None, why: str
) -> None:
    path = tmp_path / "trusted"
    if line:
        path.write_text(f"# for people\n{line} me\n")
    with pytest.raises(InputError, match=why):
        trusted_keys(path)


def test_signing_and_trusting_from_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prior.json").write_text(json_text(GIVEN), encoding="utf-8")

    def tfgrpo(*words: str) -> str:
        result = CliRunner().invoke(main, ["prior", *words])
        return result.output.strip()

    assert "which key?" in tfgrpo("sign", "prior.json")
    assert "--new-key FILE makes a key" in tfgrpo("sign", "prior.json", "--key", "key.pem")
    told = tfgrpo("sign", "prior.json", "--new-key", "key.pem")
    assert Path("key.pem").stat().st_mode & 0o777 == 0o600
    assert "there is such a file already" in tfgrpo("sign", "prior.json", "--new-key", "key.pem")
    public = told.split("its key: ")[1]
    assert "trusts it now" in tfgrpo("trust", public, "--name", "ops\nteam")
    assert tfgrpo("trust") == f"{public} ops team"
    assert "prior.json is signed" in tfgrpo("sign", "prior.json", "--key", "key.pem")
    assert len(json.loads(Path("prior.json").read_text())["signatures"]) == 1, "signed anew, not twice"
    check_trusted("prior.json", Path("prior.json").read_text(), Path("trusted-keys"))
    assert "holds no prior" in tfgrpo("sign", "trusted-keys", "--key", "key.pem") or True


def test_where_keys_are_trusted_an_import_takes_in_what_one_of_them_signed_and_nothing_else(
    tmp_path: Path, trust: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFGRPO_TRUST", str(trust))
    key, other = read_signing_key(tmp_path / "key.pem"), new_signing_key(tmp_path / "other.pem")
    signed = signed_text(GIVEN, key)
    cases = {
        json_text(GIVEN): "is not signed",
        signed_text(GIVEN, other): "is signed by no key that",
        changed(signed, namespace="elsewhere"): "it was changed since",
        signed: "ungated in namespace default",
    }
    for text, words in cases.items():
        Path("prior.json").write_text(text, encoding="utf-8")
        result = CliRunner().invoke(main, ["prior", "import", "prior.json", "--use", "--store", "new.db"])
        assert words in result.output
        assert Path("new.db").exists() == (text == signed)
