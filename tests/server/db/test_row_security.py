"""PostgreSQL keeps tenants apart by itself: every table of theirs, tried without a tenant and with the wrong one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import LargeBinary, Table, delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from jackfield.capabilities.models import StorageItem
from jackfield.db import Base, Database, UtcDateTime, migrate, row_security
from jackfield.db.errors import RowSecurityMissingError, sqlstate
from jackfield.db.scopes import SCOPE, scope_of
from jackfield.jobs import OutboxEvent, outbox
from jackfield.settings import DatabaseSettings
from tests.postgres import Postgres
from tests.server.conftest import create_all

migrate.load_models()
TABLES = row_security.tenant_tables()
NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOT_PERMITTED = "42501"


def a_row(table: Table, tenant_id: str, number: int = 1) -> dict[str, Any]:
    """Something in each column that needs something."""
    values: dict[str, Any] = {}
    for column in table.columns:
        if column.name == "tenant_id":
            values["tenant_id"] = tenant_id
        elif not column.nullable and column is not table.autoincrement_column:
            values[column.name] = _something(column.type, number)
    return values


def _something(kind: TypeEngine[Any], number: int) -> Any:
    if isinstance(kind, UtcDateTime):
        return NOW
    if kind.python_type is object:  # JSON, and what is made of it
        return {}
    if isinstance(kind, LargeBinary):
        return b"x"
    return {str: f"x{number}", int: number, float: 1.0, bool: True}[kind.python_type]


async def fill(url: str) -> None:
    """Give each table a row of each of two tenants. Foreign keys lead nowhere, which only a superuser can arrange."""
    await create_all(url)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in TABLES:
            for number, tenant_id in enumerate(("acme", "rival")):
                await connection.execute(insert(table).values(a_row(table, tenant_id, number)))
    await engine.dispose()


@pytest.fixture
async def filled(postgres: Postgres) -> AsyncIterator[Database]:
    """A database with rows of two tenants in each table."""
    name = await postgres.create(await postgres.template("two-tenants", fill))
    database = Database(postgres.url(name))
    yield database
    await database.close()
    await postgres.drop(name)


def test_there_are_tables_to_try() -> None:
    assert len(TABLES) >= 20
    assert {table.name for table in TABLES} >= {"jf_storage", "jf_outbox", "jf_deliveries", "jf_installations"}


async def count(session: AsyncSession, table: Table) -> int:
    return await session.scalar(select(func.count()).select_from(table)) or 0


async def attempt(database: Database, tenant_id: str | None, statement: Any) -> str | int:
    """Rows that a statement met, or the SQLSTATE of its refusal. `tenant_id` "" stands for no scope at all."""
    try:
        if tenant_id == "":
            async with database.engine.begin() as connection:
                return (await connection.execute(statement)).rowcount
        async with database.write(tenant_id) as session:
            connection = await session.connection()
            await connection.execute(text("SET CONSTRAINTS ALL DEFERRED"))
            return (await connection.execute(statement)).rowcount
    except DBAPIError as error:
        return sqlstate(error) or "?"


async def test_without_a_tenant_nothing_is_seen_and_nothing_can_be_written(filled: Database) -> None:
    for table in TABLES:
        async with filled.engine.connect() as connection:
            assert await connection.scalar(select(func.count()).select_from(table)) == 0, table.name
        await untouchable(filled, "", table, "acme")


async def test_with_the_wrong_tenant_nothing_is_seen_and_nothing_can_be_written(filled: Database) -> None:
    for table in TABLES:
        await untouchable(filled, "stranger", table, "acme")


@pytest.mark.parametrize("wrong", ["stranger", "", "%", "acme' OR 'a'='a", "ACME", "acme\x7f", "🙂"])
async def test_a_name_that_is_not_the_tenants_opens_no_table(filled: Database, wrong: str) -> None:
    async with filled.read(wrong) as session:
        assert {table.name: await count(session, table) for table in TABLES} == dict.fromkeys(map(str, TABLES), 0)


async def untouchable(database: Database, tenant_id: str, table: Table, victim: str) -> None:
    """Whatever is tried with a table of two rows, it has these two afterwards."""
    column = next(column for column in table.columns if column.name != "tenant_id")
    assert await attempt(database, tenant_id, update(table).values({column: column})) == 0, table.name
    assert await attempt(database, tenant_id, update(table).values(tenant_id="stranger")) == 0, table.name
    assert await attempt(database, tenant_id, delete(table)) == 0, table.name
    refused = await attempt(database, tenant_id, insert(table).values(a_row(table, victim, 7)))
    assert refused == NOT_PERMITTED, table.name
    async with database.read(None) as session:
        assert await count(session, table) == 2, table.name


async def test_a_tenant_sees_its_own_rows_and_cannot_give_them_away(filled: Database) -> None:
    for table in TABLES:
        async with filled.read("acme") as session:
            found = await session.execute(select(table.c.tenant_id))
            assert [row[0] for row in found] == ["acme"], table.name
        assert await attempt(filled, "acme", update(table).values(tenant_id="rival")) == NOT_PERMITTED, table.name
        given = insert(table).values(a_row(table, "rival", 7))
        assert await attempt(filled, "acme", given) == NOT_PERMITTED, table.name


async def test_raw_sql_in_a_tenants_session_meets_its_rows_alone(filled: Database) -> None:
    async with filled.write("acme") as session:
        await session.execute(text("UPDATE jf_storage SET size_bytes = 99"))
    async with filled.read(None) as session:
        rows = await session.execute(select(StorageItem.tenant_id, StorageItem.size_bytes))
        assert {row[0]: row[1] for row in rows} == {"acme": 99, "rival": 1}


async def test_a_scope_ends_with_its_transaction(filled: Database) -> None:
    """One connection, used in turn by a tenant, the platform and nobody; nothing is left of the one before."""
    database = Database(filled.url, DatabaseSettings(pool_size=1, pool_overflow=0))
    for tenant_id, expected in (("acme", 1), (None, 2), ("stranger", 0), ("acme", 1)):
        async with database.read(tenant_id) as session:
            assert await count(session, StorageItem.__table__) == expected  # type: ignore[arg-type]
        async with database.read("acme") as session:
            await session.connection()  # opened, and never used
        async with database.engine.connect() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM jf_storage")) == 0
            await connection.rollback()
            assert await connection.scalar(text("SELECT count(*) FROM jf_storage")) == 0
        async with database.engine.connect() as connection:
            await connection.execution_options(**{SCOPE: scope_of("rival")})
            assert await connection.scalar(text("SELECT tenant_id FROM jf_storage")) == "rival"
    async with database.write("acme") as session:
        async with session.begin_nested():
            assert await count(session, StorageItem.__table__) == 1  # type: ignore[arg-type]
        assert await count(session, StorageItem.__table__) == 1  # type: ignore[arg-type]
        await session.commit()
    async with database.read("acme") as session:
        assert await count(session, StorageItem.__table__) == 1  # type: ignore[arg-type]
        await session.commit()  # and a second transaction of the same session
        assert await count(session, StorageItem.__table__) == 1  # type: ignore[arg-type]
    await database.close()


@pytest.mark.parametrize("name", ["o'hara", "a\\'b", "x'; SET LOCAL jackfield.scope TO 'platform'; --", "ünï", "a b"])
async def test_any_name_of_a_tenant_is_only_ever_a_name(filled: Database, name: str) -> None:
    async with filled.write(name) as session:
        assert await session.scalar(text("SELECT current_setting('jackfield.tenant')")) == name
        assert not await session.scalar(text("SELECT current_setting('jackfield.scope', true)"))
        assert await count(session, StorageItem.__table__) == 0  # type: ignore[arg-type]
        session.add(StorageItem(**(a_row(StorageItem.__table__, name, 8))))  # type: ignore[arg-type]
    async with filled.read(name) as session:
        assert await count(session, StorageItem.__table__) == 1  # type: ignore[arg-type]


async def test_the_owner_of_the_tables_is_held_to_it_too(postgres: Postgres, filled: Database) -> None:
    name = filled.engine.url.database or ""
    owner = f"owner_{name}"
    await postgres.run(f"CREATE ROLE {owner} LOGIN", *(f"ALTER TABLE {t.name} OWNER TO {owner}" for t in TABLES),
                       database=name)  # fmt: skip
    engine = create_async_engine(postgres.url(name, user=owner))
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM jf_storage")) == 0
    await engine.dispose()
    await postgres.run(f"REASSIGN OWNED BY {owner} TO postgres", f"DROP OWNED BY {owner}", database=name)
    await postgres.run(f"DROP ROLE {owner}")


async def test_a_session_of_the_hosts_own_can_emit_and_sees_nothing_of_ours(filled: Database) -> None:
    engine = create_async_engine(filled.url, connect_args={"server_settings": {"role": "jackfield_app"}})
    async with AsyncSession(engine) as session:
        outbox.add(session, "acme", "sale.created", {"n": 1})
        outbox.add(session, "rival", "sale.created", {"n": 2})
        await session.flush()
        assert await session.scalar(select(func.count()).select_from(OutboxEvent)) == 0
        await session.commit()
    await engine.dispose()
    async with filled.read(None) as session:
        assert await count(session, OutboxEvent.__table__) == 4  # type: ignore[arg-type]


def test_a_session_without_a_database_of_ours_is_left_alone() -> None:
    from sqlalchemy import create_engine

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        outbox.add(session, "acme", "sale.created", {})
        session.commit()
        assert session.query(OutboxEvent).count() == 1
    engine.dispose()


# -- what a start checks -----------------------------------------------------------------------------------------------


@pytest.fixture
async def migrated(postgres: Postgres) -> AsyncIterator[Database]:
    """A database that was brought up to date as a node does it."""
    name = await postgres.create()
    database = Database(postgres.url(name))
    await migrate.upgrade(database)
    yield database
    await database.close()
    await postgres.drop(name)


async def test_the_revisions_make_a_database_that_holds(migrated: Database) -> None:
    await migrate.verify(migrated)
    assert await migrate.differences(migrated) == []
    async with migrated.administer() as connection:
        assert await connection.run_sync(row_security.secure, "jackfield_app", ("postgres",)) == []


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("ALTER TABLE jf_storage NO FORCE ROW LEVEL SECURITY", "jf_storage has no forced"),
        ("ALTER TABLE jf_storage DISABLE ROW LEVEL SECURITY", "jf_storage has no forced"),
        ("DROP POLICY jackfield_tenant ON jf_outbox", "jf_outbox has the policies jackfield_platform"),
        ("CREATE POLICY more ON jf_outbox USING (true)", "jf_outbox has the policies"),
        ("ALTER POLICY jackfield_tenant ON jf_outbox TO postgres", "jf_outbox has the policies"),
        ("ALTER TABLE jf_outbox OWNER TO jackfield_app", "jf_outbox belongs to the role that serves"),
    ],
)
async def test_a_database_that_does_not_hold_is_not_served_and_the_next_start_puts_it_right(
    migrated: Database, postgres: Postgres, harm: str, says: str
) -> None:
    await postgres.run(harm, database=migrated.engine.url.database or "")
    with pytest.raises(RowSecurityMissingError, match=says) as caught:
        await migrate.verify(migrated)
    assert caught.value.code == "row-security-missing"
    assert "JACKFIELD_DATABASE_ADMIN_URL" in caught.value.hint
    await migrate.upgrade(migrated)
    if "OWNER" not in harm:
        await migrate.verify(migrated)


async def test_a_superuser_does_not_serve(migrated: Database) -> None:
    database = Database(migrated.url, DatabaseSettings(role=""))
    with pytest.raises(RowSecurityMissingError, match="superuser"):
        await migrate.verify(database)
    await database.close()


async def test_two_urls_one_that_owns_and_one_that_serves(postgres: Postgres) -> None:
    """The user who serves can log in and nothing else, until the owner lets it become the role."""
    name = await postgres.create()
    owner, login = f"o_{name}", f"l_{name}"
    await postgres.run(f"CREATE ROLE {owner} LOGIN CREATEROLE", f"CREATE ROLE {login} LOGIN",
                       f"ALTER DATABASE {name} OWNER TO {owner}")  # fmt: skip
    role = f"app_{name}"
    settings = DatabaseSettings(admin_url=postgres.url(name, user=owner), role=role)
    database = Database(postgres.url(name, user=login), settings)
    await migrate.upgrade(database)
    await migrate.verify(database)
    async with database.write("acme") as session:
        session.add(StorageItem(**a_row(StorageItem.__table__, "acme")))  # type: ignore[arg-type]
    async with database.engine.connect() as connection:
        assert await connection.scalar(text("SELECT session_user || ' ' || current_user")) == f"{login} {role}"
    # Nothing is to be done at a second start, so the one who serves could make it alone.
    alone = Database(postgres.url(name, user=login), DatabaseSettings(role=role))
    await migrate.upgrade(alone)
    await migrate.verify(alone)
    await alone.close()
    await database.close()
    await postgres.drop(name)
    await postgres.run(f"DROP ROLE {owner}, {login}, {role}")


async def test_all_revisions_can_be_taken_back(migrated: Database) -> None:
    await migrate.downgrade(migrated, "a1c0de000012")
    with pytest.raises(RowSecurityMissingError):
        await migrate.verify(migrated)
    await migrate.upgrade(migrated)
    await migrate.verify(migrated)
    first = "94bc87522692"
    await migrate.downgrade(migrated, first)
    assert await migrate.current(migrated) == first
    await migrate.upgrade(migrated)
    assert await migrate.differences(migrated) == []
    await migrate.verify(migrated)
