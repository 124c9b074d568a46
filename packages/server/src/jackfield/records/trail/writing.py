"""Adding to the trail: each change that somebody makes leaves an entry in the same transaction as the change.

`audit` only notes the entry. The chain is gone on with when the transaction is about to commit, so that writers of one
tenant wait for each other for as short a time as possible: whoever adds holds the tenant's head until the commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy import Connection, Table, bindparam, event, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from jackfield.db import Database
from jackfield.db.engine import NODE, TenantMismatchError
from jackfield.db.scopes import TENANT
from jackfield.http import origin
from jackfield.records.models import AuditCheckpoint, AuditEntry, AuditHead
from jackfield.records.trail.chain import AuditKeys, digest
from jackfield.telemetry import redact
from jackfield.tracing import incoming, trace_id_of

__all__ = ["PLATFORM", "UNSEALED", "audit", "lock_head", "use_keys"]

PLATFORM: Final = "-"
"""Stands for the tenant in entries about the platform itself. No tenant can have this id."""
UNSEALED: Final = "none"
"""Stands for the key in databases that no platform serves, as in tests. No platform takes such an entry for sealed."""

_PENDING: Final = "jackfield_audit"
_VALUE_BYTES: Final = 16 * 1024
"""Of `before` and of `after`, each, as JSON."""
_TEXT_CHARS: Final = 1_000
_LIMITS: Final = {
    "actor": 200, "actor_name": 200, "token_id": 64, "on_behalf_of": 200, "plugin": 128, "action": 64, "target": 255,
    "ip": 64, "user_agent": 256, "trace_id": 32, "node_id": 64,
}  # fmt: skip

_keys: MutableMapping[Engine, AuditKeys] = WeakKeyDictionary()

_ENTRIES = cast(Table, AuditEntry.__table__)
_HEADS = cast(Table, AuditHead.__table__)
_CHECKPOINTS = cast(Table, AuditCheckpoint.__table__)
_LOCK = select(_HEADS.c.seq, _HEADS.c.hash).where(_HEADS.c.tenant_id == bindparam("p_tenant")).with_for_update()
_MOVE = update(_HEADS).where(_HEADS.c.tenant_id == bindparam("p_tenant"))
_LAST = (
    select(_ENTRIES.c.seq, _ENTRIES.c.hash)
    .where(_ENTRIES.c.tenant_id == bindparam("p_tenant"))
    .order_by(_ENTRIES.c.seq.desc())
    .limit(1)
)
_LAST_CHECKPOINT = (
    select(_CHECKPOINTS.c.seq, _CHECKPOINTS.c.hash)
    .where(_CHECKPOINTS.c.tenant_id == bindparam("p_tenant"))
    .order_by(_CHECKPOINTS.c.seq.desc())
    .limit(1)
)


def use_keys(database: Database, keys: AuditKeys) -> None:
    """Seal what is added through this database with these keys."""
    _keys[database.engine.sync_engine] = keys


def audit(
    session: AsyncSession,
    tenant_id: str | None,
    actor: str,
    action: str,
    target: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    ip: str | None = None,
    *,
    plugin: str | None = None,
    on_behalf_of: str | None = None,
) -> None:
    """Add an entry to the caller's transaction: it is there exactly when the change is.

    Where the request comes from is added when the actor is the one who makes it.

    Args:
        actor: `Caller.subject`, or the part of the platform that acted.
        action: `noun.verb`, as `plugin.install`.
        before, after: Plain data. What looks like a secret is masked; what is too long is left out, and told to be.
        plugin: Whom it concerns, or who acted, by slug.
        on_behalf_of: Who had asked for what the platform or a plugin did.
    """
    owner = tenant_id or PLATFORM
    sync = session.sync_session
    scope = sync.info.get(TENANT)
    if scope is not None and scope != owner:
        raise TenantMismatchError(f"an audit entry of {owner} in a session of {scope}")
    entry: dict[str, Any] = {
        "tenant_id": owner,
        "at": datetime.now(UTC),
        "actor": actor,
        "action": action,
        "target": target,
        "plugin": plugin,
        "on_behalf_of": on_behalf_of,
        "node_id": sync.info.get(NODE),
        "trace_id": trace_id_of(incoming.get()),
        **_from_where(actor, ip),
    }
    entry = {name: _text(value, _LIMITS[name]) if name in _LIMITS else value for name, value in entry.items()}
    entry |= {"before": _bounded(before), "after": _bounded(after)}
    # Beside the savepoint that it was added in, which may be rolled back alone.
    sync.info.setdefault(_PENDING, []).append((sync.get_nested_transaction(), entry))


def lock_head(connection: Connection, tenant_id: str) -> tuple[int, str]:
    """Hold the end of a chain until the transaction ends; number and hash of its last entry."""
    about = {"p_tenant": tenant_id}
    found = connection.execute(_LOCK, about).first()
    if found is None:
        # A trail without a head is that of a new tenant, or somebody took the head away: then it goes on from what is
        # there. What is missing will be found.
        last = connection.execute(_LAST, about).first() or connection.execute(_LAST_CHECKPOINT, about).first()
        dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
        seq, hash_ = (0, "") if last is None else last
        made = dialect.insert(_HEADS).values(tenant_id=tenant_id, seq=seq, hash=hash_).on_conflict_do_nothing()
        connection.execute(made)
        found = connection.execute(_LOCK, about).one()
    return int(found[0]), str(found[1])


@event.listens_for(Session, "before_commit")
def _go_on(session: Session) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    if _PENDING not in session.info or session.in_nested_transaction():
        return
    # All other work first: nobody is to wait for the head meanwhile.
    session.flush()
    by_tenant: dict[str, list[dict[str, Any]]] = {}
    for _savepoint, entry in session.info.pop(_PENDING):
        by_tenant.setdefault(entry["tenant_id"], []).append(entry)
    connection = session.connection()
    # In one order on all nodes, so that two of them never wait for each other.
    for tenant_id in sorted(by_tenant):
        _append(connection, tenant_id, by_tenant[tenant_id])


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, previous: SessionTransaction) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    if _PENDING not in session.info:
        return
    if not previous.nested:
        del session.info[_PENDING]
        return
    session.info[_PENDING] = [
        (savepoint, entry) for savepoint, entry in session.info[_PENDING] if not _is_within(savepoint, previous)
    ]


def _is_within(savepoint: SessionTransaction | None, other: SessionTransaction) -> bool:
    while savepoint is not None:
        if savepoint is other:
            return True
        savepoint = savepoint.parent
    return False


def _append(connection: Connection, tenant_id: str, entries: list[dict[str, Any]]) -> None:
    keys = _keys.get(connection.engine)
    seq, hash_ = lock_head(connection, tenant_id)
    for entry in entries:
        seq += 1
        entry |= {"seq": seq, "previous": hash_, "key_id": UNSEALED if keys is None else keys.current}
        hash_ = digest(entry)
        entry |= {"hash": hash_, "seal": "" if keys is None else keys.seal(hash_)}
    connection.execute(insert(_ENTRIES), entries)
    connection.execute(_MOVE.values(seq=seq, hash=hash_), {"p_tenant": tenant_id})


def _from_where(actor: str, ip: str | None) -> dict[str, Any]:
    found = origin()
    told: dict[str, Any] = {"ip": ip, "user_agent": None, "actor_name": None, "token_id": None}
    if found is None:
        return told
    caller = found.caller
    # Work that a request has started may go on in a task of its own, for somebody else. What nobody has shown a token
    # for (the last step of OAuth 2) is told as well, unless it is the platform's own doing.
    is_theirs = not actor.startswith("platform") if caller is None else caller.subject == actor
    if is_theirs:
        told |= {"ip": ip or found.ip, "user_agent": found.user_agent}
        if caller is not None:
            told |= {"actor_name": caller.token_name, "token_id": caller.token_id}
    return told


def _text(value: str | None, limit: int) -> str | None:
    """Text that any database takes: PostgreSQL refuses NUL and what is too long for its column."""
    if value is None:
        return None
    return value[:limit].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _bounded(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Plain data as the trail keeps it: what comes back from the database is what the hash was made of."""
    if value is None:
        return None
    data = _encoded(_clean(redact(value)))
    if len(data) > _VALUE_BYTES:
        data = _encoded(_clean(redact(value), _TEXT_CHARS))
    if len(data) > _VALUE_BYTES:
        told = {"left_out": True, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        data = _encoded({**told, "names": [str(name)[:100] for name in list(_clean(value))[:50]]})
    return msgspec.json.decode(data, type=dict[str, Any])


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


def _clean(value: Any, limit: int | None = None) -> Any:
    """The same without what a text may hold and no database takes; with a limit, long texts are cut."""
    if isinstance(value, str):
        text = value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        return text if limit is None or len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
    if isinstance(value, Mapping):
        return {_clean(str(name)): _clean(item, limit) for name, item in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, limit) for item in cast(Any, value)]
    return value
