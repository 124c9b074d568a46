"""Tables of what plugins did to entities."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Dialect, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from jackfield.db import Base, TenantOwned

__all__ = ["DataChange"]

# SQLite numbers rows by itself only when the column's type is exactly INTEGER.
_Serial = BigInteger().with_variant(Integer(), "sqlite")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class PlainRow(TypeDecorator[dict[str, Any]]):
    """An entity as JSON in a text; no query looks inside."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, Any] | None:
        return None if value is None else _decode(value)


class DataChange(TenantOwned, Base):
    """One entity that a plugin created, changed or deleted.

    Attributes:
        id: Later changes of the same entity have larger numbers.
        place: Name of the adapter that wrote it.
        before, after: The fields that plugins may see or set; null where there was or is no entity.
        reverts: The change that this one took back.
        reverted_by: The change that took this one back.
    """

    __tablename__ = "jf_data_changes"
    __table_args__ = (
        Index("ix_jf_data_changes_tenant", "tenant_id", "id"),
        Index("ix_jf_data_changes_entity", "tenant_id", "entity", "key", "id"),
        Index("ix_jf_data_changes_invocation", "invocation_id"),
        Index("ix_jf_data_changes_at", "at"),
        # A number is never given again, or a revert could mean another change than the one that was seen.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_Serial, primary_key=True, autoincrement=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    installation_id: Mapped[str] = mapped_column(String(64))
    slug: Mapped[str] = mapped_column(String(128))
    invocation_id: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str | None] = mapped_column(String(255))
    place: Mapped[str] = mapped_column(String(128))
    entity: Mapped[str] = mapped_column(String(96))
    key: Mapped[str] = mapped_column(String(255))
    operation: Mapped[str] = mapped_column(String(16))
    before: Mapped[dict[str, Any] | None] = mapped_column(PlainRow)
    after: Mapped[dict[str, Any] | None] = mapped_column(PlainRow)
    at: Mapped[datetime]
    reverts: Mapped[int | None] = mapped_column(BigInteger)
    reverted_by: Mapped[int | None] = mapped_column(BigInteger)
