"""`when`: CEL conditions, evaluated before a plugin is woken.

The SDK itself has no CEL. A condition that nobody evaluates would make a test say yes to what the platform says no to;
so without the package this refuses to go on.
"""

from __future__ import annotations

import importlib
from typing import Any

from jackfield_sdk.errors import PluginError

__all__ = ["holds"]


def holds(condition: str | None, name: str, payload: Any) -> bool:
    """Whether a contribution takes part, by its condition.

    The payload is known as `payload` and by the noun of the trigger: `sale` for `sale.created`. What cannot be
    evaluated, because a field is missing or of another type, does not hold.

    Raises:
        PluginError: `condition-invalid`, or `cel-missing`.
    """
    if condition is None:
        return True
    try:
        cel: Any = importlib.import_module("cel")
    except ImportError as error:
        raise PluginError(
            f"the condition `{condition}` cannot be evaluated here",
            code="cel-missing",
            hint="Install `jackfield-sdk[testing]`.",
        ) from error
    try:
        program = cel.compile(condition)
    except ValueError as error:
        raise PluginError(f"the condition `{condition}` is not CEL: {error}", code="condition-invalid") from error
    noun = name.partition(".")[0].replace("-", "_")
    try:
        return program.execute({"payload": payload, noun: payload}) is True
    except Exception:  # the library raises whatever Python error is nearest
        return False
