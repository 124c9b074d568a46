"""What the database itself refuses to do to the audit trail, whoever asks: statements of its own, by dialect.

An entry is never changed, and deleted only when a checkpoint covers it, which only `trail.pruning` writes. Whoever owns
the tables can take the guards away; what is done then is found by `trail.verifying`. The revision a1c0de000017 has a
copy of these statements, that stays as it was.
"""

from __future__ import annotations

from typing import Final

__all__ = ["GUARDS"]

_COVERED = "SELECT 1 FROM jf_audit_checkpoints c WHERE c.tenant_id = OLD.tenant_id AND c.kind = 'prune'"
_SAYS = "the audit trail is only ever added to"

_POSTGRESQL: Final = (
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
        for table, what in (
            ("jf_audit", "UPDATE OR DELETE"), ("jf_audit_checkpoints", "UPDATE OR DELETE"),
            ("jf_audit_heads", "DELETE"),
        )
    ),
    *(
        f"CREATE OR REPLACE TRIGGER jf_audit_whole BEFORE TRUNCATE ON {table} FOR EACH STATEMENT "
        "EXECUTE FUNCTION jf_audit_guard()"
        for table in ("jf_audit", "jf_audit_checkpoints", "jf_audit_heads")
    ),
)  # fmt: skip

_SQLITE: Final = (
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

GUARDS: Final = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}
