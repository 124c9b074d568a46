"""Events that the plugin itself sends; their names begin with its slug and are declared in `emits`."""

from __future__ import annotations

from typing import Any

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.schema import to_plain

__all__ = ["Events"]


class Events:
    """`ctx.events`: the plugin's own events, declared in `emits`."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def emit(self, name: str, payload: Any) -> str:
        """Send an event, delivered at least once to every subscriber of the tenant; its id."""
        return self._host.call("events", "emit", {"name": name, "payload": to_plain(payload)})
