"""The journal: each step fails, and the node dies at each point; nothing is ever left half done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from structlog.contextvars import get_contextvars

from jackfield.clock import SystemClock
from jackfield.db import Base, Database
from jackfield.lifecycle.errors import OperationInProgressError
from jackfield.lifecycle.journal import LEASE, Journal
from jackfield.lifecycle.models import InstallationRow, LockRow, OperationRow, StepRow
from jackfield.lifecycle.operations import Change, Effect, Order, Run, Step
from jackfield.live.models import LiveRow
from tests.server.conftest import ManualClock


async def follow(_session: AsyncSession, _tenant_id: str, _slugs: Iterable[str]) -> None:
    """Nothing depends on these plugins."""


class ToyBase(DeclarativeBase):
    """Apart from the platform's tables, which other tests compare with the migrations."""


class Mark(ToyBase):
    """What the toy steps write."""

    __tablename__ = "marks"

    tenant_id: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(40), primary_key=True)


class Crash(BaseException):
    """The node dies: nothing after it runs, no compensation either."""


class BrokenError(Exception):
    """A step fails."""


class Toy:
    """Steps that leave marks, inside the database and outside; one of them can be made to fail or to kill the node."""

    def __init__(self, fault: str = "", kind: type[BaseException] = BrokenError) -> None:
        self.fault = fault
        self.kind = kind
        self.outside: list[str] = []

    def steps(self, *, is_repeatable: bool = True, is_tolerated: bool = False) -> list[Step]:
        return [
            self.change("a"),
            self.effect("b", is_repeatable=is_repeatable, is_tolerated=is_tolerated),
            self.change("c"),
            self.effect("d", is_repeatable=is_repeatable, is_tolerated=is_tolerated),
            self.change("e"),
        ]

    def hit(self, point: str) -> None:
        if self.fault == point:
            self.fault = ""
            raise self.kind(point)

    def change(self, name: str) -> Change:
        async def do(session: AsyncSession, run: Run) -> None:
            self.hit(f"before {name}")
            session.add(Mark(tenant_id=run.tenant_id, name=name))
            await session.flush()
            self.hit(f"within {name}")

        async def undo(session: AsyncSession, _run: Run) -> None:
            self.hit(f"undo {name}")
            await session.delete(await session.get_one(Mark, name))

        return Change(name, do, undo)

    def effect(self, name: str, *, is_repeatable: bool, is_tolerated: bool) -> Effect:
        async def do(_run: Run) -> dict[str, Any]:
            self.hit(f"before {name}")
            self.outside.append(name)
            self.hit(f"within {name}")
            return {"left": name}

        async def undo(_run: Run) -> None:
            self.hit(f"undo {name}")
            self.outside.append(f"-{name}")

        return Effect(name, do, undo, is_repeatable=is_repeatable, is_tolerated=is_tolerated)


POINTS = [f"{when} {name}" for name in "abcde" for when in ("before", "within")]
ORDER = Order("toy", "t1", "plug", "default", "inst_1", {"x": 1}, frozenset({"plug", "dep"}))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'j.sqlite3'}")
    tables = [model.__table__ for model in (InstallationRow, LiveRow, OperationRow, StepRow, LockRow)]
    async with database.engine.begin() as connection:
        await connection.run_sync(lambda sync: Base.metadata.create_all(sync, tables=tables))
        await connection.run_sync(ToyBase.metadata.create_all)
    yield database
    await database.close()


def journal_of(database: Database, node: str = "node-1") -> Journal:
    return Journal(database, SystemClock(), node, lambda _tenant: None, follow)


async def marks(database: Database) -> str:
    async with database.read("t1") as session:
        return "".join(sorted(await session.scalars(select(Mark.name))))


async def operation(database: Database) -> OperationRow | None:
    async with database.read(None) as session:
        return await session.scalar(select(OperationRow))


async def locks(database: Database) -> list[str]:
    async with database.read(None) as session:
        return sorted(await session.scalars(select(LockRow.slug)))


async def recover(database: Database, toy: Toy, **options: Any) -> list[Run]:
    journal = journal_of(database, "node-2")
    return [await journal.resume(row, toy.steps(**options)) for row in await journal.open_operations(at_start=True)]


async def test_all_steps_are_done_in_order(database: Database) -> None:
    toy = Toy()
    run = await journal_of(database).run(ORDER, toy.steps())
    assert await marks(database) == "ace"
    assert toy.outside == ["b", "d"]
    assert run.results["b"] == {"left": "b"}
    assert await locks(database) == []


async def test_a_closed_operation_keeps_what_was_done_and_none_of_its_data(database: Database) -> None:
    await journal_of(database).run(ORDER, Toy().steps())
    row = await operation(database)
    assert row is not None
    assert (row.state, row.data, row.kind, row.slug) == ("done", {}, "toy", "plug")
    async with database.read(None) as session:
        steps = list(await session.scalars(select(StepRow).order_by(StepRow.position)))
    assert [(step.name, step.state, step.result) for step in steps] == [(name, "done", {}) for name in "abcde"]


@pytest.mark.parametrize("point", POINTS)
async def test_a_failing_step_takes_back_all_before_it(database: Database, point: str) -> None:
    toy = Toy(point)
    with pytest.raises(BrokenError):
        await journal_of(database).run(ORDER, toy.steps())
    assert await marks(database) == ""
    finished = [name for name in ("b", "d") if f"-{name}" in toy.outside]
    assert finished == [name for name in ("b", "d") if name < point[-1]]
    assert await locks(database) == []
    row = await operation(database)
    if point.endswith(" a"):
        assert row is None  # it had not begun
    else:
        assert row is not None
        assert (row.state, row.error_code) == ("failed", "internal-error")
        assert row.finished_at is not None


@pytest.mark.parametrize("point", POINTS)
async def test_after_a_crash_at_any_point_it_is_finished_when_every_step_may_be_repeated(
    database: Database, point: str
) -> None:
    toy = Toy(point, Crash)
    with pytest.raises(Crash):
        await journal_of(database).run(ORDER, toy.steps())
    runs = await recover(database, toy)
    if point.endswith(" a"):
        assert runs == []
        assert await marks(database) == ""
        return
    assert [run.error for run in runs] == [None]
    assert await marks(database) == "ace"
    assert {"b", "d"} <= set(toy.outside)
    assert await locks(database) == []
    row = await operation(database)
    assert row is not None
    assert row.state == "done"


@pytest.mark.parametrize("point", POINTS)
async def test_after_a_crash_at_any_point_it_is_whole_or_gone_when_effects_may_not_be_repeated(
    database: Database, point: str
) -> None:
    toy = Toy(point, Crash)
    with pytest.raises(Crash):
        await journal_of(database).run(ORDER, toy.steps(is_repeatable=False))
    await recover(database, toy, is_repeatable=False)
    uncertain = point[-1] in "bd"
    assert await marks(database) == ("" if uncertain or point.endswith(" a") else "ace")
    assert await locks(database) == []
    assert await journal_of(database, "node-3").open_operations(at_start=True) == []


@pytest.mark.parametrize("name", ["a", "b", "c"])
async def test_a_crash_while_it_is_undone_is_taken_up_where_it_stopped(database: Database, name: str) -> None:
    toy = Toy("before d")
    steps = toy.steps()

    def die_later(point: str) -> None:
        if point == "before d":
            toy.fault, toy.kind = f"undo {name}", Crash
            raise BrokenError(point)
        Toy.hit(toy, point)

    toy.hit = die_later  # type: ignore[method-assign]  # the second fault is armed by the first
    with pytest.raises(Crash):
        await journal_of(database).run(ORDER, steps)
    toy.hit = lambda point: None  # type: ignore[method-assign]
    [run] = await recover(database, toy)
    assert run.stopped_by is not None
    assert await marks(database) == ""
    row = await operation(database)
    assert row is not None
    assert (row.state, row.error_code) == ("failed", "internal-error")


async def test_a_tolerated_failure_is_recorded_and_stops_nothing(database: Database) -> None:
    toy = Toy("within b")
    run = await journal_of(database).run(ORDER, toy.steps(is_tolerated=True))
    assert await marks(database) == "ace"
    assert run.failures["b"].message == "BrokenError: within b"
    async with database.read(None) as session:
        step = await session.scalar(select(StepRow).where(StepRow.name == "b"))
    assert step is not None
    assert (step.state, step.error_code) == ("failed", "internal-error")


async def test_a_failing_compensation_outside_the_database_stops_no_other(database: Database) -> None:
    toy = Toy("within e")
    steps = toy.steps()

    def twice(point: str) -> None:
        if point in ("within e", "undo d"):
            raise BrokenError(point)

    toy.hit = twice  # type: ignore[method-assign]
    with pytest.raises(BrokenError, match="within e"):
        await journal_of(database).run(ORDER, steps)
    assert await marks(database) == ""
    assert toy.outside == ["b", "d", "-b"]


async def test_what_cannot_be_undone_stays_open_and_is_tried_again(database: Database) -> None:
    toy = Toy()
    steps = toy.steps()

    def twice(point: str) -> None:
        if point in ("within e", "undo a"):
            raise BrokenError(point)

    toy.hit = twice  # type: ignore[method-assign]
    with pytest.raises(BrokenError, match="undo a"):
        await journal_of(database).run(ORDER, steps)
    assert await marks(database) == "a"
    assert await locks(database) == ["dep", "plug"]
    await recover(database, Toy())
    assert await marks(database) == ""
    assert await locks(database) == []


async def test_a_step_that_can_give_up_ends_the_operation_as_stuck(database: Database) -> None:
    toy = Toy()
    given_up: list[str] = []

    async def give_up(_session: AsyncSession, _run: Run, error: Exception) -> None:
        given_up.append(str(error))

    def twice(point: str) -> None:
        if point in ("before c", "undo a"):
            raise BrokenError(point)

    toy.hit = twice  # type: ignore[method-assign]
    first, *rest = toy.steps()
    assert isinstance(first, Change)
    steps = [Change(first.name, first.do, first.undo, give_up), *rest]
    with pytest.raises(BrokenError, match="before c"):
        await journal_of(database).run(ORDER, steps)
    row = await operation(database)
    assert row is not None
    assert row.state == "stuck"
    assert given_up == ["undo a"]
    assert await locks(database) == []


async def test_an_open_operation_holds_its_plugins_and_no_others(database: Database) -> None:
    with pytest.raises(Crash):
        await journal_of(database).run(ORDER, Toy("before c", Crash).steps())
    other = Order("toy", "t1", "dep", "default", "inst_2", {}, frozenset({"dep"}))
    with pytest.raises(OperationInProgressError) as refused:
        await journal_of(database).run(other, Toy().steps())
    assert refused.value.data == {"slug": "dep", "kind": "toy"}
    elsewhere = Order("toy", "t2", "dep", "default", "inst_3", {}, frozenset({"dep"}))
    await journal_of(database).run(elsewhere, [Toy().change("z")])


async def test_no_transaction_is_open_while_an_effect_runs(database: Database) -> None:
    async def write_elsewhere(_run: Run) -> None:
        async with database.write("t1") as session:
            session.add(Mark(tenant_id="t1", name="z"))

    await journal_of(database).run(ORDER, [Toy().change("a"), Effect("b", write_elsewhere)])
    assert await marks(database) == "az"
    row = await operation(database)
    assert row is not None
    assert row.state == "done"


async def test_caches_hear_of_each_committed_change(database: Database) -> None:
    heard: list[str] = []
    journal = Journal(database, SystemClock(), "n", heard.append, follow)
    with pytest.raises(BrokenError):
        await journal.run(ORDER, Toy("within e").steps())
    assert heard == ["t1"] * 4  # a, c, and both taken back


async def test_a_living_nodes_operation_is_left_to_it(database: Database) -> None:
    with pytest.raises(Crash):
        await journal_of(database, "node-1").run(ORDER, Toy("before c", Crash).steps())
    assert await journal_of(database, "node-2").open_operations() == []
    [own] = await journal_of(database, "node-1").open_operations(tenant_id="t1")
    assert own.slug == "plug"
    assert await journal_of(database, "node-1").open_operations(tenant_id="t2") == []


async def test_a_lease_that_ran_out_may_be_taken_over(database: Database, clock: ManualClock) -> None:
    with pytest.raises(Crash):
        await Journal(database, clock, "node-1", lambda _tenant: None, follow).run(
            ORDER, Toy("before c", Crash).steps()
        )
    other = Journal(database, clock, "node-2", lambda _tenant: None, follow)
    assert await other.open_operations() == []
    clock.advance(LEASE.total_seconds() + 1)
    assert len(await other.open_operations()) == 1


async def test_lines_of_an_operation_say_which_and_whose(database: Database) -> None:
    toy, seen = Toy("before d"), list[dict[str, Any]]()
    journal = Journal(database, SystemClock(), "node_1", lambda _tenant: seen.append(get_contextvars()), follow)
    with pytest.raises(BrokenError):
        await journal.run(ORDER, toy.steps())
    async with database.read("t1") as session:
        (operation,) = await session.scalars(select(OperationRow))
    ids = {"tenant_id": "t1", "plugin": "plug", "installation_id": "inst_1", "operation_id": operation.id}
    assert seen
    assert all(each == ids for each in seen), "on the way back too"
    assert get_contextvars() == {}
