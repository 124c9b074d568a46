"""Secrets that plugins let out: found by `invocation.redaction`, counted here, and told to the tenant's admins.

One row for each handler and place, however often it happens, so nobody can fill a table by leaking. The first time is
an entry in the audit trail as well.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from jackfield.capabilities.models import SecretLeak, core
from jackfield.clock import Clock
from jackfield.db import Database
from jackfield.records import audit

__all__ = ["Leak", "LeakBook"]

_log = structlog.get_logger("jackfield.leaks")
_NOTED = 10_000
_ROWS = 200
"""Of one installation. A handler's name is the author's, and there may be any number of them."""

_table = core(SecretLeak)


@dataclass(frozen=True, slots=True)
class Leak:
    """What one handler let out in one place.

    Attributes:
        place: `result`, `log`, `error`, or the capability that it was handed to.
        is_masked: Nobody has seen it. What is put into the plugin's own storage stays as it is, and is reported.
    """

    place: str
    handler: str
    count: int
    is_masked: bool
    first_at: datetime
    last_at: datetime
    invocation_id: str


@dataclass(slots=True)
class _Noted:
    plugin: str
    count: int
    is_masked: bool
    first_at: datetime
    last_at: datetime
    invocation_id: str


class LeakBook:
    """Notes in memory, and writes down in batches."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._noted: dict[tuple[str, str, str, str], _Noted] = {}
        self._writing = asyncio.Lock()

    def note(
        self,
        tenant_id: str,
        installation_id: str,
        plugin: str,
        place: str,
        handler: str,
        invocation_id: str,
        count: int,
        *,
        is_masked: bool = True,
    ) -> None:
        """A secret stood in so many places of something that a call has left."""
        key, now = (tenant_id, installation_id, place, handler[:300]), self._clock.now()
        noted = self._noted.get(key)
        if noted is not None:
            noted.count += count
            noted.last_at, noted.invocation_id = now, invocation_id
            noted.is_masked = noted.is_masked and is_masked
        elif len(self._noted) < _NOTED:
            self._noted[key] = _Noted(plugin, count, is_masked, now, now, invocation_id)

    async def flush(self) -> None:
        """Write down what was noted. It is in the table afterwards, whoever else was about to write it."""
        async with self._writing:
            await self._flush()

    async def _flush(self) -> None:
        noted, self._noted = self._noted, {}
        by_installation: dict[tuple[str, str], list[tuple[str, str, _Noted]]] = {}
        for (tenant_id, installation_id, place, handler), one in noted.items():
            by_installation.setdefault((tenant_id, installation_id), []).append((place, handler, one))
        for (tenant_id, installation_id), leaks in sorted(by_installation.items()):
            await self._write(tenant_id, installation_id, leaks)

    async def list(self, tenant_id: str, installation_id: str) -> list[Leak]:
        """What an installation let out, the latest first."""
        await self.flush()
        query = (
            select(SecretLeak)
            .where(SecretLeak.installation_id == installation_id)
            .order_by(SecretLeak.last_at.desc(), SecretLeak.place, SecretLeak.handler)
        )
        async with self._database.read(tenant_id) as session:
            return [
                Leak(row.place, row.handler, row.count, row.is_masked, row.first_at, row.last_at, row.invocation_id)
                for row in await session.scalars(query)
            ]

    async def _write(self, tenant_id: str, installation_id: str, leaks: list[tuple[str, str, _Noted]]) -> None:
        make: Any = insert_sqlite if self._database.is_sqlite else insert_postgresql
        async with self._database.write(tenant_id) as session:
            query = select(SecretLeak.place, SecretLeak.handler).where(SecretLeak.installation_id == installation_id)
            known = {(place, handler) for place, handler in await session.execute(query)}
            for place, handler, noted in sorted(leaks, key=lambda leak: leak[:2]):
                is_new = (place, handler) not in known
                if is_new and len(known) >= _ROWS:
                    continue
                known.add((place, handler))
                put = make(_table).values(
                    installation_id=installation_id, tenant_id=tenant_id, place=place, handler=handler,
                    count=noted.count, is_masked=noted.is_masked, first_at=noted.first_at, last_at=noted.last_at,
                    invocation_id=noted.invocation_id,
                )  # fmt: skip
                put = put.on_conflict_do_update(
                    index_elements=["installation_id", "place", "handler"],
                    set_={
                        "count": _table.c.count + put.excluded.count,
                        "is_masked": _table.c.is_masked & put.excluded.is_masked,
                        "last_at": put.excluded.last_at,
                        "invocation_id": put.excluded.invocation_id,
                    },
                )
                await session.execute(put)
                if is_new:
                    _log.warning("secret-leaked", tenant=tenant_id, plugin=noted.plugin, place=place)
                    audit(
                        session, tenant_id, "platform", "plugin.secret-leak", noted.plugin,
                        after={"place": place, "handler": handler, "invocation": noted.invocation_id},
                        plugin=noted.plugin,
                    )  # fmt: skip
