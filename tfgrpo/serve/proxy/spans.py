"""A span of OpenTelemetry for each call, in the attributes that its conventions for generative AI have.

Where it goes is configured as OpenTelemetry has it: by `opentelemetry-instrument tfgrpo serve ...`, or by the variables
OTEL_EXPORTER_OTLP_... . No text of a request or an answer is in it, unless its own variables ask for that.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...errors import InputError
from ...extras import install_hint
from .spending import Meter

if TYPE_CHECKING:
    from opentelemetry.util.genai.handler import TelemetryHandler
    from opentelemetry.util.genai.invocation import InferenceInvocation

_CONFIGURED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")
_OPERATIONS = {"messages": "chat", "chat": "chat", "responses": "chat", "completions": "text_completion"}


class CallSpan:
    """The span of one call."""

    def __init__(self, invocation: "InferenceInvocation") -> None:
        self._invocation = invocation

    def end(self, *, status: int, namespace: str, prior: str, meter: Meter | None) -> None:
        """It is over; `prior` is the id of the prior that went in, or `none`."""
        self._invocation.prompt_name = namespace
        self._invocation.prompt_version = prior
        if meter and meter.usage:
            self._invocation.input_tokens, self._invocation.output_tokens = meter.usage
        if 200 <= status < 400:
            self._invocation.stop()
        else:
            self._invocation.fail(_Failed(str(status or "the caller left")))


class _Failed(Exception):
    """A call that came to no answer that could be used."""


class Tracer:
    """Makes spans."""

    def __init__(self, handler: "TelemetryHandler") -> None:
        self._handler = handler

    def begin(self, surface: str, host: str, model: str, headers: Mapping[str, str]) -> CallSpan:
        """The span of a call that goes to an upstream, within the caller's trace if it names one."""
        from opentelemetry.propagate import extract

        invocation = self._handler.inference(
            host,
            request_model=model or None,
            server_address=host,
            operation_name=_OPERATIONS.get(surface, surface),
            context=extract(headers),
            _attach_to_context=False,
        )
        return CallSpan(invocation)


def configured_tracer() -> Tracer | None:
    """The tracer that the environment asks for; None: nobody does. InputError where a library for it is missing."""
    from importlib.util import find_spec

    if not any(os.environ.get(name) for name in _CONFIGURED) or os.environ.get("OTEL_SDK_DISABLED") == "true":
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.util.genai") is None:
        raise InputError(f"the OTEL_ variables ask for spans, which need the extra `otel`: {install_hint('otel')}")
    from opentelemetry.util.genai.handler import TelemetryHandler

    from ... import __version__

    _provide()
    return Tracer(TelemetryHandler(instrumentation_scope_name="tfgrpo", instrumentation_scope_version=__version__))


def _provide() -> None:
    """Export spans over OTLP, where nothing else was set up by whoever started this process."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider) or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError as error:
        raise InputError(f"spans over OTLP need {error.name}, of the extra `otel`: {install_hint('otel')}") from error
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
