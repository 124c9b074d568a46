"""The commands, by what they are about; `main` puts them together."""

from __future__ import annotations

__all__: list[str] = []
