"""A breaker opens by the numbers of `engine.md`, outlives its node, and all nodes on one database have the same."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.clock import SystemClock
from jackfield.db import Database
from jackfield.health import breaker_figures, examine
from jackfield.health.announcing import SENDER, Announcing
from jackfield.health.breaker_book import BreakerBook
from jackfield.health.breakers import BreakerChange, Breakers
from jackfield.health.models import BreakerRow
from jackfield.invocation import Invocation, Outcome
from jackfield.jobs import Delivery
from jackfield.lifecycle.models import InstallationRow
from jackfield.live.models import LiveRow
from jackfield.notifications import Notifications
from jackfield.notifications.models import EndpointRow, NotificationDelivery, NotificationRow
from jackfield.records.models import AuditEntry
from jackfield.settings import BreakerSettings
from jackfield.tenants import Member
from jackfield_sdk.wire import Failure
from tests.server.conftest import ManualClock

SETTINGS = BreakerSettings(in_a_row=3, open_s=30)
FAILED = Outcome("inv_1", "error", failure=Failure("plugin-error", "the disk is full"))


class Node(Announcing):
    """The breakers of one process, and its book; what it told is kept."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.breakers = Breakers(SETTINGS, clock)
        self.told: list[BreakerChange] = []
        super().__init__(Notifications(database, clock=clock))
        self.book = BreakerBook(database, self.breakers, clock, self)

    async def announce(self, session: AsyncSession, change: BreakerChange, until: datetime) -> None:
        self.told.append(change)
        await super().announce(session, change, until)

    def fail(self, invocation: Invocation, times: int = 3) -> None:
        for _ in range(times):
            self.breakers.settle(invocation, FAILED)

    def states(self, revision: int = 1) -> list[tuple[str, str, int]]:
        return [(one.handler, one.state, one.failures) for one in self.breakers.report("inst_1", revision)]


def call(revision: int = 1, installation_id: str = "inst_1") -> Invocation:
    class Installed:
        id, tenant_id, slug = installation_id, "acme", "points"

    Installed.revision = revision  # type: ignore[attr-defined]  # all that breakers look at
    return Invocation(cast("Any", Installed), "event", "sale.created", "award", None, 1000)


def test_it_opens_after_20_failures_that_are_35_percent_within_5_minutes_and_lets_one_call_through_after_120_s(
    clock: ManualClock,
) -> None:
    def after(failures: int, successes: int, pause_s: float = 0) -> tuple[Breakers, bool]:
        breakers = Breakers(BreakerSettings(), clock)
        for number in range(failures):
            breakers.settle(call(), FAILED)
            if number == 0:
                for _ in range(successes):
                    breakers.settle(call(), Outcome("inv_2", "ok"))
                clock.advance(pause_s)
        return breakers, breakers.admit(call()) is not None

    assert not after(19, 0)[1]
    assert not after(20, 0, pause_s=300)[1], "the first was too long ago"
    assert not after(20, 38)[1], "20 of 58"
    breakers, is_open = after(20, 37)
    assert is_open
    (left,) = breakers.report("inst_1", 1)
    assert (left.failures, left.retry_after_s, (left.until - clock.now()).total_seconds()) == (20, 120.0, 120.0)
    clock.advance(119.9)
    assert breakers.admit(call()) is not None
    clock.advance(0.1)
    assert [breakers.admit(call()) is None for _ in range(3)] == [True, False, False]


async def install(database: Database, clock: ManualClock) -> None:
    clock.moment = SystemClock().now()
    async with database.write("acme") as session:
        session.add(
            InstallationRow(
                id="inst_1", tenant_id="acme", slug="points", instance="default", version="1.0.0", state="active",
                grants=[], grant_filters={}, config={}, revision=1, installed_at=clock.now(), updated_at=clock.now(),
            )
        )  # fmt: skip


async def test_of_all_nodes_that_see_it_one_tells_owners_and_admins_once_when_it_opens_and_when_it_closes(
    either_database: Database, clock: ManualClock
) -> None:
    await install(either_database, clock)
    async with either_database.write("acme") as session:
        for role in ("owner", "admin", "member"):
            session.add(
                Member(
                    id=role,
                    tenant_id="acme",
                    name=role,
                    email=f"{role}@acme.example",
                    role=role,
                    created_at=clock.now(),
                )
            )
            await session.flush()
            session.add(
                EndpointRow(
                    tenant_id="acme", member_id=role, url="https://example.com", secret="s", created_at=clock.now()
                )
            )

    async def told() -> tuple[list[tuple[str, str, str]], int, list[str], int]:
        """Notifications, how many of them go out by webhook, what streams say, and entries of the trail."""
        async with either_database.read("acme") as session:
            notes = (await session.scalars(select(NotificationRow).order_by(NotificationRow.id))).all()
            out = await session.scalar(select(func.count()).select_from(NotificationDelivery))
            live = (await session.scalars(select(LiveRow).where(LiveRow.kind == "breaker"))).all()
            trail = await session.scalar(select(func.count()).select_from(AuditEntry))
        return (
            sorted((note.member_id, note.plugin, note.level) for note in notes),
            out or 0, sorted(row.data["state"] for row in live), trail or 0,
        )  # fmt: skip

    nodes = [Node(either_database, clock) for _ in range(3)]
    for node in nodes:
        node.fail(call())
    await asyncio.gather(*(node.book.write() for node in nodes))
    assert sum(len(node.told) for node in nodes) == 1
    opened = [("admin", SENDER, "warning"), ("owner", SENDER, "warning")]
    assert await told() == (opened, 2, ["open"], 1)

    for node in nodes:
        await node.book.read()
    clock.advance(31.5)  # by then all would try, unless one has said that it does
    for node in nodes[:2]:
        probe = call()
        assert node.breakers.admit(probe) is None
        node.breakers.settle(probe, FAILED)  # open once more is no news
        await node.book.write()
    clock.advance(60)
    for node in nodes[:2]:
        probe = call()
        assert node.breakers.admit(probe) is None
        node.breakers.settle(probe, Outcome("inv_2", "ok"))
    await asyncio.gather(*(node.book.write() for node in nodes))
    closed = [("admin", SENDER, "success"), ("owner", SENDER, "success")]
    assert await told() == (sorted(opened + closed), 2, ["closed", "open"], 1), "by no other way than in the app"

    for node in nodes:
        await node.book.read()
    nodes[0].fail(call())
    await nodes[0].book.write()
    notes, out, live, trail = await told()
    assert (len(notes), out, live, trail) == (6, 4, ["closed", "open", "open"], 2)

    async def counted() -> float:
        (figure,) = await breaker_figures(either_database)
        return figure.samples[0].value

    assert await counted() == 1
    async with either_database.write("acme") as session:
        (await session.get_one(InstallationRow, "inst_1")).revision = 2
    assert await counted() == 0, "of another release, none is"


async def test_breakers_are_the_same_on_all_nodes_and_survive_them(
    either_database: Database, clock: ManualClock
) -> None:
    await install(either_database, clock)
    one, two = Node(either_database, clock), Node(either_database, clock)
    await two.book.read()

    one.fail(call())
    one.fail(call(installation_id="inst_gone"))  # removed meanwhile: nothing can be written of it
    await one.book.write()
    await two.book.read()
    assert one.states() == two.states() == [("award", "open", 3)]
    finding = await examine(either_database, clock)
    assert finding.is_good
    assert finding.says == "1 handlers are left alone: award of inst_1 (plugin-error, 30 s more)"
    refused = two.breakers.admit(call())
    assert refused is not None
    assert (refused.code, "the disk is full" in refused.message) == ("circuit-open", True)
    assert 30.5 <= (refused.retry_after_s or 0) <= 31.5, "whoever wrote comes first"
    assert [change.installation_id for change in one.told] == ["inst_1"]
    assert two.breakers.admit(call(revision=2)) is None, "another release begins anew"

    clock.advance(10)
    anew = Node(either_database, clock)  # a node that starts after that
    await anew.book.read()
    refused = anew.breakers.admit(call())
    assert refused is not None
    assert 20.5 <= (refused.retry_after_s or 0) <= 21.5

    clock.advance(21.5)
    probe = call()
    assert two.breakers.admit(probe) is None, "one call is let through"
    await two.book.write()
    for node in (one, two, anew):
        await node.book.read()
        assert node.breakers.admit(call()) is not None, "on no other node, and no second one"
    clock.advance(0.9)
    assert one.breakers.admit(call()) is not None
    two.breakers.settle(probe, Outcome("inv_2", "ok"))
    await two.book.write()
    for node in (one, anew):
        await node.book.read()
    assert one.states() == two.states() == anew.states() == []
    async with either_database.read(None) as session:
        assert await session.scalar(select(func.count()).select_from(BreakerRow)) == 1  # told, and kept for a while


async def test_a_node_that_dies_with_the_call_that_it_let_through_is_followed_by_another_one(
    either_database: Database, clock: ManualClock
) -> None:
    await install(either_database, clock)
    one, two = Node(either_database, clock), Node(either_database, clock)
    one.fail(call())
    await one.book.write()
    await two.book.read()
    clock.advance(30)
    assert two.breakers.admit(call()) is not None, "the one that wrote comes first"
    assert one.breakers.admit(call()) is None
    await one.book.write()
    await two.book.read()
    clock.advance(2)  # its time-out, and a moment
    assert two.breakers.admit(call()) is not None
    clock.advance(1.5)
    probe = call()
    assert two.breakers.admit(probe) is None
    two.breakers.settle(probe, Outcome("inv_2", "ok"))
    await two.book.write()
    # What one node tried and has not said yet does not open what another has closed.
    one.breakers.admit(call())
    await one.book.write()
    async with either_database.read(None) as session:
        assert await session.scalar(select(BreakerRow.is_open)) is False
    assert [change.is_open for change in (*one.told, *two.told)] == [True, False]


async def test_a_node_whose_clock_is_slow_closes_it_for_all(either_database: Database, clock: ManualClock) -> None:
    await install(either_database, clock)
    slow = ManualClock()
    slow.moment = clock.now() - timedelta(seconds=20)
    one, two = Node(either_database, clock), Node(either_database, slow)
    one.fail(call())
    await one.book.write()
    await two.book.read()
    slow.advance(60)
    clock.advance(1)
    probe = call()
    assert two.breakers.admit(probe) is None
    await two.book.write()
    two.breakers.settle(probe, Outcome("inv_2", "ok"))
    slow.advance(-59)
    await two.book.write()
    await one.book.read()
    assert one.states() == two.states() == []


async def test_what_waited_for_a_handler_comes_within_seconds_when_it_works_again(
    either_database: Database, clock: ManualClock
) -> None:
    await install(either_database, clock)
    late = clock.now() + timedelta(minutes=15)

    def waiting(number: int, handler: str, code: str, **other: Any) -> Delivery:
        values: dict[str, Any] = {
            "id": f"dlv_{number}", "event_id": f"evt_{number}", "event": "sale.created", "tenant_id": "acme",
            "installation_id": "inst_1", "handler": handler, "ordered": False, "state": "pending", "place": "waiting",
            "attempt": 1, "failures": 0, "interruptions": 0, "max_attempts": 5, "next_attempt_at": late,
            "error_code": code, "created_at": clock.now(),
        }  # fmt: skip
        return Delivery(**(values | other))

    async with either_database.write("acme") as session:
        session.add_all([waiting(number, "award", "circuit-open") for number in range(600)])
        session.add(waiting(600, "award", "plugin-error"))
        session.add(waiting(601, "other", "circuit-open"))
        session.add(waiting(602, "award", "circuit-open", place="ready", next_attempt_at=None))
    async with either_database.write("rival") as session:
        session.add(waiting(603, "award", "circuit-open", tenant_id="rival", installation_id="inst_2"))

    node = Node(either_database, clock)
    node.fail(call())
    await node.book.write()
    clock.advance(30)
    probe = call()
    assert node.breakers.admit(probe) is None
    node.breakers.settle(probe, Outcome("inv_2", "ok"))
    await node.book.write()
    async with either_database.read(None) as session:
        rows = (await session.scalars(select(Delivery).order_by(Delivery.sequence))).all()
    by_id = {row.id: row.next_attempt_at for row in rows}
    assert [by_id.pop(f"dlv_{number}") for number in (600, 601, 603)] == [late] * 3
    assert by_id.pop("dlv_602") is None
    times = [at for at in by_id.values() if at is not None]
    start = clock.now() + timedelta(seconds=0.5)
    assert (len(times), times, times[0]) == (600, sorted(times), start), "the oldest first"
    assert times[499] < start + timedelta(seconds=5) <= times[500]
    assert times[599] < start + timedelta(seconds=10)
