"""`widgets`: a plugin says that one of its widgets shows something else by now, and pages that show it ask again."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import ArgumentsInvalidError
from jackfield.capabilities.operations import Arguments, Capability, answer, operation
from jackfield.db.joint import joint
from jackfield.live import Hub, Mark, mark_on_commit

__all__ = ["WidgetMarks"]

_DONE = answer(None)


class _Refresh(Arguments, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=128)]


class WidgetMarks:
    """The capability. It takes no permission: it says nothing but that something of the plugin's own has changed."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.operations: Capability = {"refresh": operation(_Refresh, None, self._refresh, self._foresee)}

    async def _refresh(self, context: CapabilityContext, arguments: _Refresh) -> bytes:
        opened = joint.get()
        for mark in _marks(context, arguments.name):
            if opened is not None:
                # What the handler of a delivery wrote is there when that is committed, and not before.
                mark_on_commit(opened.session, mark)
            else:
                self._hub.mark(mark)
        return _DONE

    def _foresee(self, context: CapabilityContext, arguments: _Refresh) -> bytes:
        _marks(context, arguments.name)
        return _DONE


def _marks(context: CapabilityContext, name: str) -> list[Mark]:
    """One for each slot that the handler fills; none while a widget is drawn, which would go round for ever."""
    slots = [widget.slot for widget in context.manifest.widgets if widget.handler == name]
    if not slots:
        raise ArgumentsInvalidError(
            "the plugin has no such widget", hint="Give the name of the function that `@plugin.widget` stands above."
        )
    if context.handler.startswith("widget "):
        return []
    return [Mark(context.tenant_id, context.slug, context.installation_id, name, slot) for slot in slots]
