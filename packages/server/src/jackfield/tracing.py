"""Which trace the work of a task belongs to, and the spans that the platform adds to it.

Trace ids travel without OpenTelemetry too: what a request brings as `traceparent` (W3C Trace Context) goes into the
record of each call, and into the isolate. With OpenTelemetry (`jackfield[otel]`, and `JACKFIELD_TRACING=1`) the
platform writes spans as well: request, invocation, isolate, capability calls, and what leaves the platform. Their
attributes are ids, names, hosts and codes: no payload, and no text that a plugin or a caller has written.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from jackfield.errors import UnavailableError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

__all__ = [
    "Tracing",
    "TracingUnavailableError",
    "here",
    "incoming",
    "is_traceparent",
    "own_trace",
    "span_id_of",
    "trace_id_of",
]

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")

incoming: ContextVar[str] = ContextVar("jackfield_traceparent", default="")
"""What the request of this task said it belongs to; empty when it said nothing."""

Value = str | int | float | bool


class TracingUnavailableError(UnavailableError):
    """The settings ask for spans, and OpenTelemetry is not installed."""

    code = "tracing-unavailable"
    default_hint = "pip install 'jackfield[otel]', or take JACKFIELD_TRACING away."


def is_traceparent(text: str) -> bool:
    """Whether a header is one that we go on from. Of versions to come, nothing is known."""
    return _TRACEPARENT.match(text) is not None


def trace_id_of(traceparent: str) -> str | None:
    """32 hex digits; None when there is no trace."""
    return traceparent[3:35] or None


def span_id_of(traceparent: str) -> str | None:
    """16 hex digits; None when there is no trace."""
    return traceparent[36:52] or None


def here() -> str:
    """The span that is open in this task, the host's own too; what the request said when none is, or none are made."""
    # Whoever makes spans has loaded it; it is not loaded to learn that nobody does.
    trace: Any = sys.modules.get("opentelemetry.trace")
    return (trace is not None and _traceparent(trace.get_current_span())) or incoming.get()


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def own_trace(key: str) -> str:
    """A trace for what nobody has sent, the same for the same key: each attempt at it belongs to it. Nobody keeps spans
    of it."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-00"


class Tracing:
    """Makes spans.

    Args:
        provider: Where they go; the process's own when absent.

    Raises:
        TracingUnavailableError: OpenTelemetry is not installed.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace
        except ImportError as error:
            raise TracingUnavailableError("OpenTelemetry is not installed") from error
        self._trace = trace
        self._tracer = trace.get_tracer("jackfield", tracer_provider=provider)

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Mapping[str, Value],
        *,
        kind: Literal["internal", "server", "client"] = "internal",
        traceparent: str = "",
    ) -> Generator[Span]:
        """What is done inside is one span, below the one that is open.

        Args:
            traceparent: The parent, when none is open here.
        """
        kinds = self._trace.SpanKind
        # An exception's text may hold anything, a secret too: it is not for the spans.
        with self._tracer.start_as_current_span(
            name,
            self._parent(traceparent),
            {"internal": kinds.INTERNAL, "server": kinds.SERVER, "client": kinds.CLIENT}[kind],
            attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    @contextmanager
    def taken_up(
        self, name: str, attributes: Mapping[str, Value], *, traceparent: str, is_anew: bool = False
    ) -> Generator[Span]:
        """Work that was left for later, whatever is open here.

        Args:
            traceparent: Of whoever left it; it is done below that.
            is_anew: It is done once more: in a trace of its own, with a link to that.
        """
        trace = self._trace
        remote = self._remote(traceparent)
        parent = trace.set_span_in_context(trace.INVALID_SPAN if remote is None or is_anew else remote)
        with self._tracer.start_as_current_span(
            name,
            parent,
            trace.SpanKind.CONSUMER,
            attributes,
            [trace.Link(remote.get_span_context())] if remote is not None and is_anew else None,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def failed(self, span: Span, code: str) -> None:
        """Mark a span as one that went wrong."""
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, code))

    def traceparent(self, span: Span) -> str:
        """What a span hands on to those below it, elsewhere."""
        return _traceparent(span)

    def here(self) -> str:
        """What is open here hands on, the host's own spans too; what the request said when nothing is."""
        return here()

    def _parent(self, traceparent: str) -> Context | None:
        trace = self._trace
        if not traceparent or trace.get_current_span().get_span_context().is_valid:
            return None
        remote = self._remote(traceparent)
        return None if remote is None else trace.set_span_in_context(remote)

    def _remote(self, traceparent: str) -> Span | None:
        trace = self._trace
        if not is_traceparent(traceparent):
            return None
        _, trace_id, span_id, flags = traceparent.split("-")
        context = trace.SpanContext(int(trace_id, 16), int(span_id, 16), True, trace.TraceFlags(int(flags, 16)))
        return trace.NonRecordingSpan(context)
