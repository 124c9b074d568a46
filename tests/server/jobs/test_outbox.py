"""An event is committed with the change that it tells of, in whosever transaction that is."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from jackfield.db import Database
from jackfield.db.engine import TenantMismatchError
from jackfield.jobs import (
    Dispatcher,
    DispatchSettings,
    EventNameInvalidError,
    EventPayloadInvalidError,
    OutboxEvent,
    Subscription,
    outbox,
)
from tests.server.jobs.helpers import Handler, Known, emit


async def events(database: Database) -> list[OutboxEvent]:
    async with database.read(None) as session:
        return list((await session.scalars(select(OutboxEvent).order_by(OutboxEvent.position))).all())


async def test_the_event_is_there_exactly_when_the_change_is(database: Database) -> None:
    async def fail() -> None:
        async with database.write("acme") as session:
            outbox.add(session, "acme", "sale.created", {"n": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await events(database) == []
    (event_id,) = await emit(database, {"n": 2})
    (row,) = await events(database)
    assert (row.id, row.tenant_id, row.name, row.payload, row.source) == (
        event_id, "acme", "sale.created", '{"n":2}', "host",
    )  # fmt: skip


async def test_events_of_one_transaction_keep_their_order(database: Database) -> None:
    await emit(database, *range(250))
    assert [row.payload for row in await events(database)] == [str(n) for n in range(250)]


async def test_the_payload_is_taken_as_it_is_now(database: Database) -> None:
    payload = {"items": [1]}
    async with database.write("acme") as session:
        outbox.add(session, "acme", "sale.created", payload)
        payload["items"].append(2)
    (row,) = await events(database)
    assert row.payload == '{"items":[1]}'


class Sale(msgspec.Struct):
    total: float
    at: datetime


@dataclass
class Line:
    name: str


@pytest.mark.parametrize(
    ("payload", "stored"),
    [
        (None, "null"),
        (Sale(1.5, datetime(2026, 3, 1, tzinfo=UTC)), '{"total":1.5,"at":"2026-03-01T00:00:00Z"}'),
        ([Line("tea")], '[{"name":"tea"}]'),
        ({"ü": "\0"}, '{"ü":"\\u0000"}'),
    ],
)
async def test_plain_data_structs_and_dataclasses_can_be_sent(database: Database, payload: Any, stored: str) -> None:
    await emit(database, payload)
    assert [row.payload for row in await events(database)] == [stored]


def nested(depth: int) -> list[Any]:
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    "payload", [object(), {"f": print}, {(1, 2): 3}, "\ud800", "x" * (256 * 1024), 2**70, {"a": {1j}}],
    ids=["object", "function", "odd key", "half a character", "too large", "huge number", "complex"],
)  # fmt: skip
async def test_what_is_no_plain_data_is_refused(database: Database, payload: object) -> None:
    with pytest.raises(EventPayloadInvalidError):
        await emit(database, payload)
    assert await events(database) == []


@pytest.mark.parametrize("depth", [65, 900, 100_000])
async def test_a_payload_of_great_depth_is_refused_without_harm(database: Database, depth: int) -> None:
    with pytest.raises(EventPayloadInvalidError):
        await emit(database, nested(depth))


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "a\0", "x" * 129])
async def test_a_name_that_cannot_be_one_is_refused(database: Database, name: str) -> None:
    with pytest.raises(EventNameInvalidError):
        await emit(database, {}, name=name)


async def test_a_tenants_session_cannot_emit_for_another(database: Database) -> None:
    async def misdirect() -> None:
        async with database.write("acme") as session:
            outbox.add(session, "other", "sale.created", {})

    with pytest.raises(TenantMismatchError):
        await misdirect()
    assert await events(database) == []


SLOW_POLL = DispatchSettings(poll_s=3600)


async def test_the_hosts_own_async_session_wakes_the_dispatcher_when_it_commits(database: Database) -> None:
    handler = Handler()
    dispatcher = Dispatcher(database, Known(Subscription("inst_1", "h")), handler, settings=SLOW_POLL)
    host = create_async_engine(database.url)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await dispatcher.drain()
        async with AsyncSession(host) as session:
            await session.execute(text("CREATE TABLE shop_sales (n INTEGER)"))
            await session.execute(text("INSERT INTO shop_sales VALUES (1)"))
            outbox.add(session, "acme", "sale.created", {"n": 1})
            async with session.begin_nested():  # the end of a savepoint is no commit
                outbox.add(session, "acme", "sale.created", {"n": 2})
            await session.commit()
        await handler.has_begun.wait()
        await dispatcher.drain()
        await dispatcher.stop()
    assert handler.payloads() == [{"n": 1}, {"n": 2}]
    await host.dispose()


@pytest.mark.usefixtures("on_sqlite")
async def test_the_hosts_own_sync_session_in_another_thread_does_too(database: Database) -> None:
    handler = Handler()
    dispatcher = Dispatcher(database, Known(Subscription("inst_1", "h")), handler, settings=SLOW_POLL)
    host = create_engine(database.url.replace("+aiosqlite", ""))

    def sell() -> None:
        with Session(host) as session:
            outbox.add(session, "acme", "sale.created", {"thread": threading.current_thread().name})
            session.commit()
        host.dispose()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await dispatcher.drain()
        await asyncio.to_thread(sell)
        await handler.has_begun.wait()
        await dispatcher.stop()
    assert handler.payloads()[0]["thread"] != threading.current_thread().name


async def test_a_rollback_wakes_nobody_and_the_sessions_next_commit_is_its_own(database: Database) -> None:
    woken: list[str] = []
    forget = outbox.on_commit(lambda: woken.append("x"))
    async with AsyncSession(database.engine) as session:
        outbox.add(session, "acme", "sale.created", {})
        await session.rollback()
        assert woken == []
        outbox.add(session, "acme", "sale.created", {})
        await session.commit()
        assert woken == ["x"]
        await session.execute(text("SELECT 1"))
        await session.commit()
        assert woken == ["x"]
    forget()
    await emit(database, {})
    assert woken == ["x"]


@pytest.mark.usefixtures("on_sqlite")
async def test_an_event_of_another_process_is_found_by_the_poll(database: Database) -> None:
    handler = Handler()
    dispatcher = Dispatcher(
        database, Known(Subscription("inst_1", "h")), handler, settings=DispatchSettings(poll_s=0.01)
    )
    other = create_engine(database.url.replace("+aiosqlite", ""))

    def sell() -> None:
        with other.begin() as connection:  # no session of SQLAlchemy's: nothing in this process tells of the commit
            connection.execute(
                insert(OutboxEvent).values(
                    id="evt_1", tenant_id="acme", name="sale.created", payload="1", source="host",
                    created_at=datetime.now(UTC),
                )
            )  # fmt: skip
        other.dispose()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        await dispatcher.drain()
        await asyncio.to_thread(sell)
        await handler.has_begun.wait()
        await dispatcher.stop()
    assert handler.payloads() == [1]
