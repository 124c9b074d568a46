"""The plugin's log; `print` and `logging` go there too."""

from __future__ import annotations

from jackfield_sdk.capabilities.host import Host

__all__ = ["Log"]

Value = str | int | float | bool | None


class Log:
    """`ctx.log`: the plugin's log, which the tenant can read."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def debug(self, message: str, **fields: Value) -> None:
        """For the author."""
        self._host.log("debug", message, fields)

    def info(self, message: str, **fields: Value) -> None:
        """What happened."""
        self._host.log("info", message, fields)

    def warning(self, message: str, **fields: Value) -> None:
        """Something an admin may want to look at."""
        self._host.log("warning", message, fields)

    def error(self, message: str, **fields: Value) -> None:
        """Something that went wrong."""
        self._host.log("error", message, fields)
