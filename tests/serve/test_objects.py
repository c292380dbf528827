"""A prior in an object store: a server with the interface of S3, in this process.

Skipped without the libraries, which are heavy for what they test here: `pip install s3fs 'moto[s3,server]'`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import MODEL, OTHER, PRIOR
from tests.serve.test_pulled import NAMESPACE, altered, exported, now
from tfgrpo.priors.portable import Portable
from tfgrpo.priors.signing import SigningKey, new_signing_key, signed_text, trust_key
from tfgrpo.records import Frame, Prior
from tfgrpo.serve.source import prior_source

s3fs = pytest.importorskip("s3fs", reason="s3:// is read by s3fs")
boto3 = pytest.importorskip("boto3", reason="the bucket is filled by boto3")
moto = pytest.importorskip("moto.server", reason="moto's server stands for an object store")
PLACE = "s3://priors/live.json"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket `priors` on a server of its own, which the environment names."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    given = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "hidden",
        "AWS_DEFAULT_REGION": "us-east-1", "XDG_CACHE_HOME": str(tmp_path), "AWS_MAX_ATTEMPTS": "1",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="priors")
    client.stop = server.stop
    yield client
    server.stop()


def put(bucket: Any, text: str) -> None:
    bucket.put_object(Bucket="priors", Key="live.json", Body=text.encode())


def signed(prior: Prior, key: SigningKey) -> str:
    return signed_text(Portable(prior, Frame(MODEL), NAMESPACE), key)


def test_a_prior_is_followed_in_a_bucket_and_outlives_it(bucket: Any) -> None:
    source = prior_source(PLACE, NAMESPACE)
    assert (now(source), source.reason) == (None, "store")
    put(bucket, exported(PRIOR))
    assert now(source) == PRIOR
    first = source.snapshot
    now(source)
    assert source.snapshot is first, "the same ETag: nothing is read again"
    put(bucket, exported(OTHER))
    assert now(source) == OTHER
    for text in ("garbage", altered(exported(PRIOR))):
        put(bucket, text)
        assert now(source) == OTHER
    bucket.stop()
    assert now(source) == OTHER
    assert now(prior_source(PLACE, NAMESPACE)) == OTHER, "from the copy on disk"


def test_only_a_trusted_prior_comes_from_a_bucket(bucket: Any, tmp_path: Path) -> None:
    key, trusted = new_signing_key(tmp_path / "ours.pem"), tmp_path / "trusted"
    trust_key(trusted, key.public, "ops")
    source = prior_source(PLACE, NAMESPACE, trusted)
    put(bucket, exported(PRIOR))
    assert now(source) is None
    put(bucket, signed(PRIOR, key))
    assert now(source) == PRIOR
    put(bucket, altered(signed(OTHER, key)))
    assert now(source) == PRIOR
