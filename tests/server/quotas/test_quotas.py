"""Calls are let in up to what the plan allows, on one node and on several together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from jackfield.db import Database
from jackfield.invocation import Outcome
from jackfield.quotas import Operating, QuotaExceededError, UsageReader
from jackfield.quotas.models import QuotaRunning, QuotaWindow
from jackfield.records import AuditEntry
from jackfield.settings import PlanSettings
from tests.server.conftest import ManualClock
from tests.server.quotas.nodes import PROBE, Node, Shelf, call, installation, node, plan

Start = Callable[..., Awaitable[Node]]


@pytest.fixture
def start(database: Database, clock: ManualClock) -> Start:
    async def start(
        tenant: dict[str, Any] | None = None, plugin: dict[str, Any] | None = None, name: str = "n1"
    ) -> Node:
        return await node(database, clock, {"tight": plan(tenant or {}, plugin)}, name=name)

    return start


async def test_calls_are_let_in_up_to_the_limit_and_again_when_time_has_passed(
    start: Start, clock: ManualClock
) -> None:
    one = await start({"calls_per_minute": 10})
    assert one.let_in(15) == 10
    clock.advance(60)
    assert one.let_in(15) == 0, "at the turn of the minute all of it still lies within the last sixty seconds"
    clock.advance(30)
    assert one.let_in(15) == 5
    clock.advance(300)
    assert one.let_in(15) == 10


async def test_a_refusal_says_which_quota_whose_how_much_and_when_to_come_again(
    start: Start, clock: ManualClock
) -> None:
    one = await start({"calls_per_minute": 4}, {"calls_per_minute": 3})
    assert one.let_in(3) == 3
    failure = one.run()
    assert failure is not None
    assert (failure.code, failure.quota, failure.scope, failure.limit, failure.used) == (
        "quota-exceeded", "calls_per_minute", "plugin", 3, 3
    )  # fmt: skip
    other = installation("inst_b", slug="other")
    assert one.run(other) is None
    failure = one.run(other)
    assert failure is not None
    assert (failure.scope, failure.limit) == ("tenant", 4)
    assert failure.retry_after_s is not None
    clock.advance(failure.retry_after_s + 0.01)
    assert one.run(other) is None


@pytest.mark.parametrize(
    ("quota", "limit", "cost"),
    [("cpu_ms_per_minute", 100, {"cpu_ms": 40.0}), ("host_calls_per_minute", 50, {"host_calls": 20})],
)
async def test_what_is_known_only_afterwards_stops_the_call_after_the_last_one(
    start: Start, quota: str, limit: int, cost: dict[str, Any]
) -> None:
    one = await start({quota: limit})
    assert one.let_in(10, **cost) == 3
    failure = one.run()
    assert failure is not None
    assert (failure.quota, failure.limit) == (quota, limit)
    assert failure.used > limit


async def test_only_so_many_calls_run_at_the_same_time(start: Start) -> None:
    one = await start({"concurrency": 3}, {"concurrency": 2})
    other = call(installation("inst_b", slug="other"))
    calls = [call(), call()]
    assert [one.quotas.admit(each) for each in calls] == [None, None]
    failure = one.quotas.admit(call())
    assert failure is not None
    assert (failure.quota, failure.scope, failure.limit) == ("concurrency", "plugin", 2)
    assert one.quotas.admit(other) is None
    assert one.quotas.admit(call(installation("inst_c", slug="third"))) is not None
    one.quotas.settle(calls[0], _outcome())
    assert one.quotas.admit(call()) is None


async def test_one_tenants_use_is_nothing_to_another(start: Start, database: Database, clock: ManualClock) -> None:
    one = await start({"calls_per_minute": 5})
    assert one.let_in(9) == 5
    stranger = installation("inst_z", tenant="rival")
    assert one.let_in(9, stranger) == 9


async def test_taking_a_plugin_from_work_is_possible_when_everything_is_used_up(start: Start) -> None:
    one = await start({"calls_per_minute": 1})
    assert one.let_in(2) == 1
    assert one.quotas.admit(call(kind="lifecycle", name="on_install")) is not None
    for name in ("on_deactivate", "on_uninstall"):
        leaving = call(kind="lifecycle", name=name)
        assert one.quotas.admit(leaving) is None
        one.quotas.settle(leaving, _outcome())


async def test_a_quota_of_nothing_lets_nothing_in_and_no_quota_lets_all_in(start: Start) -> None:
    assert (await start({"calls_per_minute": 0})).let_in(3) == 0


async def test_bytes_sent_out_are_counted_and_the_next_ones_refused(start: Start, clock: ManualClock) -> None:
    one = await start({"egress_bytes_per_minute": 1000})
    one.quotas.charge("acme", PROBE.id, egress_bytes=700)
    one.quotas.charge("acme", PROBE.id, egress_bytes=700)
    with pytest.raises(QuotaExceededError) as refused:
        one.quotas.charge("acme", PROBE.id, egress_bytes=1)
    assert (refused.value.data["quota"], refused.value.data["used"]) == ("egress_bytes_per_minute", 1400)
    failure = one.run()
    assert failure is not None, "and no call begins that could only fail"
    clock.advance(120)
    one.quotas.charge("acme", PROBE.id, egress_bytes=1)


# -- several nodes -----------------------------------------------------------------------------------------------------


async def test_two_nodes_hold_one_limit_to_within_one_exchange(start: Start, clock: ManualClock) -> None:
    one, two = await start({"calls_per_minute": 100}), await start({"calls_per_minute": 100}, name="n2")
    let_in = 0
    for _ in range(40):
        let_in += one.let_in(3) + two.let_in(3)
        await one.quotas.sync()
        await two.quotas.sync()
        clock.advance(0.5)
    assert 100 <= let_in <= 100 + 2 * 3


async def test_a_node_without_calls_looks_in_every_fourth_turn_and_in_each_while_it_has_some(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await start()
    quotas, looks, turn = one.quotas, list[int](), 0
    has_news, sync = quotas._has_news, quotas.sync  # pyright: ignore[reportPrivateUsage]  # turns are counted by it

    def counted() -> bool:
        nonlocal turn
        turn += 1
        if turn == 5:
            one.run()
        if turn == 11:
            raise asyncio.CancelledError
        return has_news()

    async def noted() -> None:
        looks.append(turn)
        await sync()

    monkeypatch.setattr(quotas, "_interval_s", 0.001)
    monkeypatch.setattr(quotas, "_has_news", counted)
    monkeypatch.setattr(quotas, "sync", noted)
    with pytest.raises(asyncio.CancelledError):
        await quotas.run()
    # Once more after the last call: what others used of the same is read then.
    assert looks == [4, 5, 6, 10]


async def test_a_node_learns_what_was_used_elsewhere_before_it_used_anything(start: Start) -> None:
    one = await start({"calls_per_minute": 10})
    assert one.let_in(8) == 8
    await one.quotas.sync()
    assert (await start({"calls_per_minute": 10}, name="n2")).let_in(9) == 2


async def test_what_was_used_survives_a_restart(start: Start) -> None:
    one = await start({"calls_per_minute": 10}, {"calls_per_minute": 7})
    assert one.let_in(9) == 7
    await one.quotas.close()
    assert (await start({"calls_per_minute": 10}, {"calls_per_minute": 7})).let_in(9) == 0


async def test_the_minute_before_counts_on_a_node_that_slept_through_it(start: Start, clock: ManualClock) -> None:
    one, two = await start({"calls_per_minute": 100}), await start({"calls_per_minute": 100}, name="n2")
    assert two.let_in(1) == 1
    await two.quotas.sync()
    clock.advance(30)
    assert one.let_in(99) == 99
    await one.quotas.sync()
    clock.advance(30)
    two.run()
    await two.quotas.sync()
    clock.advance(1)
    assert two.let_in(100) < 5


async def test_calls_at_work_on_other_nodes_count_until_they_end_or_the_node_dies(
    start: Start, clock: ManualClock, database: Database
) -> None:
    one, two = await start({"concurrency": 4}), await start({"concurrency": 4}, name="n2")
    held = [call() for _ in range(3)]
    assert [one.quotas.admit(each) for each in held] == [None] * 3
    await one.quotas.sync()
    assert two.run() is None
    await two.quotas.sync()
    mine = [call(), call()]
    assert [two.quotas.admit(each) is None for each in mine] == [True, False]
    two.quotas.settle(mine[0], _outcome())
    for each in held[:2]:
        one.quotas.settle(each, _outcome())
    await one.quotas.sync()
    await two.quotas.sync()
    again = [call(), call(), call(), call()]
    assert sum(two.quotas.admit(each) is None for each in again) == 3
    clock.advance(30)  # the other node has said nothing for long
    await two.quotas.sync()
    assert two.quotas.admit(call()) is None


async def test_a_node_that_stops_takes_back_what_it_had_at_work(start: Start, database: Database) -> None:
    one = await start({"concurrency": 2})
    one.quotas.admit(call())
    await one.quotas.sync()
    assert await _count(database, QuotaRunning) == 1
    await one.quotas.close()
    assert await _count(database, QuotaRunning) == 0


async def test_a_database_that_is_away_loses_nothing_and_lets_nobody_in_for_free(
    start: Start, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await start({"calls_per_minute": 10})
    assert one.let_in(6) == 6
    with monkeypatch.context() as patch:

        def away(_tenant: str | None) -> Any:
            raise OperationalError("away", None, Exception("away"))

        patch.setattr(database, "write", away)
        for _ in range(3):
            with pytest.raises(OperationalError):
                await one.quotas.sync()
        assert one.let_in(6) == 4
    await one.quotas.sync()
    async with database.read(None) as session:
        query = select(QuotaWindow.calls).where(QuotaWindow.installation_id == "", QuotaWindow.tenant_id == "acme")
        assert await session.scalar(query) == 10


async def test_old_minutes_are_dropped_and_idle_accounts_forgotten(
    start: Start, database: Database, clock: ManualClock
) -> None:
    one = await start({"calls_per_minute": 10})
    assert one.let_in(12) == 10
    await one.quotas.sync()
    assert await _count(database, QuotaWindow) == 2
    clock.advance(600)
    await one.quotas.sync()
    assert await _count(database, QuotaWindow) == 0
    assert one.let_in(12) == 10


async def test_a_clock_that_jumps_back_stops_nobody(start: Start, clock: ManualClock) -> None:
    one = await start({"calls_per_minute": 10})
    assert one.let_in(12) == 10
    clock.moment = clock.moment.replace(year=2025)
    await one.quotas.sync()
    assert one.let_in(12) == 10


# -- what people see ---------------------------------------------------------------------------------------------------


async def test_a_warning_comes_before_it_bites_once_a_minute_and_is_in_the_trail(
    start: Start, database: Database, clock: ManualClock
) -> None:
    one = await start({"calls_per_minute": 10})
    one.let_in(7)
    await one.quotas.sync()
    assert one.quotas.warning_of("acme") is None
    one.let_in(1)
    await one.quotas.sync()
    assert one.quotas.warning_of("acme") == "calls_per_minute"
    one.let_in(5)
    for _ in range(3):
        await one.quotas.sync()
    assert await _trail(database) == ["quota.warning", "quota.exceed"]
    clock.advance(65)
    one.let_in(20)
    await one.quotas.sync()
    assert await _trail(database) == ["quota.warning", "quota.exceed"], "the trail is kept for ever: once an hour"


async def test_usage_of_all_nodes_is_told_per_quota_and_plugin(
    start: Start, clock: ManualClock, database: Database
) -> None:
    one, two = await start({"calls_per_minute": 10}), await start({"calls_per_minute": 10}, name="n2")
    one.let_in(6, cpu_ms=1.5)
    two.let_in(3, cpu_ms=2.5, host_calls=2)
    await two.quotas.sync()
    usage = await UsageReader(one.quotas, Shelf([]), 0.8).usage("acme")
    found = {quota.quota: quota for quota in usage.quotas}
    calls = found["calls_per_minute"]
    assert (calls.limit, calls.used, calls.left, calls.is_warning) == (10, 9, 1, True)
    assert calls.refills_at is not None
    assert (calls.refills_at - clock.now()).total_seconds() == 120
    assert (found["cpu_ms_per_minute"].limit, found["cpu_ms_per_minute"].used) == (None, 17)
    assert found["host_calls_per_minute"].used == 6
    assert usage.warnings == ("calls per minute of the tenant: 9 of 10 are used",)


# -- operators ---------------------------------------------------------------------------------------------------------


async def test_what_an_operator_changes_counts_at_once_here_and_after_an_exchange_elsewhere(
    start: Start, database: Database, clock: ManualClock
) -> None:
    one, two = await start({"calls_per_minute": 5}), await start({"calls_per_minute": 5}, name="n2")
    assert one.let_in(9) == 5
    await one.quotas.sync()
    operating = Operating(database, one.quotas, Shelf(), clock)
    await operating.override("acme", {"tenant": {"calls_per_minute": 8}}, "operator:1")
    assert one.let_in(9) == 3
    await one.quotas.sync()
    await two.quotas.sync()
    await operating.put_plan("wide", plan({"calls_per_minute": 1000}), "operator:1")
    await operating.override("acme", None, "operator:1")
    await operating.set_plan("acme", "wide", "operator:1")
    await two.quotas.sync()
    assert two.let_in(9) == 9
    await operating.set_plan("acme", "tight", "operator:1")
    await two.quotas.sync()
    assert two.let_in(9) == 0
    assert {"quotas.set", "quotas.withdraw", "plan.set", "tenant.plan"} <= set(await _trail(database, all_=True))


async def test_limits_that_an_operator_sets_reach_other_nodes_and_end_isolates_of_the_old_ones(
    start: Start, database: Database, clock: ManualClock
) -> None:
    one, two = await start(), await start(name="n2")
    retired: list[str] = []

    async def retire(installation_id: str) -> None:
        retired.append(installation_id)

    two.quotas.on_limits_changed(retire)
    assert two.quotas.limits_of(PROBE).memory_mb == 128
    operating = Operating(database, one.quotas, Shelf(), clock)
    await operating.set_limits("plugin", "probe", {"memory_mb": 256}, "operator:1")
    assert one.quotas.limits_of(PROBE).memory_mb == 256
    await two.quotas.sync()
    assert two.quotas.limits_of(PROBE).memory_mb == 256
    assert retired == [PROBE.id]


async def test_a_plan_that_nobody_knows_any_more_is_the_default_one(database: Database, clock: ManualClock) -> None:
    await node(database, clock, {"tight": plan({"calls_per_minute": 3})})
    later = await node(database, clock, {"free": plan({"calls_per_minute": 2})})
    assert later.let_in(5) == 2


async def test_a_tenant_that_comes_without_warning_gets_the_least_until_it_is_known(
    database: Database, clock: ManualClock
) -> None:
    plans: dict[str, PlanSettings] = {
        "free": plan({"calls_per_minute": 2}), "tight": plan({"calls_per_minute": 50}),
    }  # fmt: skip
    await node(database, clock, plans, tenant="late")
    fresh = await node(database, clock, plans)
    late = installation("inst_l", tenant="late")
    assert fresh.let_in(5, late) == 2
    await fresh.quotas.sync()
    assert fresh.let_in(99, late) == 48


def _outcome() -> Outcome:
    return Outcome("inv_1", "ok")


async def _count(database: Database, model: Any) -> int:
    async with database.read(None) as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


async def _trail(database: Database, *, all_: bool = False) -> list[str]:
    async with database.read(None) as session:
        actions = list(await session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))
    return actions if all_ else [action for action in actions if action.startswith("quota.")]
