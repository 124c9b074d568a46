"""Base of all models, and the mixin of everything that belongs to a tenant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

__all__ = ["SEALED", "Base", "TenantOwned", "UtcDateTime"]

SEALED: dict[str, Any] = {"sealed": True}
"""`info` of a column with what is encrypted with a tenant's data key. Whoever replaces the key finds it by this."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times, also on SQLite, which has no time zones; naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value


class Base(DeclarativeBase):
    """Every model of the platform. Table names begin with `jf_`, so that a host can share its database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[Any]: JSON, list[str]: JSON}  # noqa: RUF012  # read by SQLAlchemy as a class attribute


class TenantOwned:
    """Rows of one tenant. A session that was opened for a tenant sees no others, whatever the statement says."""

    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
