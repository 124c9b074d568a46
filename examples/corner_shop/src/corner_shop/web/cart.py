"""The cart of a till: a cookie with product ids and numbers, nothing that needs to be believed.

Prices are read from the database each time. The cart also carries the id that its sale will have, so that completing it
twice makes one sale.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field, replace

import msgspec

from corner_shop.shop.columns import new_id

__all__ = ["Cart"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SALE_ID = re.compile(r"sale-[0-9a-f]{16}")
_MOST_LINES = 30
_MOST_OF_ONE = 99


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    sale_id: str
    customer_id: str | None
    quantities: dict[str, int]


@dataclass(frozen=True)
class Cart:
    """What will be sold, to whom."""

    sale_id: str = field(default_factory=lambda: new_id("sale"))
    customer_id: str | None = None
    quantities: dict[str, int] = field(default_factory=dict)

    def put(self, product_id: str, by: int) -> Cart:
        """With more or less of a product; the line goes when nothing is left of it."""
        if not _ID.fullmatch(product_id):
            return self
        quantity = min(self.quantities.get(product_id, 0) + by, _MOST_OF_ONE)
        quantities = {**self.quantities, product_id: quantity}
        if quantity <= 0:
            del quantities[product_id]
        return self if len(quantities) > _MOST_LINES else replace(self, quantities=quantities)

    def for_customer(self, customer_id: str | None) -> Cart:
        """With another customer, or none."""
        return replace(self, customer_id=customer_id if customer_id and _ID.fullmatch(customer_id) else None)

    def pack(self) -> str:
        """As a cookie's value."""
        return base64.urlsafe_b64encode(
            msgspec.json.encode(_Packed(self.sale_id, self.customer_id, self.quantities))
        ).decode()

    @classmethod
    def unpack(cls, cookie: str | None) -> Cart:
        """The cart in a cookie; an empty one when there is none or it makes no sense."""
        try:
            packed = msgspec.json.decode(base64.urlsafe_b64decode(cookie or ""), type=_Packed)
        except (msgspec.DecodeError, binascii.Error, ValueError):
            return cls()
        if not _SALE_ID.fullmatch(packed.sale_id):
            return cls()
        cart = cls(sale_id=packed.sale_id).for_customer(packed.customer_id)
        for product_id, quantity in packed.quantities.items():
            cart = cart.put(product_id, quantity)
        return cart
