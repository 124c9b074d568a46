"""Engine and sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine, StaticPool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction, with_loader_criteria
from sqlalchemy.pool import ConnectionPoolEntry

from jackfield.db.connecting import admin_options, pool_options
from jackfield.db.joint import joint
from jackfield.db.models import TenantOwned
from jackfield.db.scopes import BY_KEY, TENANT, keep_scopes
from jackfield.db.statements import count_statements
from jackfield.ids import new_id
from jackfield.settings import DatabaseSettings

__all__ = ["NODE", "Database", "TenantMismatchError"]

NODE = "jackfield_node"
"""In a session's `info`: who opened it."""
_WRITES = "jackfield_writes"

T = TypeVar("T")


class TenantMismatchError(RuntimeError):
    """Code tried to write another tenant's row; a defect, never a user's error."""


class Database:
    """Hands out sessions.

    Args:
        url: SQLAlchemy URL with an async driver.
        settings: How to connect to PostgreSQL.

    Attributes:
        engine: Where all work is done; on PostgreSQL as a role that sees of tenants' rows only what its transaction
            was begun for.
        node_id: Tells this process's work from that of others on the same database.
    """

    def __init__(self, url: str, settings: DatabaseSettings | None = None) -> None:
        self.url = url
        self.settings = settings or DatabaseSettings()
        self.node_id = new_id("node")
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        # Errors of the database reach logs; what was to be stored may be secret and must not.
        options: dict[str, Any] = {"hide_parameters": True}
        options |= {"connect_args": {"timeout": 15}} if self.is_sqlite else pool_options(self.settings)
        self.engine: AsyncEngine = create_async_engine(url, **options)
        if self.is_sqlite:
            _tune_sqlite(self.engine.sync_engine)
        else:
            keep_scopes(self.engine.sync_engine)
        count_statements(self.engine.sync_engine)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._writer = asyncio.Lock()
        self._at_once: Engine | None = None
        self._thread: ThreadPoolExecutor | None = None

    @asynccontextmanager
    async def read(self, tenant_id: str | None) -> AsyncGenerator[AsyncSession]:
        """A session that only reads. `tenant_id=None` is for work of the platform itself, which sees all tenants."""
        joined = joint.get()
        if joined is not None and joined.tenant_id == tenant_id and joined.engine is self.engine:
            yield joined.session
            return
        async with self._sessions(info={TENANT: tenant_id, _WRITES: False}) as session:
            yield session

    @asynccontextmanager
    async def write(self, tenant_id: str | None) -> AsyncGenerator[AsyncSession]:
        """A transaction: committed when the block ends, rolled back when it raises.

        Keep it short, and never run plugin code in it: on SQLite it is the only writer of the process. Work that is
        part of a larger transaction gets that one, and whoever began it ends it.
        """
        joined = joint.get()
        if joined is not None and joined.tenant_id == tenant_id and joined.engine is self.engine:
            yield joined.session
            return
        if self.is_sqlite:
            async with self._writer, self._transaction(tenant_id) as session:
                yield session
        else:
            async with self._transaction(tenant_id) as session:
                yield session

    @asynccontextmanager
    async def _transaction(self, tenant_id: str | None) -> AsyncGenerator[AsyncSession]:
        async with (
            self._sessions(info={TENANT: tenant_id, _WRITES: True, NODE: self.node_id}) as session,
            session.begin(),
        ):
            if self.is_sqlite:
                # Take the write lock at once: upgrading a read transaction later can fail without waiting.
                await session.connection(execution_options={"jackfield_immediate": True})
            yield session

    async def transact(self, work: Callable[[Session], T], *, is_by_key: bool = False) -> T:
        """One transaction of the platform's own, across tenants. `work` only asks the database, and computes.

        On SQLite all of it happens in one go in a thread, instead of a hand-over for each statement.

        Args:
            is_by_key: See `scopes.BY_KEY`.
        """
        if not self.is_sqlite or self._is_in_memory:
            async with self.write(None) as session:
                session.info[BY_KEY] = is_by_key
                return await session.run_sync(work)
        async with self._writer:
            doing = asyncio.get_running_loop().run_in_executor(self._worker(), self._do, work)
            try:
                return await asyncio.shield(doing)
            except asyncio.CancelledError:
                # The thread goes on; the next writer has to wait for it all the same.
                await asyncio.wait([doing])
                raise

    def _do(self, work: Callable[[Session], T]) -> T:
        if self._at_once is None:
            self._at_once = create_engine(
                make_url(self.url).set(drivername="sqlite"), poolclass=StaticPool, hide_parameters=True,
                connect_args={"timeout": 15, "check_same_thread": False},
            )  # fmt: skip
            _tune_sqlite(self._at_once)
        info = {TENANT: None, _WRITES: True, NODE: self.node_id}
        with Session(self._at_once, info=info) as session, session.begin():
            session.connection(execution_options={"jackfield_immediate": True})
            return work(session)

    def _worker(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "jackfield-db")
        return self._thread

    @property
    def _is_in_memory(self) -> bool:
        return make_url(self.url).database in (None, "", ":memory:")

    @asynccontextmanager
    async def administer(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that may change the schema, on PostgreSQL as the owner of the tables; the caller commits.

        Row-level security holds in it as well: of tenants' rows it sees none.
        """
        if self.is_sqlite:
            async with self._writer, self.engine.connect() as connection:
                await connection.execution_options(jackfield_immediate=True)
                yield connection
            return
        url = self.settings.admin_url or self.url
        engine = create_async_engine(url, hide_parameters=True, **admin_options(self.settings))
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            await engine.dispose()

    async def close(self) -> None:
        """Give back all connections; one that is still at work is closed when its work ends."""
        if not event.contains(self.engine.sync_engine.pool, "checkin", _close_returned):
            # Without this it would go back to a pool that nobody looks at any more, and stay open.
            event.listen(self.engine.sync_engine.pool, "checkin", _close_returned)
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        if self._at_once is not None:
            self._at_once.dispose()
            self._at_once = None
        await self.engine.dispose()


def _close_returned(connection: Any, record: ConnectionPoolEntry) -> None:
    if connection is not None:
        record.close()


def _tune_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-20000",
            "temp_store=MEMORY",
            "trusted_schema=OFF",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        immediate = connection.get_execution_options().get("jackfield_immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@event.listens_for(Session, "do_orm_execute")
def _scope(state: ORMExecuteState) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    """Every ORM statement of a tenant's session is narrowed to that tenant."""
    tenant_id = state.session.info.get(TENANT)
    if tenant_id is None or state.is_column_load or state.is_relationship_load:
        return
    state.statement = state.statement.options(
        with_loader_criteria(TenantOwned, lambda cls: cls.tenant_id == tenant_id, include_aliases=True)
    )


@event.listens_for(Session, "before_flush")
def _own(session: Session, _context: UOWTransaction, _instances: Any) -> None:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    """New rows of a tenant's session belong to that tenant; touching another's is a defect."""
    tenant_id = session.info.get(TENANT)
    if tenant_id is None:
        return
    for row in (*session.new, *session.dirty, *session.deleted):
        if isinstance(row, TenantOwned):
            if row.tenant_id is None:  # pyright: ignore[reportUnnecessaryComparison]  # unset until the first flush
                row.tenant_id = tenant_id
            elif row.tenant_id != tenant_id:
                raise TenantMismatchError(f"{type(row).__name__} of {row.tenant_id} in a session of {tenant_id}")
