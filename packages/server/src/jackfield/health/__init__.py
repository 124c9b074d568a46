"""Whether plugins are well: checks on a schedule, circuit breakers, crash loops and quarantine."""

from __future__ import annotations

__all__: list[str] = []
