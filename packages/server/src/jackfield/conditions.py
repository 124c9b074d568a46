"""Conditions of handlers (`when`), in CEL, evaluated on the node before any isolate is woken.

CEL has no loops but its comprehensions, and those nest: five of them over a thousand items would hold the node for
years. A condition may therefore have one, and not `map`: the library copies all it has made for every item that it
adds, so that `items.map(x, items)` over 1,500 numbers takes two minutes. Over a payload that is too large for it, a
condition with a comprehension does not hold. A missing field makes a condition false, as its author expects of
`sale.customer_id != null`.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import cel

from jackfield.errors import InvalidError

__all__ = ["ConditionInvalidError", "check_condition", "holds", "variables"]

# Raw and triple-quoted strings, and comments, end elsewhere than an ordinary string would: what is inside one could be
# taken for code here, and code for what is inside. Nobody needs them in a condition.
_TOKEN = re.compile(
    r"""(?P<odd>[rRbB]{1,2}['"]|'''|\"\"\"|//)"""
    r"""|(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|(?P<rest>[A-Za-z_]\w*|.)""",
    re.DOTALL,
)
_COMPREHENSION = re.compile(
    r"\.\s*(all|exists|exists_one|existsOne|map|filter|sortBy|transformList|transformMap|transformMapEntry)\s*\("
)
_COPIES = frozenset({"map", "sortBy", "transformList", "transformMap", "transformMapEntry"})
_MAX_CHARS = 1000
_MAX_WORK = 1_000_000
"""For a comprehension: items of the largest list times everything there is. About a twentieth of a second."""


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
    found = _comprehensions(expression)
    if len(found) > 1:
        raise ConditionInvalidError("more than one comprehension (all, exists, filter) in a condition")
    if copying := sorted(_COPIES.intersection(found)):
        raise ConditionInvalidError(f"`{copying[0]}` cannot be used in a condition: use all, exists or filter")
    try:
        cel.compile(expression)
    except (ValueError, RuntimeError, TypeError) as error:
        raise ConditionInvalidError(str(error).partition("\n")[0][:300]) from error


def _comprehensions(expression: str) -> list[str]:
    code = ""
    for token in _TOKEN.finditer(expression):
        if token["odd"]:
            raise ConditionInvalidError("raw strings, triple quotes and comments cannot be used in a condition")
        code += token["rest"] or "''"
    return _COMPREHENSION.findall(code)


@functools.lru_cache(maxsize=4096)
def _program(expression: str) -> tuple[Any, bool]:
    """The program, None when it is refused; and whether it loops."""
    try:
        check_condition(expression)
    except ConditionInvalidError:
        return None, False
    return cel.compile(expression), bool(_comprehensions(expression))


def _is_too_much(scope: dict[str, Any]) -> bool:
    largest = weight = 0
    level: list[Any] = [scope["payload"]] if "payload" in scope else [scope]
    while level:
        item = level.pop()
        weight += 1
        if isinstance(item, str | bytes):
            weight += len(item) // 16
            largest = max(largest, len(item) // 16)
        elif isinstance(item, dict | list | tuple):
            largest = max(largest, len(item))  # pyright: ignore[reportUnknownArgumentType]  # data of any shape
            weight += len(item)  # pyright: ignore[reportUnknownArgumentType]  # data of any shape
            level.extend(item.values() if isinstance(item, dict) else item)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]  # data of any shape
        if largest * weight > _MAX_WORK:
            return True
    return False


def holds(expression: str | None, scope: dict[str, Any]) -> bool:
    """Whether a condition is met; one that is invalid, or meets values it cannot work with, is not."""
    if expression is None:
        return True
    program, loops = _program(expression)
    if program is None or (loops and _is_too_much(scope)):
        return False
    try:
        return program.execute(scope) is True
    except (
        Exception
    ):  # the library raises whatever Python error is nearest: KeyError, TypeError, RuntimeError, ValueError
        return False
