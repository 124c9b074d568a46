"""Calls from one plugin to another: public functions, through a declared dependency, within bounds.

A call within a call may do what all who take part may: its own grants hold for what is its own (storage, tables,
secrets, hosts), and with the host's entities it may do no more than each plugin that called it, and than the member
for whom all of it runs. `docs/decisions/0016-between-plugins.md`.
"""

from __future__ import annotations

from typing import Any

from jackfield.capabilities import CapabilityContext
from jackfield.capabilities.dry_runs import refuse
from jackfield.capabilities.origin import CALL_DEPTH, Origin
from jackfield.clock import Clock, SystemClock
from jackfield.extension_points.errors import (
    CallCycleError,
    CallDeadlineError,
    CallDepthError,
    CallsUnavailableError,
    DependencyMismatchError,
    DependencyNotDeclaredError,
    FunctionNotPublicError,
    PluginInactiveError,
)
from jackfield.extension_points.functions import Functions
from jackfield.invocation import ActiveInstallation, Outcome
from jackfield.lifecycle import ActiveInstallations
from jackfield.resolution.ranges import VersionRange
from jackfield_sdk.manifest import PluginDependency
from jackfield_sdk.wire import Execution

__all__ = ["PluginCalls", "depends_on"]

_MARGIN_MS = 20
"""Left to the caller when the call has used up its time: it is told, and not killed."""
_ANSWERS = {"user-error": "user", "veto": "user", "refused": "platform", "overloaded": "platform"}


class PluginCalls:
    """A `capabilities.PluginCalls`. The gate has it before there is anything that could be called."""

    def __init__(self) -> None:
        self._functions: Functions | None = None
        self._active: ActiveInstallations | None = None
        self._clock: Clock = SystemClock()

    def connect(self, active: ActiveInstallations, functions: Functions, clock: Clock) -> None:
        """From now on there is."""
        self._active, self._functions, self._clock = active, functions, clock

    async def call(
        self, context: CapabilityContext, plugin: str, name: str, arguments: dict[str, Any], timeout_ms: int | None
    ) -> dict[str, Any]:
        """Call a public function on behalf of a call.

        Raises:
            DependencyNotDeclaredError, DependencyMismatchError, PluginInactiveError, FunctionUnknownError,
            FunctionNotPublicError, CallCycleError, CallDepthError, CallDeadlineError, RoleTooLowError,
            ArgumentsInvalidError: It never ran.
        """
        functions = self._functions
        if functions is None:
            raise CallsUnavailableError("this node does not call functions")
        installation = await self._callee(context, plugin)
        function = functions.declared(installation, name)
        if not function.public:
            raise FunctionNotPublicError(f"`{plugin}` does not offer `{name}` to other plugins")
        callers = (*context.chain, context)
        if installation.id in {caller.installation_id for caller in callers}:
            path = " → ".join([*(caller.slug for caller in callers), installation.slug])
            raise CallCycleError(f"plugins would call one another in a circle: {path}")
        if len(callers) > CALL_DEPTH:
            raise CallDepthError(f"more than {CALL_DEPTH} calls from plugin to plugin, one within the other")
        functions.check_role(function, context.caller, is_plugin=True)
        if context.is_dry_run and not function.read_only:
            refuse(context, f"functions.{installation.slug}.{name}")
        outcome, problem = await functions.invoke(
            installation,
            function,
            arguments,
            context.caller,
            timeout_ms=self._time_left_ms(context, timeout_ms),
            locale=context.locale,
            origin=_origin(context, callers),
            execution=Execution("plugin", plugin=context.slug, depth=len(callers)),
            # That it only reads is what it says of itself: what it calls is held to it.
            is_dry_run=context.is_dry_run,
        )
        for caller in callers:
            caller.tally.called_cpu_us += round(outcome.cpu_ms * 1000)
        return {"value": outcome.value} if problem is None else {"error": _told(outcome, problem)}

    async def offers(self, context: CapabilityContext, plugin: str) -> list[str]:
        """Names of the public functions of a plugin; none while it cannot be called.

        Raises:
            DependencyNotDeclaredError: The release does not depend on it.
        """
        try:
            installation = await self._callee(context, plugin)
        except (PluginInactiveError, DependencyMismatchError):
            return []
        return sorted(function.name for function in installation.manifest.functions if function.public)

    async def _callee(self, context: CapabilityContext, plugin: str) -> ActiveInstallation:
        dependency = depends_on(context.manifest.requires, plugin.partition("@")[0])
        if dependency is None:
            raise DependencyNotDeclaredError(f"the release does not say that it needs `{plugin}`")
        if self._active is None:
            raise CallsUnavailableError("this node does not call functions")
        plugins = self._active.peek(context.tenant_id) or await self._active.get(context.tenant_id)
        installation = plugins.by_slug.get(plugin)
        if installation is None:
            raise PluginInactiveError(f"`{plugin}` is not active")
        if not VersionRange(dependency.versions).spans(installation.version):
            raise DependencyMismatchError(
                f"`{plugin}` is at work as {installation.version}, which is not in {dependency.versions}"
            )
        return installation

    def _time_left_ms(self, context: CapabilityContext, timeout_ms: int | None) -> int:
        left_ms = int((context.deadline - self._clock.now().timestamp()) * 1000) - _MARGIN_MS
        if left_ms <= 0:
            raise CallDeadlineError("there is no time left for it")
        return left_ms if timeout_ms is None else min(left_ms, timeout_ms)


def depends_on(requires: list[PluginDependency], slug: str) -> PluginDependency | None:
    """What a release says of its dependency on a plugin."""
    return next((dependency for dependency in requires if dependency.slug == slug), None)


def _origin(context: CapabilityContext, callers: tuple[CapabilityContext, ...]) -> Origin:
    before = context.origin or Origin()
    shared = before.shared or {"correlation_id": context.invocation_id}
    return Origin(callers, before.event_depth, before.trail, shared)


def _told(outcome: Outcome, problem: tuple[str, str, str]) -> dict[str, Any]:
    code, message, hint = problem
    failure = outcome.failure
    return {
        "code": code, "message": message, "hint": hint, "kind": _ANSWERS.get(outcome.status, "plugin"),
        "retry_after_s": None if failure is None else failure.retry_after_s,
    }  # fmt: skip
