"""What one operation of a capability is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import AnswerTooLargeError, ArgumentsInvalidError
from jackfield.capabilities.plain import NotPlainError, check_plain, decode_plain

__all__ = [
    "ANSWER_BYTES",
    "Arguments",
    "Capability",
    "Id",
    "Limit",
    "Offset",
    "Operation",
    "answer",
    "fields_of",
    "operation",
    "plain_bytes",
    "plain_value",
]

ANSWER_BYTES = 4 * 1024 * 1024
"""Largest answer, well below what the channel carries in one message."""

A = TypeVar("A", bound="Arguments")

# Names and keys reach SQL as values and messages as text: nothing unprintable gets in.
Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z")]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Offset = Annotated[int, Meta(ge=0, le=1_000_000)]

_encode = msgspec.msgpack.Encoder().encode


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all arguments. Data of any shape is taken as `msgspec.Raw`, see `plain`."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        decode: Msgpack to the operation's arguments; raises what msgspec raises.
        needs: The permission for these arguments; None when everybody may.
        run: Does it; the answer is msgpack.
        foresee: The answer of a write, checked as far as that goes without the database; None when that cannot tell.
        follow: The same after a write to the same thing; takes that one's name, arguments and answer as well.
    """

    decode: Callable[[bytes], Any]
    needs: Callable[[Any], str | None]
    run: Callable[[CapabilityContext, Any], Awaitable[bytes]]
    foresee: Callable[[CapabilityContext, Any], bytes | None] | None = None
    follow: Callable[[CapabilityContext, Any, str, Any, bytes], bytes | None] | None = None


Capability = dict[str, Operation]
"""Operations by name."""


def operation(
    arguments: type[A],
    needs: str | Callable[[A], str | None] | None,
    run: Callable[[CapabilityContext, A], Awaitable[bytes]],
    foresee: Callable[[CapabilityContext, A], bytes | None] | None = None,
    follow: Callable[[CapabilityContext, A, str, Any, bytes], bytes | None] | None = None,
) -> Operation:
    """An operation with its types held together."""
    decoder = msgspec.msgpack.Decoder(arguments)
    return Operation(decoder.decode, needs if callable(needs) else lambda _: needs, run, foresee, follow)


def answer(value: Any) -> bytes:
    """Msgpack of an answer.

    Raises:
        AnswerTooLargeError: It would not fit a message.
    """
    data = _encode(value)
    if len(data) > ANSWER_BYTES:
        raise AnswerTooLargeError(f"the answer has {len(data)} bytes, at most {ANSWER_BYTES} fit")
    return data


def plain_bytes(raw: msgspec.Raw, what: str, limit_bytes: int) -> bytes:
    """Data of any shape as it came, after a look at it; text in it may hold NUL.

    Raises:
        ArgumentsInvalidError: It is too large or not plain data.
    """
    data = bytes(raw)
    if len(data) > limit_bytes:
        raise ArgumentsInvalidError(f"`{what}` has {len(data)} bytes, at most {limit_bytes} are taken")
    try:
        check_plain(data, allow_nul=True)
    except NotPlainError as error:
        raise ArgumentsInvalidError(f"`{what}` is not plain data: {error}") from error
    return data


def fields_of(raw: msgspec.Raw, what: str) -> dict[str, Any]:
    """A map of plain data.

    Raises:
        ArgumentsInvalidError: It is anything else.
    """
    value = plain_value(raw, what)
    if not isinstance(value, dict):
        raise ArgumentsInvalidError(f"`{what}` is not a map")
    return value  # pyright: ignore[reportUnknownVariableType]  # text keys, as `check_plain` has seen


def plain_value(raw: msgspec.Raw, what: str) -> Any:
    """Plain data.

    Raises:
        ArgumentsInvalidError: It is something else.
    """
    try:
        return decode_plain(bytes(raw))
    except NotPlainError as error:
        raise ArgumentsInvalidError(f"`{what}` is not plain data: {error}") from error
