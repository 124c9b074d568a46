"""Slots: what plugins show on our pages, made ready for the template."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import msgspec

from corner_shop.shop.payloads import plain
from corner_shop.web.guards import Visit
from jackfield_sdk import PluginError, ui

__all__ = ["Widget", "slot"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Widget:
    """One plugin's widget.

    Attributes:
        node: Typed, so that the template meets known nodes only; None when the plugin failed.
        error: Why it failed.
    """

    plugin: str
    title: str
    node: ui.Node | None
    error: str


async def slot(visit: Visit, name: str, context: msgspec.Struct) -> list[Widget]:
    """Ask the organisation's plugins what to show in a slot, on behalf of whoever looks at the page."""
    shown = await visit.extension.widgets(visit.tenant_id, name, plain(context), visit.caller)
    widgets: list[Widget] = []
    for one in shown:
        node, error = _typed(one.tree, one.error)
        if error:
            _log.warning("%s shows nothing in %s of %s: %s", one.plugin, name, visit.tenant_id, error)
        widgets.append(Widget(one.plugin, one.title, node, error))
    return widgets


def _typed(tree: Any, error: str) -> tuple[ui.Node | None, str]:
    if tree is None:
        return None, error or "It showed nothing."
    try:
        return msgspec.convert(ui.check_tree(tree), ui.Node), ""
    except PluginError as problem:
        return None, str(problem)
