"""Filters: the host's value passes through the handlers of its hook point, in order; each may change it or veto."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from jackfield.conditions import holds, variables
from jackfield.extension_points.errors import FilterAbortedError, FilterUnknownError, PayloadInvalidError, VetoedError
from jackfield.extension_points.validation import SchemaCache
from jackfield.invocation import Invocation, Invoker
from jackfield.lifecycle import ActiveInstallations
from jackfield.surface import FilterHook, Surface
from jackfield_sdk.schema import json_schema_of
from jackfield_sdk.wire import Caller

__all__ = ["FilterRun", "FilterStep", "Filters"]


@dataclass(frozen=True, slots=True)
class FilterStep:
    """What one handler did.

    Attributes:
        status: Status of the outcome, or `skipped` when its condition did not hold, or `ignored` when what it returned
            does not fit the hook point.
    """

    plugin: str
    handler: str
    priority: int
    status: str
    duration_ms: float = 0.0
    changed: bool = False
    message: str = ""


@dataclass(slots=True)
class FilterRun:
    """The value after all handlers, and how it came about."""

    payload: Any
    steps: list[FilterStep] = field(default_factory=list[FilterStep])


class Filters:
    """Runs filter hooks."""

    def __init__(self, surface: Surface, active: ActiveInstallations, invoker: Invoker) -> None:
        self._hooks = surface.filter_index
        self._active = active
        self._invoker = invoker
        self._schemas = SchemaCache()
        self._host_schemas: dict[str, dict[str, Any]] = {}

    async def apply(
        self, tenant_id: str, name: str, payload: Any, caller: Caller | None = None, locale: str = "en"
    ) -> Any:
        """The payload after all handlers, of the type it came in.

        Raises:
            FilterUnknownError: No such hook point.
            VetoedError: A handler objects.
            FilterAbortedError: A handler with `on_error="abort"` failed.
            PayloadInvalidError: The payload does not fit the hook point.
        """
        # The usual case, nobody listens, is two look-ups; it is measured against pluggy's.
        hook = self._hooks.get(name)
        if hook is None:
            raise FilterUnknownError(f"there is no filter hook `{name}`")
        plugins = self._active.peek(tenant_id)
        if plugins is None:
            plugins = await self._active.get(tenant_id)
        if name not in plugins.filters:
            return payload
        run = await self._run(tenant_id, hook, payload, caller, locale, stops=True)
        kind = cast("type[Any]", type(payload))
        return run.payload if issubclass(kind, dict) else msgspec.convert(run.payload, kind)

    async def dry_run(
        self, tenant_id: str, name: str, payload: Any, caller: Caller | None = None, locale: str = "en"
    ) -> FilterRun:
        """What each handler would do, without stopping at a veto or failure."""
        hook = self._hooks.get(name)
        if hook is None:
            raise FilterUnknownError(f"there is no filter hook `{name}`")
        return await self._run(tenant_id, hook, payload, caller, locale, stops=False)

    async def run(
        self, tenant_id: str, name: str, payload: Any, caller: Caller | None = None, locale: str = "en"
    ) -> FilterRun:
        """As `apply`, with the steps."""
        hook = self._hooks.get(name)
        if hook is None:
            raise FilterUnknownError(f"there is no filter hook `{name}`")
        return await self._run(tenant_id, hook, payload, caller, locale, stops=True)

    async def _run(
        self, tenant_id: str, hook: FilterHook, payload: Any, caller: Caller | None, locale: str, *, stops: bool
    ) -> FilterRun:
        current = msgspec.to_builtins(payload, str_keys=True)
        if problems := self._problems(hook, current):
            raise PayloadInvalidError(f"the payload does not fit `{hook.name}`: {problems[0]}", errors=problems)
        run = FilterRun(current)
        plugins = await self._active.get(tenant_id)
        for installation, part in plugins.filters.get(hook.name, ()):
            if not holds(part.when, variables(hook.name, run.payload)):
                run.steps.append(FilterStep(installation.slug, part.handler, part.priority, "skipped"))
                continue
            outcome = await self._invoker.run(
                Invocation(
                    installation, "filter", hook.name, part.handler, run.payload, part.timeout_ms, caller, locale=locale
                )
            )
            message = "" if outcome.failure is None else outcome.failure.message
            status, changed = outcome.status, False
            if status == "ok":
                problems = self._problems(hook, outcome.value) or _misfit(outcome.value, payload)
                if problems:
                    status, message = "ignored", f"what it returned does not fit: {problems[0]}"
                else:
                    changed = outcome.value != run.payload
                    run.payload = outcome.value
            run.steps.append(
                FilterStep(
                    installation.slug, part.handler, part.priority, status, outcome.duration_ms, changed, message
                )
            )
            if not stops or status == "ok":
                continue
            if status in ("veto", "user-error"):
                hint = "" if outcome.failure is None else outcome.failure.hint
                raise VetoedError(message, plugin=installation.slug, hint=hint)
            if part.on_error == "abort":
                later = None if outcome.failure is None else outcome.failure.retry_after_s
                raise FilterAbortedError(
                    f"{installation.slug} failed: {message}", plugin=installation.slug, retry_after_s=later
                )
        return run

    def _problems(self, hook: FilterHook, value: Any) -> list[str]:
        if hook.payload is None:
            return []
        schema = self._host_schemas.get(hook.name)
        if schema is None:
            schema = self._host_schemas[hook.name] = json_schema_of(hook.payload, path=hook.name)
        return self._schemas.problems("host", hook.name, schema, value)


def _misfit(value: Any, payload: Any) -> list[str]:
    """Why a value cannot become what the host handed in: it gets that type back, whatever a plugin makes of it."""
    if isinstance(payload, dict):
        return [] if isinstance(value, dict) else ["it is not an object"]
    try:
        msgspec.convert(value, cast("type[Any]", type(payload)))
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        return [str(error)]
    return []
