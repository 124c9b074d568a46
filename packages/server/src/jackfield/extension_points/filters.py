"""Filters: the host's value passes through the handlers of its hook point, in order; each may change it or veto.

Those that only look come afterwards, all at the same time, and are given what the others have made of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import msgspec

from jackfield.conditions import holds, variables
from jackfield.extension_points.errors import FilterAbortedError, FilterUnknownError, PayloadInvalidError, VetoedError
from jackfield.extension_points.json_patch import difference
from jackfield.extension_points.validation import SchemaCache
from jackfield.invocation import ActiveInstallation, Invocation, Invoker, Outcome
from jackfield.lifecycle import ActiveInstallations
from jackfield.surface import FilterHook, Surface
from jackfield_sdk.manifest import Filter
from jackfield_sdk.schema import json_schema_of
from jackfield_sdk.wire import Caller

__all__ = ["FilterEnd", "FilterRun", "FilterStep", "Filters"]

FilterEnd = Literal["changed", "unchanged", "vetoed", "failed", "skipped", "observed"]
_VETOES = frozenset({"veto", "user-error"})


@dataclass(frozen=True, slots=True)
class FilterStep:
    """What one handler did.

    Attributes:
        status: Status of the outcome, or `skipped` when its condition did not hold, or `ignored` when what it returned
            does not fit the hook point.
        end: The same in words for an admin. What was `ignored` has failed.
        code: Why it failed or vetoed.
        patch: What it changed, as a JSON Patch; only told of dry runs.
        refused: What a dry run kept it from doing, as `storage.set`.
    """

    plugin: str
    handler: str
    priority: int
    status: str
    duration_ms: float = 0.0
    changed: bool = False
    message: str = ""
    end: FilterEnd = "skipped"
    code: str = ""
    patch: tuple[dict[str, Any], ...] = ()
    refused: tuple[str, ...] = ()
    invocation_id: str = ""


@dataclass(slots=True)
class FilterRun:
    """The value after all handlers, and how it came about."""

    payload: Any
    steps: list[FilterStep] = field(default_factory=list[FilterStep])
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Call:
    """One pass of a value.

    Attributes:
        given: What the host handed in, in its own type.
        is_dry_run: Nothing is to be left behind, and nothing stops it.
    """

    hook: FilterHook
    given: Any
    caller: Caller | None
    locale: str
    is_dry_run: bool


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
        run = await self._run(tenant_id, _Call(hook, payload, caller, locale, is_dry_run=False))
        kind = cast("type[Any]", type(payload))
        return run.payload if issubclass(kind, dict) else msgspec.convert(run.payload, kind)

    async def dry_run(
        self, tenant_id: str, name: str, payload: Any, caller: Caller | None = None, locale: str = "en"
    ) -> FilterRun:
        """What each handler would do, without stopping at a veto or failure.

        A handler that would change anything else than the value is refused that, so that nothing is left behind.

        Raises:
            FilterUnknownError: No such hook point.
            PayloadInvalidError: The payload does not fit the hook point.
        """
        hook = self._hooks.get(name)
        if hook is None:
            raise FilterUnknownError(f"there is no filter hook `{name}`")
        return await self._run(tenant_id, _Call(hook, payload, caller, locale, is_dry_run=True))

    async def run(
        self, tenant_id: str, name: str, payload: Any, caller: Caller | None = None, locale: str = "en"
    ) -> FilterRun:
        """As `apply`, with the steps."""
        hook = self._hooks.get(name)
        if hook is None:
            raise FilterUnknownError(f"there is no filter hook `{name}`")
        return await self._run(tenant_id, _Call(hook, payload, caller, locale, is_dry_run=False))

    async def _run(self, tenant_id: str, call: _Call) -> FilterRun:
        hook = call.hook
        current = msgspec.to_builtins(call.given, str_keys=True)
        if problems := self._problems(hook, current):
            raise PayloadInvalidError(f"the payload does not fit `{hook.name}`: {problems[0]}", errors=problems)
        run = FilterRun(current, is_dry_run=call.is_dry_run)
        plugins = await self._active.get(tenant_id)
        observers: list[tuple[ActiveInstallation, Filter]] = []
        for installation, part in plugins.filters.get(hook.name, ()):
            if not holds(part.when, variables(hook.name, run.payload)):
                run.steps.append(FilterStep(installation.slug, part.handler, part.priority, "skipped"))
            elif part.observe:
                # These come last, so that nobody changes the value any more.
                observers.append((installation, part))
            else:
                await self._pass(run, call, installation, part)
        if observers:
            run.steps += await self._show(run, call, observers)
        return run

    async def _pass(self, run: FilterRun, call: _Call, installation: ActiveInstallation, part: Filter) -> None:
        """Let one handler change the value.

        Raises:
            VetoedError, FilterAbortedError: The host is not to go on.
        """
        outcome = await self._invoke(run, call, installation, part)
        before, end, misfit = run.payload, _end_of(outcome), ""
        if outcome.status == "ok":
            problems = self._problems(call.hook, outcome.value) or _misfit(outcome.value, call.given)
            if problems:
                end, misfit = "failed", f"what it returned does not fit: {problems[0]}"
            elif outcome.value != before:
                end, run.payload = "changed", outcome.value
        step = _step(installation, part, outcome, end, misfit)
        if call.is_dry_run:
            run.steps.append(replace(step, patch=tuple(difference(before, run.payload))))
            return
        run.steps.append(step)
        if outcome.status == "ok":
            return
        if outcome.status in _VETOES:
            hint = "" if outcome.failure is None else outcome.failure.hint
            raise VetoedError(step.message, plugin=installation.slug, hint=hint)
        if part.on_error == "abort":
            later = None if outcome.failure is None else outcome.failure.retry_after_s
            raise FilterAbortedError(
                f"{installation.slug} failed: {step.message}", plugin=installation.slug, retry_after_s=later
            )

    async def _show(
        self, run: FilterRun, call: _Call, observers: list[tuple[ActiveInstallation, Filter]]
    ) -> list[FilterStep]:
        """Show the value to those that only look, all at once: the host waits for the slowest, within its budget."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._invoke(run, call, *observer)) for observer in observers]
        steps: list[FilterStep] = []
        for (installation, part), task in zip(observers, tasks, strict=True):
            outcome = task.result()
            end: FilterEnd = "observed" if outcome.status == "ok" else "failed"
            steps.append(_step(installation, part, outcome, end))
        return steps

    async def _invoke(self, run: FilterRun, call: _Call, installation: ActiveInstallation, part: Filter) -> Outcome:
        return await self._invoker.run(
            Invocation(
                installation,
                "filter",
                call.hook.name,
                part.handler,
                run.payload,
                part.timeout_ms,
                call.caller,
                locale=call.locale,
                is_dry_run=call.is_dry_run,
            )
        )

    def _problems(self, hook: FilterHook, value: Any) -> list[str]:
        if hook.payload is None:
            return []
        schema = self._host_schemas.get(hook.name)
        if schema is None:
            schema = self._host_schemas[hook.name] = json_schema_of(hook.payload, path=hook.name)
        return self._schemas.problems("host", hook.name, schema, value)


def _end_of(outcome: Outcome) -> FilterEnd:
    if outcome.status == "ok":
        return "unchanged"
    return "vetoed" if outcome.status in _VETOES else "failed"


def _step(
    installation: ActiveInstallation, part: Filter, outcome: Outcome, end: FilterEnd, misfit: str = ""
) -> FilterStep:
    failure = outcome.failure
    return FilterStep(
        installation.slug,
        part.handler,
        part.priority,
        "ignored" if misfit else outcome.status,
        outcome.duration_ms,
        end == "changed",
        misfit or ("" if failure is None else failure.message),
        end,
        "" if failure is None else failure.code,
        refused=outcome.refused,
        invocation_id=outcome.invocation_id,
    )


def _misfit(value: Any, payload: Any) -> list[str]:
    """Why a value cannot become what the host handed in: it gets that type back, whatever a plugin makes of it."""
    if isinstance(payload, dict):
        return [] if isinstance(value, dict) else ["it is not an object"]
    try:
        msgspec.convert(value, cast("type[Any]", type(payload)))
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        return [str(error)]
    return []
