"""What a handler writes and that its delivery is done become true together, or not at all."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update

from jackfield.capabilities import Gate
from jackfield.capabilities.errors import DeliveryConflictError, DeliveryWritesTooManyError, PermissionDeniedError
from jackfield.capabilities.work import WRITES
from jackfield.db import Base, Database
from jackfield.db.joint import joint
from jackfield.errors import JackfieldError
from jackfield.jobs import (
    Delivery,
    DeliveryResult,
    DeliverySnapshot,
    DeliveryTakenError,
    Dispatcher,
    DispatchSettings,
    OutboxEvent,
    RetryPolicy,
    Subscription,
)
from tests.server.capabilities.installations import Installed, installed, make_gate
from tests.server.jobs.helpers import DONE, Handler, Known, deliveries, emit, states
from tests.server.jobs.writing import Writer

WORKER = Path(__file__).with_name("writing_worker.py")
Act = Callable[[Writer], Awaitable[None]]


@pytest.fixture
def gate(database: Database) -> Gate:
    return make_gate(database)


@pytest.fixture
def plugin(gate: Gate) -> Installed:
    return installed(gate)


async def deliver(
    database: Database, plugin: Installed, act: Act, *, payloads: int = 1, ordered: bool = True, attempts: int = 1
) -> Handler:
    """Events, and a handler that writes; what `settle` raises becomes the delivery's error."""

    async def run(delivery: DeliverySnapshot) -> DeliveryResult:
        writer = Writer(plugin, delivery)
        try:
            await act(writer)
            await writer.settle()
        except JackfieldError as error:
            return DeliveryResult("retry", error.code, str(error))
        return DONE

    handler = Handler(run)
    known = Known(Subscription("inst_a", "h", ordered, attempts))
    fast = DispatchSettings(retry=RetryPolicy(base_s=0.001, limit_s=0.01), lease_s=5.0)
    dispatcher = Dispatcher(database, known, handler, settings=fast)
    await emit(database, *range(payloads))
    async with asyncio.timeout(60):
        await dispatcher.drain()
        while any(row.place is not None for row in await deliveries(database)):
            await asyncio.sleep(0.005)
            await dispatcher.drain()
    return handler


async def test_a_handler_reads_what_it_wrote_and_nobody_else_does_before_its_end(
    database: Database, plugin: Installed
) -> None:
    async def act(writer: Writer) -> None:
        await writer.call("storage", "set", key="a", value=1)
        assert await writer.call("storage", "increment", key="a", by=2) == 3
        row = await writer.call("tables", "insert", table="ledger", row={"customer": "x", "points": 5})
        await writer.call("tables", "update", table="ledger", id=row["id"], changes={"points": 6})
        found = await writer.call("tables", "find", table="ledger", where=[["points", "gt", 5]])
        assert [one["id"] for one in found] == [row["id"]]
        assert [pair[1] for pair in (await writer.call("storage", "items"))["items"]] == [3]
        entry = await writer.call("storage", "entry", key="a")
        assert await writer.call("storage", "compare_and_set", key="a", value=4, version=entry["version"])
        await writer.call("events", "emit", name="loyalty.awarded", payload={"points": 6})
        for n in range(40):  # faster than a millisecond each; they stay in this order all the same
            await writer.call("tables", "insert", table="ledger", row={"customer": "many", "points": n})
        # Outside of the handler nothing of it is there.
        assert (await plugin.call("storage", "get", key="a"))["found"] is False
        assert await plugin.call("tables", "count", table="ledger") == 0
        assert joint.get() is None
        await writer.settle()
        with pytest.raises(DeliveryTakenError):  # what comes too late would be lost without a word
            await writer.call("storage", "set", key="late", value=1)

    await deliver(database, plugin, act)
    assert (await plugin.call("storage", "get", key="a"))["value"] == 4
    row, *many = await plugin.call("tables", "find", table="ledger")
    assert (row["points"], [one["points"] for one in many]) == (6, [*range(40)])
    done, _ = await deliveries(database)  # the other one is of what it emitted
    assert (done.state, done.place, done.lease_owner, done.failures) == ("done", None, None, 0)


async def test_a_handler_that_fails_leaves_nothing_behind(database: Database, plugin: Installed) -> None:
    async def act(writer: Writer) -> None:
        await writer.call("storage", "set", key="a", value=1)
        await writer.call("tables", "insert", table="cards", row={"number": "1", "shop": "s"})
        await writer.call("events", "emit", name="loyalty.awarded", payload={"points": 1})
        await writer.call("tables", "insert", table="cards", row={"number": "1", "shop": "s"})

    await deliver(database, plugin, act, attempts=2)
    (row,) = await deliveries(database)
    assert (row.state, row.error_code, row.failures) == ("dead", "unique-violation", 2)
    assert (await plugin.call("storage", "get", key="a"))["found"] is False
    assert await plugin.call("tables", "count", table="cards") == 0
    async with database.read(None) as session:
        assert await session.scalar(select(func.count()).select_from(OutboxEvent)) == 1


async def test_an_attempt_whose_delivery_was_taken_over_writes_nothing(database: Database, plugin: Installed) -> None:
    async def act(writer: Writer) -> None:
        await writer.call("storage", "set", key="a", value=1)
        async with database.write(None) as session:
            await session.execute(update(Delivery).values(lease_owner="another", attempt=Delivery.attempt + 1))
        with pytest.raises(DeliveryTakenError):
            await writer.settle()
        async with database.write(None) as session:  # and one whose plugin is removed: its deliveries go with it
            await session.execute(delete(Delivery))
        with pytest.raises(DeliveryTakenError):
            await writer.settle()
        raise DeliveryTakenError("so it is")

    await deliver(database, plugin, act)
    assert await deliveries(database) == []
    assert (await plugin.call("storage", "get", key="a"))["found"] is False


async def test_what_was_told_must_come_true_or_the_handler_runs_again(database: Database, plugin: Installed) -> None:
    told: list[int] = []

    async def act(writer: Writer) -> None:
        told.append(await writer.call("storage", "increment", key="n", by=1))
        if len(told) < 3:
            await plugin.call("storage", "increment", key="n", by=10)  # somebody else, meanwhile

    await deliver(database, plugin, act)
    assert told == [1, 11, 21]
    assert (await plugin.call("storage", "get", key="n"))["value"] == 21
    (row,) = await deliveries(database)
    assert (row.state, row.attempt, row.failures) == ("done", 1, 0)


async def test_many_at_once_that_count_in_one_place_lose_none(database: Database, plugin: Installed) -> None:
    async def act(writer: Writer) -> None:
        await writer.call("storage", "increment", key="n", by=1)

    await deliver(database, plugin, act, payloads=12, ordered=False)
    assert (await plugin.call("storage", "get", key="n"))["value"] == 12
    assert await states(database) == ["done"] * 12


async def test_limits_and_withdrawn_grants_hold(database: Database, plugin: Installed, gate: Gate) -> None:
    async def too_many(writer: Writer) -> None:
        for n in range(WRITES):
            await writer.call("events", "emit", name="loyalty.awarded", payload={"points": n})
        with pytest.raises(DeliveryWritesTooManyError):
            await writer.call("events", "emit", name="loyalty.awarded", payload={"points": 0})
        raise DeliveryWritesTooManyError(1, 1)

    await deliver(database, plugin, too_many)

    async def withdrawn(writer: Writer) -> None:
        await writer.call("storage", "set", key="a", value=1)
        writer.plugin = writer.plugin.holding([])  # the tenant takes it back meanwhile
        with pytest.raises(PermissionDeniedError):
            await writer.settle()
        raise DeliveryConflictError

    await deliver(database, installed(gate, installation="inst_a"), withdrawn)
    assert (await plugin.call("storage", "get", key="a"))["found"] is False
    assert {row.error_code for row in await deliveries(database)} == {"delivery-writes-too-many", "delivery-conflict"}


@pytest.mark.usefixtures("on_sqlite")
async def test_kill_9_between_a_handlers_writes_and_its_end_has_one_effect(database: Database) -> None:
    chance, total, kills = random.Random(3), 12, 0
    await emit(database, *range(total))

    def storm() -> int:
        count = 0
        for _ in range(4):
            with subprocess.Popen(
                [sys.executable, "-m", "tests.server.jobs.writing_worker", database.url],
                stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
            ) as worker:  # fmt: skip
                assert worker.stdout is not None
                for _ in range(chance.randint(2, 12)):
                    worker.stdout.readline()
                worker.send_signal(signal.SIGKILL)
                count += worker.wait() == -signal.SIGKILL
        subprocess.run(
            [sys.executable, "-m", "tests.server.jobs.writing_worker", database.url],
            check=True, timeout=60, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        return count

    kills = await asyncio.to_thread(storm)
    assert kills >= 3
    plugin = installed(make_gate(database))
    for name in ("h", "free"):
        assert (await plugin.call("storage", "get", key=f"{name}.count"))["value"] == total
        assert (await plugin.call("storage", "get", key=f"{name}.sum"))["value"] == sum(range(total))
        found = await plugin.call("tables", "find", table="ledger", where=[["customer", "eq", name]], limit=1000)
        assert sorted(row["points"] for row in found) == list(range(total))
    async with database.read(None) as session:
        emitted = select(func.count()).select_from(OutboxEvent).where(OutboxEvent.name == "loyalty.awarded")
        assert await session.scalar(emitted) == 2 * total


KEYS, NUMBERS = st.sampled_from("ab"), st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, NUMBERS),
        st.tuples(st.just("increment"), KEYS, NUMBERS),
        st.tuples(st.just("swap"), KEYS, NUMBERS),
        st.tuples(st.just("delete"), KEYS, NUMBERS),
        st.tuples(st.just("delete_prefix"), KEYS, NUMBERS),
        st.tuples(st.just("get"), KEYS, NUMBERS),
        st.tuples(st.just("keys"), KEYS, NUMBERS),
        st.tuples(st.just("insert"), KEYS, NUMBERS),
        st.tuples(st.just("card"), KEYS, NUMBERS),
        st.tuples(st.just("upsert"), KEYS, NUMBERS),
        st.tuples(st.just("update"), KEYS, NUMBERS),
        st.tuples(st.just("update_many"), KEYS, NUMBERS),
        st.tuples(st.just("remove"), KEYS, NUMBERS),
        st.tuples(st.just("find"), KEYS, NUMBERS),
    ),
    max_size=14,
)


async def play(call: Callable[..., Awaitable[Any]], steps: list[tuple[str, str, int]]) -> list[Any]:
    """Do the steps; what each answered, with rows named by when they were made."""
    answers: list[Any] = []
    made: dict[str, str] = {}

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: made.setdefault(item, f"row {len(made)}") if key == "id" else named(item)
                    for key, item in value.items()}  # fmt: skip
        return [named(item) for item in value] if isinstance(value, list) else value

    for name, key, n in steps:
        row = {"number": key, "shop": n % 2}
        ids = list(made)
        id = ids[n % len(ids)] if ids else "row_none"
        operations: dict[str, tuple[str, str, dict[str, Any]]] = {
            "set": ("storage", "set", {"key": key, "value": n}),
            "increment": ("storage", "increment", {"key": key, "by": n}),
            "swap": ("storage", "compare_and_set", {"key": key, "expected": n, "value": n + 1}),
            "delete": ("storage", "delete", {"key": key}),
            "delete_prefix": ("storage", "delete_prefix", {"prefix": key}),
            "get": ("storage", "get", {"key": key}),
            "keys": ("storage", "keys", {}),
            "insert": ("tables", "insert", {"table": "ledger", "row": {"customer": key, "points": n}}),
            "card": ("tables", "insert", {"table": "cards", "row": row}),
            "upsert": ("tables", "upsert", {"table": "cards", "unique": ["number", "shop"], "row": row}),
            "update": ("tables", "update", {"table": "ledger", "id": id, "changes": {"points": n + 1}}),
            "update_many": (
                "tables", "update_many", {"table": "ledger", "where": [["points", "gt", n]], "changes": {"note": key}},
            ),
            "remove": ("tables", "delete", {"table": "cards" if n % 2 else "ledger", "id": id}),
            "find": ("tables", "find", {"table": "cards" if n % 2 else "ledger", "order": ["id"]}),
        }  # fmt: skip
        capability, operation, arguments = operations[name]
        try:
            answers.append(named(await call(capability, operation, **arguments)))
        except JackfieldError as error:
            answers.append(error.code)
    return answers


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=STEPS, steps=STEPS)
def test_staged_operations_are_what_they_would_be_at_once(
    tmp_path: Path, before: list[tuple[str, str, int]], steps: list[tuple[str, str, int]]
) -> None:
    """Two installations begin alike; one does the steps in a delivery, the other at once."""

    async def both() -> None:
        database = Database(f"sqlite+aiosqlite:///{tmp_path}/staged.db")
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
        gate = make_gate(database)
        plugin, other = installed(gate), installed(gate, installation="inst_b")
        await play(plugin.call, before)
        await play(other.call, before)
        staged: list[list[Any]] = []

        async def act(writer: Writer) -> None:
            staged.append(await play(writer.call, steps))

        await deliver(database, plugin, act)
        assert staged == [await play(other.call, steps)]
        look = [("keys", "a", 0), ("get", "a", 0), ("get", "b", 0), ("find", "a", 0), ("find", "a", 1)]
        assert await play(plugin.call, look) == await play(other.call, look)
        await database.close()

    asyncio.run(both())
