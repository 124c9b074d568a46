"""Tables: what installations keep. Every key begins with the installation, which has a tenant's id beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sqlalchemy import JSON, BigInteger, Index, Integer, LargeBinary, String, Table, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from jackfield.db import SEALED, Base, TenantOwned

__all__ = [
    "DataKey",
    "FileChunk",
    "FileRow",
    "FileUpload",
    "IndexEntry",
    "MasterKey",
    "SecretLeak",
    "SecretValue",
    "StorageItem",
    "TableRow",
    "UniqueEntry",
    "UsageRow",
    "core",
]

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
        version: Another one with each write: a random number, so that a key that was deleted and made again never has
            one that it had before.
        expires_at: Milliseconds since 1970; from then on it is gone for readers, whenever it is swept.
    """

    __tablename__ = "jf_storage"
    # Of keys that expire alone: all others do not pay for it.
    __table_args__ = (
        Index(
            "ix_jf_storage_expires_at",
            "expires_at",
            sqlite_where=text("expires_at IS NOT NULL"),
            postgresql_where=text("expires_at IS NOT NULL"),
        ),
    )

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(_binary_order(256), primary_key=True)
    # Not indexed by itself, here and below: nothing is looked up by tenant alone, and an index costs every write.
    tenant_id: Mapped[str] = mapped_column(String(64))
    value: Mapped[bytes] = mapped_column(LargeBinary)
    size_bytes: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    expires_at: Mapped[int | None] = mapped_column(BigInteger)


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


class IndexEntry(TenantOwned, Base):
    """The values of one row in one indexed group of columns, as bytes that sort as the values do (`index_keys`).

    Attributes:
        columns: Names of the group, joined by commas; behind a `#`, what their defaults are.
    """

    __tablename__ = "jf_table_index"
    # The key is all there is to a row, so on SQLite it is the row.
    __table_args__ = (Index("ix_jf_table_index_row", "installation_id", "row_id"), {"sqlite_with_rowid": False})

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    columns: Mapped[str] = mapped_column(String(840), primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary(512), primary_key=True)
    row_id: Mapped[str] = mapped_column(_binary_order(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))


class SecretValue(TenantOwned, Base):
    """One secret of an installation, encrypted.

    Attributes:
        token: What `Envelope.seal` gave, or, before there were data keys, `Vault.encrypt`.
        set_by: As in the audit trail.
        last_used_by: The handler that had it, as `kind name`. Written in batches, so it comes a little late.
    """

    __tablename__ = "jf_secrets"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    token: Mapped[str] = mapped_column(String(30_000), info=SEALED)
    set_at: Mapped[datetime | None]
    set_by: Mapped[str | None] = mapped_column(String(200))
    last_used_at: Mapped[datetime | None]
    last_used_by: Mapped[str | None] = mapped_column(String(300))


class MasterKey(Base):
    """A key of the operator's that has encrypted data keys. The key itself is in a file or a setting, never here.

    Attributes:
        generation: Grows with each key that becomes the first one. Data keys are only ever wrapped anew upwards, so two
            nodes that disagree for a while do not undo each other's work.
        fingerprint: Tells a key from another under the same id.
        retired_at: When it was taken out of use for good; no data key is wrapped with it from then on.
    """

    __tablename__ = "jf_master_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    generation: Mapped[int] = mapped_column(Integer)
    fingerprint: Mapped[str] = mapped_column(String(64))
    since: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class DataKey(TenantOwned, Base):
    """A key that encrypts one tenant's secrets, itself encrypted (“wrapped”) with a master key.

    Attributes:
        master_key_id: What it is wrapped with, as `wrapped` says too.
        retired_at: When the tenant was given another one. It still decrypts.
    """

    __tablename__ = "jf_data_keys"
    __table_args__ = (Index("ix_jf_data_keys_master_key_id", "master_key_id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
    wrapped: Mapped[str] = mapped_column(String(200))
    master_key_id: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class SecretLeak(TenantOwned, Base):
    """That a plugin's handler let out a secret somewhere: one row for each handler and place, counted up.

    Attributes:
        place: `result`, `log`, `error`, `event` …
        handler: `kind name`.
        count: In how many places of texts it stood, over all calls.
        invocation_id: Of the latest.
    """

    __tablename__ = "jf_secret_leaks"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    place: Mapped[str] = mapped_column(String(16), primary_key=True)
    handler: Mapped[str] = mapped_column(String(300), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    count: Mapped[int] = mapped_column(BigInteger)
    is_masked: Mapped[bool]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    invocation_id: Mapped[str] = mapped_column(String(64))


class FileRow(TenantOwned, Base):
    """One file of an installation; its content is in chunks.

    Attributes:
        content_id: Names the content; another one with each write.
        role: The least role in the tenant that may download it.
    """

    __tablename__ = "jf_files"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    path: Mapped[str] = mapped_column(_binary_order(256), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    content_id: Mapped[str] = mapped_column(String(64))
    content_type: Mapped[str] = mapped_column(String(200))
    size_bytes: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class FileChunk(TenantOwned, Base):
    """A part of a file's content. All but the last one of a content have the same length."""

    __tablename__ = "jf_file_chunks"
    __table_args__ = (Index("ix_jf_file_chunks_installation", "installation_id"),)

    content_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    installation_id: Mapped[str] = mapped_column(String(64))
    tenant_id: Mapped[str] = mapped_column(String(64))
    data: Mapped[bytes] = mapped_column(LargeBinary)


class FileUpload(TenantOwned, Base):
    """A file on its way: its chunks are counted and kept, and dropped when it is not finished in time.

    Attributes:
        id: Becomes the file's `content_id`.
        size_bytes: Of the `parts` that have come.
    """

    __tablename__ = "jf_file_uploads"
    __table_args__ = (
        Index("ix_jf_file_uploads_installation", "installation_id"),
        Index("ix_jf_file_uploads_begun_at", "begun_at"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    installation_id: Mapped[str] = mapped_column(String(64))
    tenant_id: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(256))
    content_type: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    size_bytes: Mapped[int] = mapped_column(Integer)
    parts: Mapped[int] = mapped_column(Integer)
    begun_at: Mapped[datetime]


class UsageRow(TenantOwned, Base):
    """What an installation's storage and tables take. Writers of one installation queue at this row.

    Attributes:
        used_rows: Of all its tables.
        layout: Digest of the tables that the rows were written for, see `Declared.layout`: releases with others may not
            write, and the index entries are whole. None where nobody has looked yet.
        closed_by: The operation that moves the data meanwhile, so that nobody else may write.
    """

    __tablename__ = "jf_storage_usage"

    installation_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    # Indexed here: each write looks at what the tenant's other installations take.
    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
    used_bytes: Mapped[int] = mapped_column(BigInteger)
    used_rows: Mapped[int] = mapped_column(BigInteger)
    layout: Mapped[str | None] = mapped_column(String(64))
    closed_by: Mapped[str | None] = mapped_column(String(64))
