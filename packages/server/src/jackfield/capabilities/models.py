"""Tables: what installations keep. Every key begins with the installation, which has a tenant's id beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sqlalchemy import JSON, BigInteger, Index, Integer, LargeBinary, String, Table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import Base, TenantOwned

__all__ = ["SecretValue", "StorageItem", "TableRow", "UniqueEntry", "UsageRow", "core"]

_Json = JSON().with_variant(JSONB(), "postgresql")


def core(model: type[Base]) -> Table:
    """A model's table, for statements that are made once and run as they are, without the session's additions."""
    return cast("Table", model.__table__)


def _binary_order(length: int) -> Any:
    """Text that sorts by code point everywhere, as SQLite does by itself."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class StorageItem(TenantOwned, Base):
    """One key of an installation's storage.

    Attributes:
        value: Msgpack, as it came, after it was checked; handed back without being decoded.
        size_bytes: What it counts against the installation's space.
    """

    __tablename__ = "jf_storage"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(_binary_order(256), primary_key=True)
    # Not indexed by itself, here and below: nothing is looked up by tenant alone, and an index costs every write.
    tenant_id: Mapped[str] = mapped_column(String(64))
    value: Mapped[bytes] = mapped_column(LargeBinary)
    size_bytes: Mapped[int] = mapped_column(Integer)


class TableRow(TenantOwned, Base):
    """One row of one plugin's table; all plugins' rows are here (`docs/decisions/0004-plugin-rows.md`).

    Attributes:
        data: Column → value. Columns of other releases may be among them.
    """

    __tablename__ = "jf_table_rows"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(_binary_order(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    data: Mapped[dict[str, Any]] = mapped_column(_Json)
    size_bytes: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]


class UniqueEntry(TenantOwned, Base):
    """The values of one row in one group of columns that must differ; the primary key is the constraint.

    Attributes:
        columns: Names of the group, joined by commas.
        digest: SHA-256 of the values.
    """

    __tablename__ = "jf_table_unique"
    __table_args__ = (Index("ix_jf_table_unique_row", "installation_id", "row_id"),)

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    columns: Mapped[str] = mapped_column(String(600), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    row_id: Mapped[str] = mapped_column(String(64))


class SecretValue(TenantOwned, Base):
    """One secret of an installation, encrypted.

    Attributes:
        token: What `Vault.encrypt` gave.
    """

    __tablename__ = "jf_secrets"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    token: Mapped[str] = mapped_column(String(30_000))


class UsageRow(TenantOwned, Base):
    """What an installation's storage and tables take. Writers of one installation queue at this row.

    Attributes:
        used_rows: Of all its tables.
    """

    __tablename__ = "jf_storage_usage"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    # Indexed here: each write looks at what the tenant's other installations take.
    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
    used_bytes: Mapped[int] = mapped_column(BigInteger)
    used_rows: Mapped[int] = mapped_column(BigInteger)
