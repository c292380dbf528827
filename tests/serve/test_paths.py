"""Which paths go on, however an upstream may read them."""

from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.serve.proxy.paths import may_go_on, route_name


@each(
    "path",
    [
        b"*", b"", b"v1/models", b"/..", b"/v1/../admin", b"/v1/%2e%2E/admin", b"/v1/a/.%2e", b"/v1/..%2fadmin",
        b"/v1/..%2Fadmin", b"/v1/..;/admin", b"/v1/..;a=b/admin", b"/v1/\\..\\admin", b"/v1/..\\admin",
        b"/v1/%5c..%5cadmin", b"/v1/%252e%252e%252fadmin", b"/v1/%25252e%25252e/admin", b"/v1/%c0%ae%c0%ae/admin",
        b"/v1/.. /admin", b"/v1/..%20/admin", b"/v1/a%00b", b"/v1/a\x7f", b"/v1/%" + b"25" * 9 + b"2e",
    ],
)  # fmt: skip
def test_a_path_that_climbs_in_any_spelling_goes_no_further(path: bytes) -> None:
    assert not may_go_on(path)


@each(
    "path",
    [
        b"/",
        b"/v1/models",
        b"/v1/files/a%2Fb%20c",
        b"/v1/models/a..b",
        b"/v1/a;b=c",
        b"/v1/...",
        b"/v1/%E2%82%AC",
        b"//x",
    ],
)
def test_an_honest_path_goes_on(path: bytes) -> None:
    assert may_go_on(path)


@given(st.text("./%2eEfF5cC;\\ a", max_size=12))
def test_what_goes_on_climbs_for_no_upstream_that_decodes_it_twice(tail: str) -> None:
    from urllib.parse import unquote

    path = f"/v1/{tail}"
    if may_go_on(path.encode()):
        for read in (path, unquote(path), unquote(unquote(path))):
            assert ".." not in [segment.partition(";")[0] for segment in read.replace("\\", "/").split("/")]


@each(
    ("path", "route"),
    [
        ("/v1/chat/completions", "/chat/completions"),
        ("/openai/deployments/mine/chat/completions", "/chat/completions"),
        ("/v1/models/secret-name", "/models"),
        ("/v1/messages", "/messages"),
        ("/somewhere/else", "other"),
        ("/v1/modelsx", "other"),
    ],
)
def test_figures_name_routes_and_never_ids(path: str, route: str) -> None:
    assert route_name(path) == route
