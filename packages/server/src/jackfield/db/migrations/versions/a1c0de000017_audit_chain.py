"""The audit trail becomes a chain, which the database refuses to change.

Entries that are there already are numbered and linked as they stand. A platform with keys vouches for them when it
starts (`trail.keeping`).

Revision a1c0de000017, after a1c0de000016; written on 2026-11-26.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from jackfield.db.models import UtcDateTime

revision = "a1c0de000017"
down_revision = "a1c0de000016"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("seq", sa.BigInteger(), True), ("actor_name", sa.String(200), False), ("token_id", sa.String(64), False),
    ("on_behalf_of", sa.String(200), False), ("plugin", sa.String(128), False), ("user_agent", sa.String(256), False),
    ("trace_id", sa.String(32), False), ("node_id", sa.String(64), False), ("previous", sa.String(64), True),
    ("hash", sa.String(64), True), ("key_id", sa.String(64), True), ("seal", sa.String(64), True),
)  # fmt: skip
"""With whether each entry has it."""
_FIELDS = (
    "tenant_id", "seq", "at", "actor", "actor_name", "token_id", "on_behalf_of", "plugin", "action", "target", "before",
    "after", "ip", "user_agent", "trace_id", "node_id", "key_id", "previous",
)  # fmt: skip
_COVERED = "SELECT 1 FROM jf_audit_checkpoints c WHERE c.tenant_id = OLD.tenant_id AND c.kind = 'prune'"
_SAYS = "the audit trail is only ever added to"
_TABLES = ("jf_audit", "jf_audit_checkpoints", "jf_audit_heads")
_POSTGRESQL = (
    f"""
    CREATE OR REPLACE FUNCTION jf_audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'jf_audit' THEN
            IF EXISTS ({_COVERED} AND c.seq >= OLD.seq) THEN
                RETURN OLD;
            END IF;
        END IF;
        RAISE EXCEPTION '{_SAYS}' USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    *(
        f"CREATE OR REPLACE TRIGGER jf_audit_guard BEFORE {what} ON {table} FOR EACH ROW "
        "EXECUTE FUNCTION jf_audit_guard()"
        for table, what in zip(_TABLES, ("UPDATE OR DELETE", "UPDATE OR DELETE", "DELETE"), strict=True)
    ),
    *(
        f"CREATE OR REPLACE TRIGGER jf_audit_whole BEFORE TRUNCATE ON {table} FOR EACH STATEMENT "
        "EXECUTE FUNCTION jf_audit_guard()"
        for table in _TABLES
    ),
)
_SQLITE = (
    *(
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{what.lower()} BEFORE {what} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{_SAYS}'); END"
        for table, what in (
            ("jf_audit", "UPDATE"), ("jf_audit_checkpoints", "UPDATE"), ("jf_audit_checkpoints", "DELETE"),
            ("jf_audit_heads", "DELETE"),
        )
    ),
    f"CREATE TRIGGER IF NOT EXISTS jf_audit_no_delete BEFORE DELETE ON jf_audit "
    f"WHEN NOT EXISTS ({_COVERED} AND c.seq >= OLD.seq) BEGIN SELECT RAISE(ABORT, '{_SAYS}'); END",
)  # fmt: skip
_BATCH = 1_000


def upgrade() -> None:
    """Apply."""
    for table in ("jf_audit_heads", "jf_audit_checkpoints"):
        is_head = table == "jf_audit_heads"
        keys = ["tenant_id"] if is_head else ["tenant_id", "kind", "seq"]
        own = (
            [sa.Column("adopted", sa.BigInteger(), server_default="0", nullable=False)]
            if is_head
            else [
                sa.Column("kind", sa.String(16), nullable=False),
                sa.Column("removed", sa.BigInteger(), nullable=False),
                sa.Column("at", UtcDateTime(timezone=True), nullable=False),
                sa.Column("key_id", sa.String(64), nullable=False),
                sa.Column("seal", sa.String(64), nullable=False),
            ]
        )
        op.create_table(
            table,
            sa.Column("tenant_id", sa.String(64), nullable=False),
            sa.Column("seq", sa.BigInteger(), nullable=False),
            sa.Column("hash", sa.String(64), nullable=False),
            *own,
            sa.PrimaryKeyConstraint(*keys, name=op.f(f"pk_{table}")),
        )
    with op.batch_alter_table("jf_audit") as batch:
        for name, kind, _ in _COLUMNS:
            batch.add_column(sa.Column(name, kind, nullable=True))
    _link()
    with op.batch_alter_table("jf_audit") as batch:
        for name, kind, is_always in _COLUMNS:
            if is_always:
                batch.alter_column(name, existing_type=kind, nullable=False)
        batch.create_unique_constraint(op.f("uq_jf_audit_tenant_id_seq"), ["tenant_id", "seq"])
        batch.drop_index("ix_jf_audit_tenant")
        batch.create_index("ix_jf_audit_target", ["tenant_id", "target", "seq"])
        batch.create_index("ix_jf_audit_actor", ["tenant_id", "actor", "seq"])
        batch.create_index("ix_jf_audit_at", ["at"])
    for statement in _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE:
        op.execute(statement)


def downgrade() -> None:
    """Take it back; what was only in the new columns is lost."""
    if op.get_bind().dialect.name == "postgresql":
        for table in _TABLES:
            op.execute(f"DROP TRIGGER IF EXISTS jf_audit_guard ON {table}")
            op.execute(f"DROP TRIGGER IF EXISTS jf_audit_whole ON {table}")
        op.execute("DROP FUNCTION IF EXISTS jf_audit_guard()")
    else:
        for name in ("no_update", "no_delete"):
            op.execute(f"DROP TRIGGER IF EXISTS jf_audit_{name}")
    with op.batch_alter_table("jf_audit") as batch:
        for index in ("ix_jf_audit_target", "ix_jf_audit_actor", "ix_jf_audit_at"):
            batch.drop_index(index)
        batch.drop_constraint(op.f("uq_jf_audit_tenant_id_seq"), type_="unique")
        for name, _, _ in _COLUMNS:
            batch.drop_column(name)
        batch.create_index("ix_jf_audit_tenant", ["tenant_id", "id"])
    op.drop_table("jf_audit_checkpoints")
    op.drop_table("jf_audit_heads")


def _link() -> None:
    """Give each entry its number and its hash, tenant by tenant, in the order in which they were written."""
    connection = op.get_bind()
    read = sa.text(
        "SELECT id, tenant_id, at, actor, action, target, before, after, ip FROM jf_audit WHERE tenant_id = :tenant_id "
        "AND id > :after ORDER BY id LIMIT :batch"
    ).columns(at=UtcDateTime(timezone=True))
    write = sa.text(
        "UPDATE jf_audit SET seq = :seq, previous = :previous, hash = :hash, key_id = 'adopted', seal = '' "
        "WHERE id = :id"
    )
    tenants = [row[0] for row in connection.execute(sa.text("SELECT DISTINCT tenant_id FROM jf_audit ORDER BY 1"))]
    for tenant_id in tenants:
        seq, previous, last = 0, "", 0
        about: dict[str, Any] = {"tenant_id": tenant_id, "batch": _BATCH}
        while rows := connection.execute(read, about | {"after": last}).mappings().all():
            for row in rows:
                seq, last = seq + 1, row["id"]
                entry = {**row, "seq": seq, "previous": previous, "key_id": "adopted"}
                entry |= {name: _plain(row[name]) for name in ("before", "after")}
                hash_ = hashlib.sha256(_canonical(entry)).hexdigest()
                connection.execute(write, {"seq": seq, "previous": previous, "hash": hash_, "id": last})
                previous = hash_
        connection.execute(
            sa.text("INSERT INTO jf_audit_heads (tenant_id, seq, hash, adopted) VALUES (:tenant, :seq, :hash, :seq)"),
            {"tenant": tenant_id, "seq": seq, "hash": previous},
        )


def _plain(value: Any) -> Any:
    """What a JSON column holds, however the driver gives it."""
    return json.loads(value) if isinstance(value, str | bytes) else value


def _canonical(entry: dict[str, Any]) -> bytes:
    at: datetime = entry["at"]
    entry = {**entry, "at": at.astimezone(UTC).isoformat(timespec="microseconds")}
    values = [entry.get(name) for name in _FIELDS]
    return msgspec.json.encode(["jackfield-audit-1", *values], order="deterministic")
