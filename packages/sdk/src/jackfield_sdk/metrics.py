"""What a plugin counts of its own: tokens, calls to a provider, whatever its author names."""

from __future__ import annotations

import re

from jackfield_sdk.errors import PluginError

__all__ = ["MOST", "MOST_NAMES", "NAME_CHARS", "Metrics"]

MOST = 2**53 - 1
"""Largest sum of one call: what JSON carries without loss."""
MOST_NAMES = 20
NAME_CHARS = 40
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Metrics:
    """`ctx.metrics`: counters of one call. They come back with a function's answer and are summed in the statistics.

    `tokens_used` and `api_calls` are known by name to the platform; any other name is the plugin's own.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, name: str, amount: int = 1) -> None:
        """Count.

        Args:
            name: Lower-case words joined by underscores, at most 40 characters; at most 20 names in a call.
            amount: A whole number, not below 0.

        Raises:
            PluginError: `metric-invalid`.
        """
        if len(name) > NAME_CHARS or not _NAME.fullmatch(name):
            raise PluginError(f"{name[:60]!r} cannot name a metric", code="metric-invalid", hint="As `tokens_used`.")
        if type(amount) is not int or amount < 0:
            raise PluginError(f"{name}: {amount!r} is no whole number from 0", code="metric-invalid")
        if name not in self.counts and len(self.counts) >= MOST_NAMES:
            raise PluginError(f"more than {MOST_NAMES} metrics in one call", code="metric-invalid")
        self.counts[name] = min(MOST, self.counts.get(name, 0) + amount)
