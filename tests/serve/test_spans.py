"""Spans of calls, by the conventions for generative AI."""

import json

import pytest

from tests.live import MODEL, PRIOR
from tests.serve.fronts import BODY, CHAT, Recorder, calling, running
from tfgrpo.serve.proxy import Proxy, RelayTarget, Shelf
from tfgrpo.serve.proxy.spans import Tracer, configured_tracer

pytest.importorskip("opentelemetry.sdk")

USAGE = json.dumps({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 10}}).encode()
TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_a_call_is_a_span_of_the_callers_trace_with_the_prior_and_no_text(shelf: Shelf) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.util.genai.handler import TelemetryHandler

    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = Tracer(TelemetryHandler(tracer_provider=provider, instrumentation_scope_name="tfgrpo"))
    async with (
        running(Recorder(body=USAGE)) as address,
        Proxy(RelayTarget.parse(f"{address}/v1"), shelf, tracer=tracer) as proxy,
        calling(proxy) as client,
    ):
        await client.post(CHAT, json=BODY, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
        await client.get("/v1/models")
    async with (
        Proxy(RelayTarget.parse("http://127.0.0.1:9/v1"), shelf, tracer=tracer) as proxy,
        calling(proxy) as client,
    ):
        assert (await client.post(CHAT, json=BODY)).status_code == 502
    well, failed = kept.get_finished_spans()
    told = dict(well.attributes or {})
    assert format(well.get_span_context().trace_id, "032x") == TRACE  # pyrefly: ignore[missing-attribute]  # it has ended
    assert (told["gen_ai.request.model"], told["gen_ai.prompt.version"]) == (MODEL, PRIOR.id)
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (20, 10)
    assert (well.status.is_ok, failed.status.is_ok) == (True, False)
    assert "Which queue" not in str(told)


def test_nobody_asks_for_spans_nobody_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    assert configured_tracer() is None
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert configured_tracer() is not None
