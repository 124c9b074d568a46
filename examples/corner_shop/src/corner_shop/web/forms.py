"""Reading posted forms: URL-encoded, small, and from our own pages."""

from __future__ import annotations

import math
from urllib.parse import parse_qs

from fastapi import Request

from corner_shop.shop.errors import ShopError

__all__ = ["Form", "FormError", "read_form"]

_LARGEST_BYTES = 64 * 1024


class FormError(ShopError):
    """The form itself cannot be read."""


class Form:
    """The fields of a posted form. Text is trimmed; what is missing is empty."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def text(self, name: str, longest: int = 200) -> str:
        """A field's text.

        Raises:
            ShopError: Longer than that.
        """
        value = self._fields.get(name, [""])[-1].strip()
        if len(value) > longest:
            raise ShopError(f"{_label(name)} is longer than {longest} characters.")
        return value

    def optional(self, name: str, longest: int = 200) -> str | None:
        """A field's text, None when it was left empty."""
        return self.text(name, longest) or None

    def many(self, name: str) -> list[str]:
        """All values of a field, such as ticked boxes."""
        return self._fields.get(name, [])

    def number(self, name: str) -> float:
        """An amount.

        Raises:
            ShopError: Not a number.
        """
        try:
            value = float(self.text(name, 30).replace(",", "."))
        except ValueError as error:
            raise ShopError(f"{_label(name)} is not a number.") from error
        if not math.isfinite(value):
            raise ShopError(f"{_label(name)} is not a number.")
        return value

    def whole(self, name: str) -> int:
        """A whole number.

        Raises:
            ShopError: Not one.
        """
        value = self.number(name)
        if value != int(value):
            raise ShopError(f"{_label(name)} is not a whole number.")
        return int(value)


async def read_form(request: Request) -> Form:
    """The form in a request's body.

    Raises:
        FormError: Too large, of another type, or not text.
    """
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise FormError("That is not a form of this application.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BYTES:
            raise FormError("The form is too large.")
    try:
        return Form(parse_qs(body.decode(), keep_blank_values=True, max_num_fields=200, errors="strict"))
    except ValueError as error:
        raise FormError("The form cannot be read.") from error


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()
