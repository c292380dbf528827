"""The benchmark of the proxy's speed, in small: its upstream and its table."""

import asyncio

import orjson
import pytest

from benchmarks.proxy_speed import IDEAL, Measured, table
from benchmarks.proxy_ways import CHUNKS, Cores, Upstream, Way


@pytest.mark.parametrize("further", [{}, {"logit_bias": {"7": 1.5}}])
async def test_the_upstream_streams_whatever_a_prior_puts_after_the_wish(further: dict[str, object]) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for body in (orjson.dumps({"stream": True, **further}), orjson.dumps(further)):
            writer.write(b"POST /v1 HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        streamed = await reader.readuntil(b"0\r\n\r\n")
        writer.close()
    assert streamed.count(b"data: ") == CHUNKS


def test_the_table_sets_each_way_beside_the_bare_stack_and_the_ideal() -> None:
    here = Way("", 1)
    found = {
        "direct": Measured([0.0001], [20_000.0], [0.0], [IDEAL]),
        "bare stack": Measured([0.0003], [5_000.0], [0.0002], [IDEAL]),
        "tfgrpo serve": Measured([0.00028], [4_500.0], [0.0002], [IDEAL / 2], failed=1),
    }
    rows = list(table(found, dict.fromkeys(found, here)))
    assert rows[-1].startswith("| tfgrpo serve | 280 | 180 | 4,500 | 90% | 200 | 533 | 50% |")
    assert rows[-1].endswith("| 1 |")


def test_each_has_a_core_of_its_own_where_there_are_enough() -> None:
    assert "share one" not in str(Cores(0, 1, 2, 3))
    assert "upstream and load share one" in str(Cores(0, 1, 1, 1))
