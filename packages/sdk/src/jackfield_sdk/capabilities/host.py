"""What stands behind the capabilities: a channel to the broker in an isolate, a fake platform in tests."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Host", "current"]


class Host(Protocol):
    """Carries capability calls out."""

    def call(self, capability: str, operation: str, arguments: dict[str, Any]) -> Any:
        """Do one operation; blocks until it is answered.

        Raises:
            CapabilityError: It was refused or failed.
        """
        ...

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        """Write one line to the plugin's log."""
        ...


current: list[Host] = []
"""The one that libraries use which know nothing of a context, see `jackfield_sdk.transports`: an isolate's own, all its
life; in tests, while a call of a plugin's is under way."""
