"""The platform: an app store, a life cycle and a sealed runtime that a multi-tenant product puts inside itself.

What a host uses is here; it is imported when it is first used, so that the parts can be imported without the whole.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jackfield.app import Platform, SelfAttackError, Tenant
    from jackfield.capabilities import ensure_key_file
    from jackfield.extension_points import FilterAbortedError, FunctionResult, VetoedError, WidgetResult
    from jackfield.settings import LimitSettings, Settings
    from jackfield.surface import Access, Entity, Event, FilterHook, Slot, Surface

__version__ = "0.1.0"

__all__ = [
    "Access",
    "Entity",
    "Event",
    "FilterAbortedError",
    "FilterHook",
    "FunctionResult",
    "LimitSettings",
    "Platform",
    "SelfAttackError",
    "Settings",
    "Slot",
    "Surface",
    "Tenant",
    "VetoedError",
    "WidgetResult",
    "ensure_key_file",
]

_HOMES = {
    **dict.fromkeys(("Platform", "SelfAttackError", "Tenant"), "jackfield.app"),
    **dict.fromkeys(
        ("FilterAbortedError", "FunctionResult", "VetoedError", "WidgetResult"), "jackfield.extension_points"
    ),
    "ensure_key_file": "jackfield.capabilities",
    **dict.fromkeys(("LimitSettings", "Settings"), "jackfield.settings"),
    **dict.fromkeys(("Access", "Entity", "Event", "FilterHook", "Slot", "Surface"), "jackfield.surface"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
