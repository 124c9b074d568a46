"""What a plugin contributes and asks for, as its manifest says it."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from rich.console import RenderableType

from jackfield_cli.views import facts, heading, listing, stack
from jackfield_sdk.manifest import Manifest

__all__ = ["contents", "contents_view"]

# Kind → members that name one of them, the first that is there.
_KINDS: dict[str, tuple[str, ...]] = {
    "filters": ("hook",), "events": ("event",), "emits": ("name", "event"), "functions": ("name",),
    "routes": ("method", "path"), "widgets": ("slot",), "tables": ("name",), "schedules": ("name", "cron"),
    "webhooks": ("name",), "channels": ("name",),
}  # fmt: skip


def contents(manifest: Manifest) -> dict[str, Any]:
    """The manifest's statements that matter to whoever installs it, as plain data."""
    data = msgspec.to_builtins(manifest)
    return {
        "contributes": {kind: data[kind] for kind in _KINDS if data.get(kind)},
        "permissions": list(manifest.permissions),
        "optional_permissions": list(manifest.optional_permissions),
        "permission_reasons": dict(manifest.permission_reasons),
        "config": data.get("config"),
    }


def contents_view(data: dict[str, Any]) -> RenderableType:
    """The same for people."""
    return stack(
        heading("It contributes"),
        contributions(data["contributes"]),
        heading("It asks for"),
        listing(
            ("permission", "", "reason"),
            [
                (name, kind, data["permission_reasons"].get(name, ""))
                for kind, names in (("required", data["permissions"]), ("optional", data["optional_permissions"]))
                for name in names
            ],
            empty="nothing: all that it touches is its own",
        ),
    )


def contributions(kinds: dict[str, Any]) -> RenderableType:
    """One line for each kind."""
    named = [(kind, _names(kind, entries)) for kind, entries in kinds.items() if entries]
    return facts(named) if named else listing((), [], empty="nothing")


def _names(kind: str, entries: Any) -> list[str]:
    if isinstance(entries, dict):
        return list(cast("dict[str, Any]", entries))
    return list(dict.fromkeys(_name(kind, entry) for entry in cast("list[Any]", entries)))


def _name(kind: str, entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    known = cast("dict[str, Any]", entry)
    wanted = _KINDS.get(kind, ("name",))
    if kind == "routes":
        return " ".join(str(known.get(member, "")) for member in wanted)
    return next((str(known[member]) for member in (*wanted, "name", "handler") if known.get(member)), "?")
