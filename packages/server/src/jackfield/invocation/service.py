"""`Invoker`: limits, grants, isolate, record; written once for every kind of trigger."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import msgspec
import structlog

from jackfield.capabilities import CapabilityContext, Gate, LeakBook, Tally
from jackfield.capabilities.errors import DeliveryConflictError, UpdateUnderwayError
from jackfield.capabilities.log import tidy_lines
from jackfield.capabilities.plain import NotPlainError, decode_plain
from jackfield.capabilities.tally import Sent
from jackfield.capabilities.work import Work
from jackfield.clock import Clock
from jackfield.errors import JackfieldError, UnavailableError
from jackfield.ids import new_id
from jackfield.invocation.interfaces import Admission, LimitSource
from jackfield.invocation.models import ActiveInstallation, Invocation, Kind, Outcome, Status
from jackfield.invocation.redaction import Redaction, SecretBook
from jackfield.isolation import CallLimits, CallRequest, CallResult, Executor, HostCalls, IsolateSpec
from jackfield.jobs import DeliveryTakenError
from jackfield.quotas import LimitBook
from jackfield.records import DRY_RUN, FAILURES, InvocationRecord
from jackfield.settings import CeilingSettings, LimitSettings
from jackfield.telemetry import working
from jackfield.tracing import Tracing, incoming, trace_id_of
from jackfield_sdk import wire
from jackfield_sdk.errors import WireError
from jackfield_sdk.metrics import MOST, MOST_NAMES, NAME_CHARS

__all__ = ["Invoker", "RecordSink"]

_log = structlog.get_logger("jackfield.invocation")
_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_STATUS_OF_KIND: dict[str, Status] = {"user": "user-error", "veto": "veto", "retry": "retry"}
_METRIC = re.compile(r"[a-z][a-z0-9_]*\Z")
_TEXT_CHARS = 2000
_TRACE_CHARS = 8000
_SPECS = 10_000
_YEAR_S = 366 * 24 * 3600
_NO_FAULT = (DeliveryConflictError, DeliveryTakenError, UpdateUnderwayError, UnavailableError)
"""Why writes were not committed, when the plugin is not to blame."""
_TOLD_TO_OTHERS = frozenset({"health", "config-check", "lifecycle"})
_SETTLED = frozenset({"config-check", "lifecycle"})
"""Steps of an operation that holds the plugin, or tries out what is not in force: their grants are those given here."""
_HANDED_ON = {
    "data": True, "events": True, "functions": True, "gateways": True, "notify": True,
    "files": False, "storage": False, "tables": False,
}  # fmt: skip
"""Capabilities that a secret should not be handed to → whether it is masked. `http` is not among them: what it sends
goes where the secret belongs, or nowhere."""
_QUIET = Redaction(None)
"""Of a call that left no text to be searched."""


class RecordSink(Protocol):
    """Takes one record of each call; must not wait."""

    def record(self, record: InvocationRecord) -> None:
        """Keep it."""
        ...


class Invoker:
    """The one door to plugin code.

    Args:
        limits: The platform's; a manifest may ask for less. Used when there is no `limit_source`.
        admissions: Asked in order before each call; the first that objects keeps it out.
        tracing: Makes spans of calls and of what they do; none when absent.
        leaks: Told where secrets were seen; nobody when absent.
    """

    def __init__(
        self,
        executor: Executor,
        gate: Gate,
        records: RecordSink,
        limits: LimitSettings,
        clock: Clock,
        *,
        admissions: Sequence[Admission] = (),
        tracing: Tracing | None = None,
        limit_source: LimitSource | None = None,
        leaks: LeakBook | None = None,
    ) -> None:
        self._executor = executor
        self._gate = gate
        self._records = records
        self._limits_of = (limit_source or LimitBook(limits, CeilingSettings())).limits_of
        self._clock = clock
        self._admissions = tuple(admissions)
        self._tracing = tracing
        self._operations: Mapping[str, tuple[str, ...]] = {} if tracing is None else gate.operations
        self._specs: dict[str, tuple[ActiveInstallation, IsolateSpec]] = {}
        self._secrets = SecretBook()
        self._leaks = leaks

    async def run(self, invocation: Invocation) -> Outcome:
        """Run one handler. Every end is an outcome, and leaves one record."""
        tracing = self._tracing
        if tracing is None:
            return await self._run(invocation, incoming.get())
        installation = invocation.installation
        about = {
            "jackfield.tenant": installation.tenant_id, "jackfield.installation": installation.id,
            "jackfield.plugin": installation.slug, "jackfield.version": installation.version,
            "jackfield.kind": invocation.kind, "jackfield.name": invocation.name,
            "jackfield.handler": invocation.handler,
        }  # fmt: skip
        with tracing.span(f"invocation {invocation.kind}", about, traceparent=incoming.get()) as span:
            outcome = await self._run(invocation, tracing.traceparent(span))
            span.set_attribute("jackfield.invocation", outcome.invocation_id)
            span.set_attribute("jackfield.status", outcome.status)
            if outcome.failure is not None:
                span.set_attribute("jackfield.code", outcome.failure.code)
            if outcome.status in FAILURES:
                tracing.failed(span, outcome.status)
            return outcome

    async def _run(self, invocation: Invocation, traceparent: str) -> Outcome:
        admitted: list[Admission] = []
        for admission in self._admissions:
            refusal = admission.admit(invocation)
            if refusal is not None:
                result = CallResult("failed", failure=refusal)
                tally = Tally()
                tally.traceparent = traceparent
                outcome = self._finish(
                    invocation, new_id("inv"), self._clock.now().timestamp(), result, tally, refused=True
                )
                break
            admitted.append(admission)
        else:
            outcome = await self._run_admitted(invocation, admitted, traceparent)
        for admission in admitted:
            admission.settle(invocation, outcome)
        return outcome

    async def _run_admitted(self, invocation: Invocation, admitted: Sequence[Admission], traceparent: str) -> Outcome:
        installation = invocation.installation
        invocation_id = new_id("inv")
        started_at = self._clock.now().timestamp()
        tally = Tally()
        tally.traceparent = traceparent
        try:
            request = self._request(invocation, invocation_id, started_at, tally)
            spec = self._spec(installation)
        except (WireError, TypeError, ValueError, OverflowError, RecursionError) as error:
            result = CallResult("failed", failure=wire.Failure("payload-not-data", str(error)[:_TEXT_CHARS]))
            return self._finish(invocation, invocation_id, started_at, result, tally, refused=True)
        work = None if invocation.settling is None else self._gate.work(invocation.settling)
        scope = CapabilityContext(
            installation.tenant_id,
            installation.id,
            installation.slug,
            installation.manifest,
            installation.grants,
            invocation.caller,
            invocation_id,
            invocation.delivery,
            installation.config,
            tally,
            installation.grant_filters,
            is_settled=invocation.kind in _SETTLED,
            chain=() if invocation.origin is None else invocation.origin.chain,
            origin=invocation.origin,
            staging=installation.staging,
            deadline=started_at + request.limits.wall_ms / 1000,
            locale=invocation.locale,
            handler=f"{invocation.kind} {invocation.name}",
            is_dry_run=invocation.is_dry_run,
            work=work,
        )

        async def answer(call: wire.HostCall) -> wire.HostReply:
            return await self._answer(scope, call)

        try:
            if self._tracing is None:
                result = await self._executor.run(spec, request, answer)
            else:
                result = await self._run_traced(self._tracing, spec, request, answer)
            if work is not None:
                result = await self._settled(scope, work, result)
        except asyncio.CancelledError:
            # Whoever asked has gone. That it ran, and for whom, is to be known all the same.
            took_us = int((self._clock.now().timestamp() - started_at) * 1e6)
            failure = wire.Failure("caller-gone", "whoever asked did not wait for the end")
            result = CallResult("timeout", failure=failure, duration_us=took_us)
            outcome = self._finish(invocation, invocation_id, started_at, result, tally)
            for admission in admitted:
                admission.settle(invocation, outcome)
            raise
        return self._finish(invocation, invocation_id, started_at, result, tally)

    async def _settled(self, scope: CapabilityContext, work: Work, result: CallResult) -> CallResult:
        """How the handler of a delivery ended, with what it wrote committed or not."""
        if result.status == "ok" and work.has_writes and not work.has_conflict:
            try:
                await self._gate.settle(scope, work, result.duration_us / 1000)
            except JackfieldError as error:
                return _unsettled(result, error, "retry" if isinstance(error, _NO_FAULT) else "error")
        elif work.has_conflict:
            return _unsettled(result, DeliveryConflictError(), "retry")
        return result

    async def _answer(self, scope: CapabilityContext, call: wire.HostCall) -> wire.HostReply:
        arguments = bytes(call.arguments)
        if (scope.tally.revealed or self._secrets.knows(scope.installation_id)) and call.capability in _HANDED_ON:
            arguments = self._searched(scope, call.capability, arguments)
        before = working.set(scope)
        try:
            value = await self._gate.call(scope, call.capability, call.operation, arguments)
        except JackfieldError as error:
            return wire.HostReply(call.id, failure=wire.Failure(error.code, str(error), error.hint))
        except Exception:
            # A defect of ours must not take the plugin's isolate, or the caller, with it.
            _log.exception("capability failed", capability=call.capability, operation=call.operation)
            return wire.HostReply(call.id, failure=wire.Failure("internal-error", "the platform failed to do this"))
        finally:
            working.reset(before)
        return wire.HostReply(call.id, msgspec.Raw(value))

    def _searched(self, scope: CapabilityContext, capability: str, arguments: bytes) -> bytes:
        """What is handed to a capability, without secrets where others get to see it. What the plugin keeps for itself
        stays as it is, and is reported."""
        self._secrets.learn(scope.installation_id, scope.tally.revealed)
        redaction = self._secrets.redaction(scope.installation_id)
        if not redaction.sees(arguments):
            return arguments
        is_masked = _HANDED_ON[capability]
        if is_masked:
            try:
                arguments = wire.encode(redaction.known(decode_plain(arguments, max_depth=64, allow_nul=True)))
            except NotPlainError:
                # Nothing that could be handed on: the gate says so.
                return arguments
        if self._leaks is not None:
            self._leaks.note(
                scope.tenant_id, scope.installation_id, scope.slug, capability, scope.handler, scope.invocation_id,
                redaction.leaks or 1, is_masked=is_masked,
            )  # fmt: skip
        return arguments

    async def _run_traced(
        self, tracing: Tracing, spec: IsolateSpec, request: CallRequest, answer: HostCalls
    ) -> CallResult:
        """The isolate as a span, and each capability call as one below it."""
        known = self._operations

        async def traced(call: wire.HostCall) -> wire.HostReply:
            # What is not one of ours is a text of the plugin's, and no name for a span.
            is_known = call.operation in known.get(call.capability, ())
            name = f"{call.capability}.{call.operation}" if is_known else "unknown"
            with tracing.span(f"capability {name}", {"jackfield.capability": name}) as span:
                reply = await answer(call)
                if reply.failure is not None:
                    span.set_attribute("jackfield.code", reply.failure.code)
                    tracing.failed(span, reply.failure.code)
                return reply

        with tracing.span("isolate", {}) as span:
            result = await self._executor.run(spec, request, traced)
            span.set_attributes(
                {
                    "jackfield.cold": result.is_cold, "jackfield.cpu_us": result.cpu_us,
                    "jackfield.host_calls": result.host_calls,
                }
            )  # fmt: skip
            if result.status not in ("ok", "failed"):
                tracing.failed(span, result.status)
            return result

    async def retire(self, installation_id: str) -> None:
        """The next call starts with a new isolate; busy ones end after their call."""
        self._specs.pop(installation_id, None)
        self._gate.forget(installation_id)
        await self._executor.retire(installation_id)

    def _request(self, invocation: Invocation, invocation_id: str, started_at: float, tally: Tally) -> CallRequest:
        limits = self._limits_of(invocation.installation)
        wire.check_depth(invocation.payload, limits.payload_depth)
        payload = wire.encode(invocation.payload)
        tally.payload_bytes = len(payload)
        wall_ms = min(invocation.timeout_ms, limits.wall_ms)
        context = wire.CallContext(
            invocation.installation.tenant_id,
            invocation_id,
            invocation.kind,
            invocation.caller,
            invocation.delivery,
            wall_ms,
            invocation.locale,
            started_at,
            tally.traceparent,
            invocation.execution,
            None if invocation.origin is None else invocation.origin.shared,
        )
        return CallRequest(
            invocation.kind,
            invocation.handler,
            msgspec.Raw(payload),
            context,
            CallLimits(
                wall_ms,
                limits.cpu_ms,
                limits.host_calls,
                limits.result_bytes,
                limits.host_call_bytes,
                limits.output_bytes,
            ),
            invocation.is_plain,
        )

    def _spec(self, installation: ActiveInstallation) -> IsolateSpec:
        cached = self._specs.get(installation.id)
        if cached is not None and cached[0] is installation:
            return cached[1]
        limits = self._limits_of(installation)
        spec = IsolateSpec(
            key=(installation.id, installation.revision),
            owner=installation.id,
            slug=installation.slug,
            entry=installation.manifest.entry,
            image_path=installation.image_path,
            config=msgspec.Raw(wire.encode(dict(installation.config))),
            secret_names=list(installation.secret_names),
            memory_mb=limits.memory_mb,
            concurrency=limits.concurrency,
            tenant_id=installation.tenant_id,
        )
        self._specs[installation.id] = (installation, spec)
        if len(self._specs) > _SPECS:
            # The oldest, not the least used: to know that would cost every call, and a spec is soon made again.
            del self._specs[next(iter(self._specs))]
        return spec

    def _finish(
        self,
        invocation: Invocation,
        invocation_id: str,
        started_at: float,
        result: CallResult,
        tally: Tally,
        *,
        refused: bool = False,
    ) -> Outcome:
        installation, caller = invocation.installation, invocation.caller
        if tally.revealed:
            self._secrets.learn(installation.id, tally.revealed)
        is_quiet = (
            result.status == "ok"
            and not result.log
            and invocation.kind not in _TOLD_TO_OTHERS
            and not self._secrets.knows(installation.id)
        )
        redaction = _QUIET if is_quiet else self._secrets.redaction(installation.id)
        depth = self._limits_of(installation).payload_depth
        status, failure, value = self._judge(result, invocation.kind, redaction, depth)
        if refused:
            status = "refused"
        leaked = redaction.leaks
        metrics = None if result.metrics is None else _counted(result.metrics)
        origin = invocation.origin
        log = tidy_lines(redaction.lines(result.log)) if result.log and "log" in installation.grants else []
        if redaction.leaks:
            place = "result" if status == "ok" else "error"
            self._report(invocation, invocation_id, {place: leaked, "log": redaction.leaks - leaked})
        if tally.requests is not None:
            log += self._secrets.redaction(installation.id).lines(_sent(tally.requests))
        outcome = Outcome(
            invocation_id,
            status,
            value,
            failure,
            result.duration_us / 1000,
            result.cpu_us / 1000,
            result.host_calls,
            metrics,
            () if tally.refused is None else tuple(tally.refused),
        )
        self._records.record(
            InvocationRecord(
                id=invocation_id,
                tenant_id=installation.tenant_id,
                installation_id=installation.id,
                plugin=installation.slug,
                version=installation.version,
                kind=DRY_RUN if invocation.is_dry_run else invocation.kind,
                name=invocation.name,
                handler=invocation.handler,
                caller_id=None if caller is None else caller.id,
                caller_role=None if caller is None else caller.role,
                started_at=started_at,
                duration_us=result.duration_us,
                cpu_us=result.cpu_us,
                host_calls=result.host_calls,
                memory_kb=result.peak_kb,
                status=status,
                error_code=None if failure is None else failure.code,
                error_message=None if failure is None else failure.message,
                error_trace=None if failure is None or not failure.trace else failure.trace,
                delivery_id=None if invocation.delivery is None else invocation.delivery.id,
                log=log,
                payload_bytes=tally.payload_bytes,
                result_bytes=len(result.value),
                queries=tally.queries,
                egress_bytes=tally.egress_bytes,
                capabilities=tally.capabilities,
                secret_leaks=redaction.leaks,
                trace_id=trace_id_of(tally.traceparent),
                is_cold=result.is_cold,
                parent_id=origin.chain[-1].invocation_id if origin is not None and origin.chain else None,
                chain=None if origin is None else [each.slug for each in origin.chain] or None,
                called_cpu_us=tally.called_cpu_us,
                metrics=metrics,
                permissions=tally.permissions,
            )
        )
        return outcome

    def _report(self, invocation: Invocation, invocation_id: str, places: Mapping[str, int]) -> None:
        """Have it told to the tenant's admins that secrets were seen, and where."""
        if self._leaks is None:
            return
        installation = invocation.installation
        for place, count in places.items():
            if count:
                self._leaks.note(
                    installation.tenant_id, installation.id, installation.slug, place,
                    f"{invocation.kind} {invocation.name}", invocation_id, count,
                )  # fmt: skip

    def _judge(
        self, result: CallResult, kind: Kind, redaction: Redaction, depth: int
    ) -> tuple[Status, wire.Failure | None, object]:
        if result.status == "ok":
            try:
                value = _response(result.value) if kind == "route" else _plain(bytes(result.value), depth)
            except (NotPlainError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                text = f"the result is not plain data: {error}"
                return "error", wire.Failure("result-not-data", text[:_TEXT_CHARS], "Return what JSON can carry."), None
            if kind in _TOLD_TO_OTHERS:
                # What others than the plugin's own callers read of it is a message, whatever it is called.
                value = redaction.data(value)
            elif redaction.sees(bytes(result.value)):
                value = redaction.known(value)
            return "ok", None, value
        failure = _clean(result.failure or wire.Failure("plugin-error", "the plugin failed"), redaction)
        if result.status == "failed":
            return _STATUS_OF_KIND.get(failure.kind, "error"), failure, None
        if result.status == "unsealed":
            return "refused", failure, None
        return result.status, failure, None


def _unsettled(result: CallResult, error: JackfieldError, kind: str) -> CallResult:
    failure = wire.Failure(error.code, str(error)[:_TEXT_CHARS], error.hint, kind=kind)
    return replace(result, status="failed", value=wire.NIL, failure=failure)


def _counted(metrics: Mapping[str, int]) -> dict[str, int] | None:
    """What a handler says that it counted, as far as its SDK lets it say so: a plugin can speak past that."""
    counts: dict[str, int] = {}
    for name, count in metrics.items():
        if len(counts) == MOST_NAMES:
            break
        if len(name) <= NAME_CHARS and _METRIC.match(name) and 0 <= count <= MOST:
            counts[name] = count
    return counts or None


def _plain(data: bytes, depth: int) -> object:
    # Looked at before it is decoded: what a plugin sends can be made to hold the node for minutes.
    return decode_plain(data, max_depth=depth, allow_nul=True)


class _Response(msgspec.Struct, frozen=True):
    """What a route answers, as the isolate's own code writes it: the body alone may be bytes."""

    body: msgspec.Raw
    status: int
    content_type: str
    headers: dict[str, str]


_response_decoder = msgspec.msgpack.Decoder(_Response)
_BINARY = frozenset({0xC4, 0xC5, 0xC6})


def _response(raw: msgspec.Raw) -> dict[str, object]:
    """A route's answer.

    Raises:
        NotPlainError, DecodeError: It is something else.
    """
    answer = _response_decoder.decode(raw)
    body = bytes(answer.body)
    value = msgspec.msgpack.decode(body, type=bytes) if body[0] in _BINARY else decode_plain(body, allow_nul=True)
    return {"body": value, "status": answer.status, "content_type": answer.content_type, "headers": answer.headers}


def _sent(requests: Iterable[Sent]) -> list[tuple[str, str, dict[str, Any]]]:
    """Lines for requests that left the platform: where to and how it went, nothing of what was in them."""
    return [
        (
            "warning" if one.code else "info",
            f"{one.method} {one.host or '(no URL)'}: {one.code or one.status}",
            {"host": one.host, "status": one.status, "bytes": one.size, "duration_ms": one.duration_ms},
        )
        for one in requests
    ]


def _clean(failure: wire.Failure, redaction: Redaction) -> wire.Failure:
    """A plugin writes its own failures; what others read of them is bounded, printable, and without its secrets."""
    code = redaction.text(failure.code[:65])
    if len(code) > 64 or not _CODE.match(code):
        code = "plugin-error"
    after_s = failure.retry_after_s
    return msgspec.structs.replace(
        failure,
        code=code,
        message=_printable(redaction.text(failure.message[:_TEXT_CHARS])),
        hint=_printable(redaction.text(failure.hint[:_TEXT_CHARS])),
        trace=_printable(redaction.text(failure.trace[:_TRACE_CHARS]), _TRACE_CHARS),
        # Nobody's calendar has room for NaN, or for ten thousand years.
        retry_after_s=after_s if after_s is not None and 0 <= after_s <= _YEAR_S else None,
    )


def _printable(text: str, limit: int = _TEXT_CHARS) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text[:limit])
