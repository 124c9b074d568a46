"""Column types and identifiers that the models share."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, Integer
from sqlalchemy.types import TypeDecorator

__all__ = ["Money", "UtcTime", "new_id", "now", "with_prefix"]


class Money(TypeDecorator[float]):
    """An amount with two decimals: whole cents in the database, so that sums are exact, a number in Python."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> int | None:
        return None if value is None else round(value * 100)

    def process_result_value(self, value: int | None, dialect: Dialect) -> float | None:
        return None if value is None else value / 100


class UtcTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC; SQLite itself knows no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def now() -> datetime:
    """The present, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def new_id(prefix: str) -> str:
    """A fresh identifier, such as `sale-5f0c…`."""
    return f"{prefix}-{secrets.token_hex(8)}"


def with_prefix(prefix: str) -> Callable[[], str]:
    """A column default. On the column, not in our code, so that rows which plugins create get one too."""
    return lambda: new_id(prefix)
