"""Whose rows a transaction may touch, told to PostgreSQL together with its BEGIN.

The policies of `row_security` compare a row's tenant with a setting of the transaction. To set it takes no round trip
of its own: it travels in the message that begins the transaction, and it ends with the transaction, so that no
connection carries one tenant's scope to the next user. A transaction for which nothing was said sees no tenant's rows
at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  # it has none
from sqlalchemy import Connection, Engine, ExceptionContext, event, inspect, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session, SessionTransaction, UOWTransaction

from jackfield.db.models import TenantOwned

if TYPE_CHECKING:
    _DriverConnection = object
else:
    _DriverConnection = asyncpg.Connection

__all__ = [
    "BY_KEY",
    "SCOPE",
    "SCOPE_SETTING",
    "TENANT",
    "TENANT_SETTING",
    "ScopedConnection",
    "keep_scopes",
    "scope_of",
]

TENANT_SETTING: Final = "jackfield.tenant"
SCOPE_SETTING: Final = "jackfield.scope"
TENANT: Final = "jackfield_tenant"
"""In a session's `info`: the tenant it was opened for; None for work of the platform itself."""
SCOPE: Final = "jackfield_scope"
"""Execution option of a connection without a session: what `scope_of` made."""

BY_KEY: Final = "jackfield_by_key"
"""In a session's `info`: its statements look few rows up by key or in the order of an index, however many there are.
The planner cannot know that: policies make it expect one row of a tenant's million, which it then reads and sorts."""

_BY_KEY: Final = "; SET LOCAL plan_cache_mode TO force_generic_plan" + "".join(
    f"; SET LOCAL enable_{way} TO off" for way in ("bitmapscan", "seqscan", "sort", "hashjoin", "mergejoin")
)
_PLATFORM: Final = f"SET LOCAL {SCOPE_SETTING} TO 'platform'"
_GUESTS: Final = "jackfield_guests"
_PLAIN = re.compile(r"[A-Za-z0-9_.:@-]{1,200}\Z")


def scope_of(tenant_id: str | None) -> str:
    """The statement that opens one tenant's rows, or, for None, all of them, until the transaction ends.

    It takes no parameters, so the id becomes a part of its text. One that is not plainly harmless is spelled in
    hexadecimal.
    """
    if tenant_id is None:
        return _PLATFORM
    if _PLAIN.match(tenant_id):
        return f"SET LOCAL {TENANT_SETTING} TO '{tenant_id}'"
    spelled = tenant_id.encode("utf-8", "surrogatepass").hex()
    return f"SELECT set_config('{TENANT_SETTING}', convert_from(decode('{spelled}', 'hex'), 'UTF8'), true)"


class ScopedConnection(_DriverConnection):
    """A connection of the driver that adds what was said to the next BEGIN."""

    __slots__ = ("next_scope",)

    if TYPE_CHECKING:

        def is_closed(self) -> bool: ...

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.next_scope = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """As the driver's. Without arguments a message may hold several statements."""
        if self.next_scope and query.startswith("BEGIN"):
            query, self.next_scope = f"{query} {self.next_scope}", ""
        return cast(str, await super().execute(query, *args, timeout=timeout))  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]  # the driver has no types


def keep_scopes(engine: Engine) -> None:
    """Have each transaction of this engine begin with its own scope, and with none unless somebody says so."""

    @event.listens_for(engine, "checkout")
    def _checkout(dbapi_connection: Any, _record: Any, _fairy: Any) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        driver: ScopedConnection = dbapi_connection.driver_connection
        driver.next_scope = ""
        if driver.is_closed():
            # The server went away meanwhile. To find out costs nothing; the pool then makes another connection.
            raise DisconnectionError

    @event.listens_for(engine, "handle_error")
    def _failed(context: ExceptionContext) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        # It is in the midst of something that nobody waits for any more, as when the server went away while a
        # statement was being cancelled. It serves nobody again, and what was asked is not to blame.
        if isinstance(context.original_exception.__cause__, asyncpg.InternalClientError):
            context.is_disconnect = True

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        options: Mapping[str, Any] = connection.get_execution_options()
        _driver_of(connection).next_scope = options.get(SCOPE, "")


@event.listens_for(Session, "after_begin")
def _after_begin(session: Session, transaction: SessionTransaction, connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    if transaction.nested or TENANT not in session.info or connection.dialect.name != "postgresql":
        return
    by_key = _BY_KEY if session.info.get(BY_KEY) else ""
    _driver_of(connection).next_scope = scope_of(session.info[TENANT]) + by_key


@event.listens_for(Session, "before_flush")
def _open_for_guests(session: Session, _context: UOWTransaction, _instances: Any) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    """A session of the host's own may add rows of ours, as `jobs.outbox` does; for that moment it is the platform."""
    if TENANT in session.info:
        return
    guests = [row for row in (*session.new, *session.dirty, *session.deleted) if isinstance(row, TenantOwned)]
    if guests:
        connection = session.connection(bind_arguments={"mapper": inspect(type(guests[0]))})
        if connection.dialect.name == "postgresql":
            connection.execute(text(_PLATFORM))
            session.info[_GUESTS] = connection


@event.listens_for(Session, "after_flush")
def _close_for_guests(session: Session, _context: UOWTransaction) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    connection: Connection | None = session.info.pop(_GUESTS, None)
    if connection is not None:
        connection.execute(text(f"SET LOCAL {SCOPE_SETTING} TO ''"))


def _driver_of(connection: Connection) -> ScopedConnection:
    return cast(ScopedConnection, connection.connection.driver_connection)
