"""What a plan allows a tenant and its plugins, how much of it is used, and when it refills."""

from __future__ import annotations

__all__: list[str] = []
