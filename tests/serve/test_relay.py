"""Where the proxy sends requests, and with which headers."""

import pytest

from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.serve.proxy import RelayTarget
from tfgrpo.serve.proxy.headers import end_to_end


@each(
    ("base", "path", "address"),
    [
        ("https://api.openai.com/v1", b"/v1/models", "https://api.openai.com/v1/models"),
        ("https://api.openai.com/v1/", b"/v1/models", "https://api.openai.com/v1/models"),
        ("http://host:8091/v1", b"/tokenize", "http://host:8091/tokenize"),
        ("http://host:8091/v1", b"/v1", "http://host:8091/v1"),
        ("http://host:8091", b"/v1/models", "http://host:8091/v1/models"),
        ("http://host:8091/", b"/models", "http://host:8091/models"),
        ("http://host/team/v1", b"/v1/models", "http://host/team/v1/models"),
        ("http://host/team/v1", b"/health", "http://host/team/health"),
        ("http://host/v1beta/openai", b"/v1/models", "http://host/v1beta/openai/models"),
        ("http://host/v1beta/openai/", b"/v1/", "http://host/v1beta/openai/"),
        ("http://host/v1beta/openai", b"/v1", "http://host/v1beta/openai"),
        ("http://host/openai", b"/v1x/models", "http://host/openai/v1x/models"),
        ("http://host/openai", b"/chat/completions", "http://host/openai/chat/completions"),
    ],
)
def test_the_proxys_v1_stands_for_the_base(base: str, path: bytes, address: str) -> None:
    assert RelayTarget.parse(base).url(path, b"") == address
    assert RelayTarget.parse(base).url(path, b"a=%20") == f"{address}?a=%20"


@pytest.mark.parametrize("path", [b"/v1/../admin", b"/..", b"/v1/%2e%2E/admin", b"/v1/a/.%2e"])
def test_a_path_that_climbs_has_no_address(path: bytes) -> None:
    assert RelayTarget.parse("http://host/team/v1").url(path, b"") is None


@each(
    ("url", "said"),
    [
        ("", "must be a URL"),
        ("localhost:8091/v1", "must be a URL"),
        ("ftp://host/v1", "must be a URL"),
        ("http:///v1", "must be a URL"),
        ("http://host:99999/v1", "must be a URL"),
        ("http://[::1/v1", "must be a URL"),
        ("http://me:secret@host/v1", "--upstream-key-env"),
        ("http://host/v1?key=secret", "--upstream-key-env"),
    ],
)
def test_an_upstream_that_cannot_be_is_one_clear_line(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        RelayTarget.parse(url)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_headers_of_one_connection_end_there() -> None:
    given = [
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"te", b"trailers"),
        (b"transfer-encoding", b"chunked"),
        (b"proxy-authorization", b"Basic x"),
        (b"upgrade", b"h2c"),
        (b"x-kept", b"2"),
    ]
    assert end_to_end(given) == [(b"x-kept", b"2")]


@pytest.mark.parametrize(
    ("base", "no_proxy", "proxy"),
    [
        ("http://api.example/v1", "", "http://corp:3128"),
        ("http://api.example/v1", "api.example", None),
        ("http://127.0.0.1:8091/v1", "", None),
        ("https://api.example/v1", "", None),
    ],
)
def test_the_proxies_of_the_environment_count(
    base: str, no_proxy: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://corp:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert RelayTarget.parse(base).forward_proxy() == proxy
