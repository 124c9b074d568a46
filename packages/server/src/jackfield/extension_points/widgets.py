"""Widgets: every active plugin's contribution to a slot, checked; one that fails is named and contained."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from jackfield.conditions import holds, variables
from jackfield.extension_points.errors import SlotUnknownError
from jackfield.extension_points.functions import FunctionError
from jackfield.invocation import ActiveInstallation, Invocation, Invoker
from jackfield.lifecycle import ActiveInstallations
from jackfield.surface import Surface
from jackfield_sdk.errors import PluginError
from jackfield_sdk.manifest import Widget
from jackfield_sdk.ui import check_tree
from jackfield_sdk.wire import Caller

__all__ = ["WidgetResult", "Widgets"]

_AT_ONCE = 8


class WidgetResult(msgspec.Struct, frozen=True):
    """One widget.

    Attributes:
        tree: A `ui/v1` tree; None when there is an error, or nothing to show.
    """

    plugin: str
    title: str
    tree: Any = None
    error: FunctionError | None = None
    duration_ms: float = 0.0


class Widgets:
    """Fills slots."""

    def __init__(self, surface: Surface, active: ActiveInstallations, invoker: Invoker) -> None:
        self._slots = surface.slot_index
        self._active = active
        self._invoker = invoker

    async def fill(
        self, tenant_id: str, slot: str, context: Any, caller: Caller | None = None, locale: str = "en"
    ) -> list[WidgetResult]:
        """All widgets of a slot, in order.

        Raises:
            SlotUnknownError: The surface declares no such slot.
        """
        if slot not in self._slots:
            raise SlotUnknownError(f"there is no slot `{slot}`")
        plain = msgspec.to_builtins(context, str_keys=True)
        plugins = self._active.peek(tenant_id) or await self._active.get(tenant_id)
        scope = variables(slot, plain)
        wanted = [pair for pair in plugins.widgets.get(slot, ()) if holds(pair[1].when, scope)]
        turns = asyncio.Semaphore(_AT_ONCE)
        found = await asyncio.gather(*(self._one(pair, slot, plain, caller, locale, turns) for pair in wanted))
        return [result for result in found if result.tree is not None or result.error is not None]

    async def _one(
        self,
        pair: tuple[ActiveInstallation, Widget],
        slot: str,
        context: Any,
        caller: Caller | None,
        locale: str,
        turns: asyncio.Semaphore,
    ) -> WidgetResult:
        installation, widget = pair
        title = widget.title or installation.manifest.name
        async with turns:
            outcome = await self._invoker.run(
                Invocation(
                    installation, "widget", slot, widget.handler, context, widget.timeout_ms, caller, locale=locale
                )
            )
        error: FunctionError | None = None
        tree: Any = None
        if outcome.failure is not None:
            error = FunctionError(outcome.failure.code, outcome.failure.message, outcome.failure.hint)
        elif outcome.value is not None:
            try:
                tree = check_tree(outcome.value)
            except PluginError as problem:
                error = FunctionError(problem.code, str(problem), problem.hint)
        return WidgetResult(installation.slug, title, tree, error, outcome.duration_ms)
