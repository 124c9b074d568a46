"""Payloads about trade: products, sales, orders, payments."""

from __future__ import annotations

import msgspec

__all__ = [
    "Order",
    "Payment",
    "Product",
    "Refund",
    "Sale",
    "SaleItem",
    "StockLevel",
]


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that is sold."""

    id: str
    name: str
    price: float
    sku: str | None = None
    stock: int | None = None


class StockLevel(msgspec.Struct, frozen=True, kw_only=True):
    """A product runs out: `product.stockLow`.

    Attributes:
        threshold: At or below it, the host says so.
    """

    product: Product
    stock: int
    threshold: int


class SaleItem(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a sale."""

    product_id: str
    name: str
    quantity: int
    unit_price: float


class Sale(msgspec.Struct, frozen=True, kw_only=True):
    """A sale at the till: `sale.beforeCreate`, `sale.created`."""

    id: str
    total: float
    currency: str = "USD"
    status: str = "completed"
    customer_id: str | None = None
    employee_id: str | None = None
    items: list[SaleItem] = []
    discount: float = 0.0
    created_at: str | None = None
    metadata: dict[str, str] = {}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Goods that are to be sent: `order.created` and its kin. `id` is empty while it is new.

    Attributes:
        tracking: The carrier's number, once it is shipped.
    """

    total: float
    id: str | None = None
    currency: str = "USD"
    status: str = "open"
    customer_id: str | None = None
    items: list[SaleItem] = []
    shipping_address: str = ""
    carrier: str = ""
    tracking: str = ""
    created_at: str | None = None
    metadata: dict[str, str] = {}


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """Money that is taken: `payment.beforeCharge`, `payment.succeeded`, `payment.failed`.

    Attributes:
        provider: Who takes it, as the host names them: `stripe`, `cash`.
        failure: Why not, when it failed.
    """

    amount: float
    id: str | None = None
    currency: str = "USD"
    provider: str = ""
    customer_id: str | None = None
    order_id: str | None = None
    sale_id: str | None = None
    booking_id: str | None = None
    status: str = "pending"
    failure: str = ""
    metadata: dict[str, str] = {}


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money that is given back: `payment.beforeRefund`, `payment.refunded`."""

    payment_id: str
    amount: float
    id: str | None = None
    currency: str = "USD"
    reason: str = ""
    metadata: dict[str, str] = {}
