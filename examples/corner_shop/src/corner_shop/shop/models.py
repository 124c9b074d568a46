"""The application's own tables, beside the platform's in one database. Every row belongs to a tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKeyConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from corner_shop.shop.columns import Money, UtcTime, now, with_prefix

__all__ = ["Base", "Booking", "Customer", "Employee", "Product", "Sale", "SaleItem"]


class Base(DeclarativeBase):
    """Base of the shop's models; their tables begin with `shop_`."""

    type_annotation_map = {datetime: UtcTime, float: Money, dict[str, Any]: JSON}  # noqa: RUF012  # read by SQLAlchemy as a class attribute


def _same_tenant(column: str, target: str) -> ForeignKeyConstraint:
    """A reference that cannot leave the tenant, whoever writes the row: the key takes the tenant along."""
    return ForeignKeyConstraint(["tenant_id", column], [f"{target}.tenant_id", f"{target}.id"])


class Employee(Base):
    """Someone who works for the tenant and may sign in.

    Attributes:
        member_id: Who they are to the platform; set once they have been made known to it.
    """

    __tablename__ = "shop_employees"
    __table_args__ = (UniqueConstraint("tenant_id", "id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=with_prefix("employee"))
    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str] = mapped_column(String(200))
    title: Mapped[str] = mapped_column(String(80), default="")
    role: Mapped[str] = mapped_column(String(16), default="member")
    member_id: Mapped[str | None] = mapped_column(String(64))


class Customer(Base):
    """Someone who buys or books."""

    __tablename__ = "shop_customers"
    __table_args__ = (UniqueConstraint("tenant_id", "id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=with_prefix("customer"))
    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str | None] = mapped_column(String(200))
    phone: Mapped[str | None] = mapped_column(String(40))
    notes: Mapped[str] = mapped_column(String(2000), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)


class Product(Base):
    """Something that is sold: goods with a stock, or a service with a duration and none."""

    __tablename__ = "shop_products"
    __table_args__ = (UniqueConstraint("tenant_id", "id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=with_prefix("product"))
    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(120))
    sku: Mapped[str | None] = mapped_column(String(40))
    category: Mapped[str] = mapped_column(String(60), default="")
    description: Mapped[str] = mapped_column(String(1000), default="")
    price: Mapped[float]
    stock: Mapped[int | None]
    duration_minutes: Mapped[int | None]


class Sale(Base):
    """A completed sale. `total` is what the customer paid: the items, less what a plugin took off."""

    __tablename__ = "shop_sales"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        Index("ix_shop_sales_tenant_time", "tenant_id", "created_at"),
        _same_tenant("customer_id", "shop_customers"),
        _same_tenant("employee_id", "shop_employees"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=with_prefix("sale"))
    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
    customer_id: Mapped[str | None] = mapped_column(String(64))
    employee_id: Mapped[str | None] = mapped_column(String(64))
    subtotal: Mapped[float]
    total: Mapped[float]
    currency: Mapped[str] = mapped_column(String(3))
    status: Mapped[str] = mapped_column(String(16), default="completed")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)


class SaleItem(Base):
    """A line of a sale. Name and price are copies: the product may change afterwards, the receipt may not."""

    __tablename__ = "shop_sale_items"
    __table_args__ = (_same_tenant("sale_id", "shop_sales"), _same_tenant("product_id", "shop_products"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=with_prefix("item"))
    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
    sale_id: Mapped[str] = mapped_column(String(64), index=True)
    product_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(120))
    quantity: Mapped[int]
    unit_price: Mapped[float]


class Booking(Base):
    """An appointment."""

    __tablename__ = "shop_bookings"
    __table_args__ = (
        Index("ix_shop_bookings_tenant_time", "tenant_id", "starts_at"),
        _same_tenant("customer_id", "shop_customers"),
        _same_tenant("employee_id", "shop_employees"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True, default=with_prefix("booking"))
    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
    customer_id: Mapped[str] = mapped_column(String(64))
    employee_id: Mapped[str | None] = mapped_column(String(64))
    service: Mapped[str] = mapped_column(String(120), default="")
    starts_at: Mapped[datetime]
    duration_minutes: Mapped[int] = mapped_column(default=30)
    status: Mapped[str] = mapped_column(String(16), default="booked")
    notes: Mapped[str] = mapped_column(String(2000), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
