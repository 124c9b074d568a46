"""`events`: what the plugin itself tells others. Committed here, delivered later and at least once."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.declared import Declarations
from jackfield.capabilities.errors import ArgumentsInvalidError, EventPayloadMismatchError
from jackfield.capabilities.operations import Arguments, Capability, answer, operation, plain_value
from jackfield.capabilities.origin import EVENT_DEPTH, Cause, Origin
from jackfield.db import Database
from jackfield.db.joint import drawn
from jackfield.ids import new_id
from jackfield.jobs import outbox

__all__ = ["PAYLOAD_BYTES", "Events", "cause_of"]

PAYLOAD_BYTES = 64 * 1024
"""Each subscriber gets a copy."""


class _Emit(Arguments, frozen=True):
    name: Annotated[str, Meta(max_length=96, pattern=r"^[A-Za-z][A-Za-z0-9_.-]*\Z")]
    payload: msgspec.Raw


class Events:
    """The capability."""

    def __init__(self, database: Database, declarations: Declarations) -> None:
        self._database = database
        self._declarations = declarations
        self.operations: Capability = {
            "emit": operation(_Emit, lambda arguments: f"events:{arguments.name}", self._emit, self._foresee_emit)
        }

    async def _emit(self, context: CapabilityContext, arguments: _Emit) -> bytes:
        payload = self._payload(context, arguments)
        async with self._database.write(context.tenant_id) as session:
            event_id = outbox.add(
                session, context.tenant_id, arguments.name, payload, source=context.slug, cause=cause_of(context)
            )
        return answer(event_id)

    def _foresee_emit(self, context: CapabilityContext, arguments: _Emit) -> bytes:
        self._payload(context, arguments)
        return answer(drawn("event", lambda: new_id("evt")))

    def _payload(self, context: CapabilityContext, arguments: _Emit) -> Any:
        schema = self._declarations.of(context.manifest).event(arguments.name)
        if len(bytes(arguments.payload)) > PAYLOAD_BYTES:
            raise ArgumentsInvalidError(f"`payload` has more than {PAYLOAD_BYTES} bytes")
        payload = plain_value(arguments.payload, "payload")
        if problems := schema.problems(payload):
            raise EventPayloadMismatchError(arguments.name, problems)
        return payload


def cause_of(context: CapabilityContext) -> str:
    """What the event is sent because of: it travels with it, so that a circle of events can be told and cut."""
    origin = context.origin or Origin()
    cause = Cause(
        depth=origin.event_depth + 1,
        trail=(*origin.trail, context.slug)[-EVENT_DEPTH:],
        shared=dict(origin.shared or {"correlation_id": context.invocation_id}),
        traceparent=context.tally.traceparent,
    )
    return msgspec.json.encode(cause).decode()
