"""A breaker outlives its node, and all nodes on one database have the same."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import func, select

from jackfield.clock import SystemClock
from jackfield.db import Database
from jackfield.health import examine
from jackfield.health.breaker_book import BreakerBook
from jackfield.health.breakers import BreakerChange, Breakers
from jackfield.health.models import BreakerRow
from jackfield.invocation import Invocation, Outcome
from jackfield.lifecycle.models import InstallationRow
from jackfield.settings import BreakerSettings
from jackfield_sdk.wire import Failure
from tests.server.conftest import ManualClock

SETTINGS = BreakerSettings(in_a_row=3, open_s=30)
FAILED = Outcome("inv_1", "error", failure=Failure("plugin-error", "the disk is full"))


class Node:
    """The breakers of one process, and its book."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.breakers = Breakers(SETTINGS, clock)
        self.told: list[BreakerChange] = []
        self.book = BreakerBook(database, self.breakers, clock, self._tell)

    async def _tell(self, change: BreakerChange) -> None:
        self.told.append(change)

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


async def test_breakers_are_the_same_on_all_nodes_and_survive_them(
    either_database: Database, clock: ManualClock
) -> None:
    clock.moment = SystemClock().now()
    async with either_database.write("acme") as session:
        session.add(
            InstallationRow(
                id="inst_1", tenant_id="acme", slug="points", instance="default", version="1.0.0", state="active",
                grants=[], grant_filters={}, config={}, revision=1, installed_at=clock.now(), updated_at=clock.now(),
            )
        )  # fmt: skip
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
    assert (refused.code, refused.retry_after_s, "the disk is full" in refused.message) == ("circuit-open", 30.0, True)
    assert [change.installation_id for change in one.told] == ["inst_1"]
    assert two.breakers.admit(call(revision=2)) is None, "another release begins anew"

    clock.advance(10)
    anew = Node(either_database, clock)  # a node that starts after that
    await anew.book.read()
    refused = anew.breakers.admit(call())
    assert refused is not None
    assert refused.retry_after_s == 20.0

    clock.advance(20)
    probe = call()
    assert two.breakers.admit(probe) is None, "one call is let through"
    two.breakers.settle(probe, Outcome("inv_2", "ok"))
    await two.book.write()
    for node in (one, anew):
        await node.book.read()
    assert one.states() == two.states() == anew.states() == []
    async with either_database.read(None) as session:
        assert await session.scalar(select(func.count()).select_from(BreakerRow)) == 1  # told, and kept for a while
