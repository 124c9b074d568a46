"""The few words of a manifest that may come from `pyproject.toml` instead of from code.

Everything else in a signed manifest must be what the code itself declares: the registry computes it again, sealed, and
compares.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jackfield_sdk.manifest import Manifest

__all__ = ["PRESENTATION", "first_difference", "with_presentation"]

PRESENTATION = ("summary", "description", "licence")


def with_presentation(declared: Manifest, **texts: str) -> Manifest:
    """The manifest with texts put where the code left nothing; what the code says, stands."""
    missing = {name: text for name, text in texts.items() if name in PRESENTATION and not getattr(declared, name)}
    return msgspec.structs.replace(declared, **missing)


def first_difference(signed: Manifest, declared: Manifest) -> str | None:
    """Name of the first field in which a signed manifest says something else than its code; None when they agree.

    `python` is not compared: it tells what the package was made with, `declared` what it was read with.
    """
    expected = with_presentation(declared, **{name: getattr(signed, name) for name in PRESENTATION})
    # Field by field, and as bytes: to Python, `true`, `1` and `1.0` in a schema are the same.
    names = sorted(field.name for field in msgspec.structs.fields(Manifest) if field.name != "python")
    return next((name for name in names if _bytes(getattr(signed, name)) != _bytes(getattr(expected, name))), None)


def _bytes(value: Any) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(value), order="deterministic")
