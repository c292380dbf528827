"""A prior in an object store: s3fs, and a server that answers what it asks for in the interface of S3."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import MODEL, OTHER, PRIOR
from tests.serve.test_pulled import NAMESPACE, altered, exported, now
from tfgrpo.priors.portable import Portable
from tfgrpo.priors.signing import SigningKey, new_signing_key, signed_text, trust_key
from tfgrpo.records import Frame, Prior
from tfgrpo.serve.source import prior_source
from tfgrpo.testing import _Receive, _Scope, _Send, serving

PLACE = "s3://priors/live.json"
NO_KEY = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
NO_LIST = (
    b"<ListBucketResult><Name>priors</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
)


class Bucket:
    """The bucket `priors`: HEAD and GET of its object `live.json`, with an ETag and ranges, for who signs requests."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.away = False
        self.asked: list[str] = []

    def put(self, text: str) -> None:
        self.content = text.encode()

    async def app(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        headers = dict(scope["headers"])
        self.asked.append(scope["method"])
        status, content = self.answer(scope["path"], headers)
        tag = hashlib.md5(self.content or b"").hexdigest()
        given = {"content-length": len(content), "etag": f'"{tag}"', "last-modified": "Thu, 26 Nov 2026 10:00:00 GMT"}
        told = [(name.encode(), str(value).encode()) for name, value in given.items()]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})

    def answer(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
        if self.away:
            return 503, b""
        if not headers.get(b"authorization", b"").startswith(b"AWS4-HMAC-SHA256 Credential=one/"):
            return 403, b"<Error><Code>AccessDenied</Code></Error>"
        if path.rstrip("/") == "/priors":
            return 200, NO_LIST
        if path != "/priors/live.json" or self.content is None:
            return 404, NO_KEY
        if ranged := headers.get(b"range", b"").removeprefix(b"bytes="):
            first, last = map(int, ranged.split(b"-"))
            return 206, self.content[first : last + 1]
        return 200, self.content


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """One on a server of its own, which the environment names."""
    import s3fs  # it takes a third of a second, in each process that collects tests

    made = Bucket()
    with serving(made.app) as url:
        given = {
            "AWS_ENDPOINT_URL": url.removesuffix("/v1"), "AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "hidden",
            "AWS_DEFAULT_REGION": "us-east-1", "XDG_CACHE_HOME": str(tmp_path), "AWS_MAX_ATTEMPTS": "1",
            "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "AWS_CONFIG_FILE": os.devnull,
        }  # fmt: skip
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield made


def signed(prior: Prior, key: SigningKey) -> str:
    return signed_text(Portable(prior, Frame(MODEL), NAMESPACE), key)


def test_a_prior_is_followed_in_a_bucket_and_outlives_it(bucket: Bucket) -> None:
    source = prior_source(PLACE, NAMESPACE)
    assert (now(source), source.reason) == (None, "store")
    bucket.put(exported(PRIOR))
    assert now(source) == PRIOR
    first, asked = source.snapshot, len(bucket.asked)
    now(source)
    assert "GET" not in bucket.asked[asked:]
    assert source.snapshot is first, "the same ETag: nothing is read again"
    bucket.put(exported(OTHER))
    assert now(source) == OTHER
    for text in ("garbage", altered(exported(PRIOR))):
        bucket.put(text)
        assert now(source) == OTHER
    bucket.away = True
    assert now(source) == OTHER
    assert now(prior_source(PLACE, NAMESPACE)) == OTHER, "from the copy on disk"


def test_only_a_trusted_prior_comes_from_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    key, trusted = new_signing_key(tmp_path / "ours.pem"), tmp_path / "trusted"
    trust_key(trusted, key.public, "ops")
    source = prior_source(PLACE, NAMESPACE, trusted)
    bucket.put(exported(PRIOR))
    assert now(source) is None
    bucket.put(signed(PRIOR, key))
    assert now(source) == PRIOR
    bucket.put(altered(signed(OTHER, key)))
    assert now(source) == PRIOR
