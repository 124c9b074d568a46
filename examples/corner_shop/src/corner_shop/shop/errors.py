"""What can go wrong on the shop's own side, in words for the person at the counter."""

from __future__ import annotations

__all__ = ["NotFoundError", "ShopError"]


class ShopError(Exception):
    """The message is shown as it is."""


class NotFoundError(ShopError):
    """There is no such thing in this organisation."""
