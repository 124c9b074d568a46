"""The `jackfield` command. It is used by running it; nothing here is for importing."""

from __future__ import annotations

__all__: list[str] = []
