"""Conditions of handlers (`when`), in CEL, evaluated on the node before any isolate is woken.

CEL has no loops but its comprehensions, and those nest: five of them over a thousand items would hold the node for
years. A condition may therefore have one. A missing field makes a condition false, as its author expects of
`sale.customer_id != null`.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import cel

from jackfield.errors import InvalidError

__all__ = ["ConditionInvalidError", "check_condition", "holds", "variables"]

_STRINGS = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""")
_COMPREHENSION = re.compile(r"\.\s*(all|exists|exists_one|map|filter|sortBy|transformList|transformMap)\s*\(")
_MAX_CHARS = 1000


class ConditionInvalidError(InvalidError):
    """A condition that cannot be accepted."""

    code = "condition-invalid"
    default_hint = "Write a CEL expression over the payload, as `sale.total > 0.0`."


def variables(hook: str, payload: Any) -> dict[str, Any]:
    """What a condition sees: the payload by the hook's noun (`sale` of `sale.created`) and as `payload`."""
    return {hook.partition(".")[0].replace("-", "_"): payload, "payload": payload}


def check_condition(expression: str) -> None:
    """Refuse what does not parse, or could take long.

    Raises:
        ConditionInvalidError: With the parser's own words.
    """
    if len(expression) > _MAX_CHARS:
        raise ConditionInvalidError(f"a condition of {len(expression)} characters, at most {_MAX_CHARS}")
    if len(_COMPREHENSION.findall(_STRINGS.sub("''", expression))) > 1:
        raise ConditionInvalidError("more than one comprehension (all, exists, map, filter) in a condition")
    try:
        cel.compile(expression)
    except (ValueError, RuntimeError, TypeError) as error:
        raise ConditionInvalidError(str(error).partition("\n")[0][:300]) from error


@functools.lru_cache(maxsize=4096)
def _program(expression: str) -> Any:
    try:
        check_condition(expression)
    except ConditionInvalidError:
        return None
    return cel.compile(expression)


def holds(expression: str | None, scope: dict[str, Any]) -> bool:
    """Whether a condition is met; one that is invalid, or meets values it cannot work with, is not."""
    if expression is None:
        return True
    program = _program(expression)
    if program is None:
        return False
    try:
        return program.execute(scope) is True
    except (
        Exception
    ):  # the library raises whatever Python error is nearest: KeyError, TypeError, RuntimeError, ValueError
        return False
