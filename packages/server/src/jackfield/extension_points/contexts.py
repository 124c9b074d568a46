"""What a caller says a call takes part in: checked, bounded, and made ready to be handed along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jackfield.capabilities.origin import Origin
from jackfield.capabilities.plain import NotPlainError, check_plain
from jackfield.extension_points.errors import ContextInvalidError
from jackfield.ids import new_id
from jackfield_sdk.wire import Execution, Workflow

__all__ = ["CallerContext", "checked_shared", "read_context"]

PREVIOUS_BYTES = 64 * 1024
VARIABLES_BYTES = 16 * 1024
SHARED_BYTES = 4 * 1024
_DEPTH = 16

Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z")]


class _WorkflowGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    run_id: Id
    step: Annotated[int, Meta(ge=0, le=100_000)] = 0
    previous: Any = None
    variables: dict[str, Any] = {}


class _Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `context` of a call."""

    workflow: _WorkflowGiven | None = None
    shared: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class CallerContext:
    """What goes with the call."""

    execution: Execution | None = None
    origin: Origin | None = None


_NONE = CallerContext()


def read_context(given: Mapping[str, Any] | None) -> CallerContext:
    """The context of a call, as it came in a body or from the host.

    Args:
        given: `workflow` (id, run_id, step, previous, variables) and `shared`, both optional.

    Raises:
        ContextInvalidError: It has another form, or is too large.
    """
    if not given:
        return _NONE
    try:
        context = msgspec.convert(dict(given), _Given)
    except msgspec.ValidationError as error:
        raise ContextInvalidError(f"`context`: {error}"[:300]) from error
    shared = checked_shared(context.shared)
    workflow = context.workflow
    if workflow is None:
        return CallerContext(origin=Origin(shared=shared))
    _check(workflow.previous, "workflow.previous", PREVIOUS_BYTES)
    _check(workflow.variables, "workflow.variables", VARIABLES_BYTES)
    step = Workflow(workflow.id, workflow.run_id, workflow.step, workflow.previous, workflow.variables)
    shared |= {"workflow_id": workflow.id, "run_id": workflow.run_id, "variables": workflow.variables}
    return CallerContext(Execution("workflow", workflow=step), Origin(shared=shared))


def checked_shared(shared: Mapping[str, Any]) -> dict[str, Any]:
    """What is handed along, with a `correlation_id`.

    Raises:
        ContextInvalidError: It is too large, or no plain data.
    """
    _check(dict(shared), "shared", SHARED_BYTES)
    correlation_id = shared.get("correlation_id")
    if correlation_id is None:
        return {**shared, "correlation_id": new_id("cor")}
    try:
        msgspec.convert(correlation_id, Id)
    except msgspec.ValidationError as error:
        raise ContextInvalidError("`shared.correlation_id` is a text of at most 128 characters") from error
    return dict(shared)


def _check(value: Any, what: str, limit_bytes: int) -> None:
    try:
        data = msgspec.msgpack.encode(value)
        if len(data) > limit_bytes:
            raise ContextInvalidError(f"`{what}` has {len(data)} bytes, at most {limit_bytes} are handed along")
        check_plain(data, max_depth=_DEPTH, allow_nul=True)
    except (NotPlainError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ContextInvalidError(f"`{what}` is not plain data") from error
