"""What calls cost, by handler, by hour and by plugin: each call counted once, whatever happens to the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from jackfield.db import Database
from jackfield.http import Caller, PageRequest
from jackfield.records import Recorder, Records, SinceInvalidError, purge, record_kinds, router
from jackfield.records.costs import Cost
from jackfield.records.histogram import BOUNDS_US, bucket, quantile_us
from jackfield.records.journal import Segment, encode_frame
from jackfield.records.models import HandlerCost, HourCost
from tests.server.conftest import KnownCallers, ManualClock, application, client
from tests.server.records.test_recorder import made

NOON = 1_772_366_400.0
"""What the clock of the tests says: 2026-03-01 12:00 UTC."""
CALLERS = KnownCallers(
    {"ops": Caller("operator", token_id="tok_1"), "own": Caller("owner", tenant_id="acme", token_id="tok_2")}
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def recorder(database: Database, folder: Path, clock: ManualClock) -> AsyncIterator[Recorder]:
    recorder = Recorder(database, folder, clock)
    yield recorder
    await recorder.close()


@pytest.fixture
def records(database: Database, recorder: Recorder, clock: ManualClock) -> Records:
    return Records(database, recorder, clock)


async def test_each_handler_has_its_own_sums(recorder: Recorder, records: Records) -> None:
    for number in range(4):
        recorder.record(
            made(
                number, started_at=NOON, queries=2, egress_bytes=100, payload_bytes=10, result_bytes=20,
                is_cold=number == 0, capabilities={"storage": 2, "secrets": 1},
            )
        )  # fmt: skip
        await recorder.flush()
    recorder.record(
        made(9, kind="function", name="balance", handler="balance", started_at=NOON, status="error", duration_us=50_000,
             memory_kb=90_000, secret_leaks=3, host_calls=0)
    )  # fmt: skip
    stats = await records.stats("acme", "inst_1")
    assert (stats.calls, stats.failures) == (5, 1)
    dear, award = stats.handlers
    assert (dear.kind, dear.name, dear.cost.calls, dear.cost.failures) == ("function", "balance", 1, 1)
    assert (dear.cost.peak_kb, dear.cost.secret_leaks) == (90_000, 3)
    assert (award.kind, award.name, award.handler) == ("event", "sale.created", "award")
    cost = award.cost
    assert (cost.calls, cost.failures, cost.host_calls, cost.queries, cost.egress_bytes) == (4, 0, 12, 8, 400)
    assert (cost.payload_bytes, cost.result_bytes, cost.cold_starts, cost.peak_kb) == (40, 80, 1, 20_000)
    assert cost.capabilities == {"storage": 8, "secrets": 4}
    assert (stats.cost.calls, stats.cost.capabilities) == (5, {"storage": 8, "secrets": 4})
    assert stats.cost.wall_us == sum(range(1000, 1004)) + 50_000


async def test_the_same_hook_handled_twice_is_counted_apart(recorder: Recorder, records: Records) -> None:
    recorder.record(made(1, handler="first"))
    recorder.record(made(2, handler="second"))
    assert sorted(each.handler for each in (await records.stats("acme", "inst_1")).handlers) == ["first", "second"]


async def test_what_is_replayed_costs_nothing_more(database: Database, folder: Path) -> None:
    for _ in range(3):
        segment = Segment.create(folder)
        segment.append(encode_frame(made(1, queries=5)))
        segment.close()
        recorder = Recorder(database, folder)
        await recorder.replay()
        await recorder.close()
    records = Records(database, Recorder(database, folder))
    (handler,) = (await records.stats("acme", "inst_1")).handlers
    assert (handler.cost.calls, handler.cost.queries) == (1, 5)


async def test_the_series_counts_by_hour_or_day(recorder: Recorder, records: Records, clock: ManualClock) -> None:
    for number, hours_ago in enumerate((0, 0, 1, 5, 30)):
        recorder.record(made(number, started_at=NOON + 60 - hours_ago * 3600))
    hours = (await records.stats("acme", "inst_1")).series
    assert [(moment.at.hour, moment.cost.calls) for moment in hours] == [(7, 1), (11, 1), (12, 2)]
    days = (await records.stats("acme", "inst_1", step="day")).series
    assert [(moment.at.day, moment.cost.calls) for moment in days] == [(28, 1), (1, 4)]
    since = datetime.fromisoformat("2026-03-01T11:59")  # without a zone, as a caller may write it
    assert [m.cost.calls for m in (await records.stats("acme", "inst_1", since=since)).series] == [1, 2]
    with pytest.raises(SinceInvalidError) as refused:
        await records.stats("acme", "inst_1", since=clock.now() - timedelta(days=60))
    assert refused.value.code == "since-invalid"
    assert (await records.stats("acme", "inst_1", since=clock.now() - timedelta(days=60), step="day")).calls == 5


async def test_one_tenant_does_not_see_anothers_costs(recorder: Recorder, records: Records) -> None:
    recorder.record(made(1))
    stats = await records.stats("other", "inst_1")
    assert (stats.calls, stats.cost.calls, list(stats.handlers), list(stats.series)) == (0, 0, [], [])


async def test_old_hours_are_dropped_and_totals_stay(database: Database, folder: Path, clock: ManualClock) -> None:
    recorder = Recorder(database, folder, clock)
    recorder.record(made(1, started_at=NOON - 3 * 24 * 3600))
    recorder.record(made(2, started_at=NOON))
    await recorder.flush()
    (prune,) = next(kind.prunes for kind in record_kinds(30, 30, 1, 1) if kind.name == "costs")
    assert await prune(database, clock.now() - timedelta(days=1)) == 1
    async with database.read(None) as session:
        assert len((await session.scalars(select(HourCost))).all()) == 1
    assert (await Records(database, recorder, clock).stats("acme", "inst_1")).cost.calls == 2
    await recorder.close()


async def test_nothing_is_left_of_an_installation(database: Database, recorder: Recorder) -> None:
    recorder.record(made(1))
    await recorder.flush()
    async with database.write("acme") as session:
        await purge(session, "inst_1")
    async with database.read(None) as session:
        assert (await session.scalars(select(HandlerCost))).all() == []
        assert (await session.scalars(select(HourCost))).all() == []


async def test_two_nodes_count_together(database: Database, tmp_path: Path) -> None:
    nodes = [Recorder(database, tmp_path / name) for name in ("a", "b")]
    for number in range(20):
        nodes[number % 2].record(made(number, capabilities={"storage": 1}))
        await nodes[number % 2].flush()
    (handler,) = (await Records(database, nodes[0]).stats("acme", "inst_1")).handlers
    assert (handler.cost.calls, handler.cost.capabilities) == (20, {"storage": 20})
    assert sum(handler.cost.durations.values()) == 20


async def test_operators_see_the_dearest_plugins_of_all_tenants(
    database: Database, recorder: Recorder, records: Records
) -> None:
    for number in range(12):
        plugin = f"p{number % 6}"
        recorder.record(
            made(number, plugin=plugin, tenant_id=f"t{number}", installation_id=f"i{number}", started_at=NOON,
                 cpu_us=1000 * (number % 6), duration_us=10_000 - number % 6)
        )  # fmt: skip
    app = application(CALLERS, router(records))
    async with client(app, "ops") as http:
        first = (await http.get("/api/operators/cost", params={"limit": 4})).json()
        rest = (await http.get("/api/operators/cost", params={"limit": 4, "cursor": first["next_cursor"]})).json()
        assert [item["plugin"] for item in first["items"] + rest["items"]] == ["p5", "p4", "p3", "p2", "p1", "p0"]
        assert rest["next_cursor"] is None
        assert (first["items"][0]["cpu_ms"], first["items"][0]["installations"]) == (10.0, 2)
        by_wall = (await http.get("/api/operators/cost", params={"sort": "wall"})).json()["items"]
        assert [item["plugin"] for item in by_wall] == ["p0", "p1", "p2", "p3", "p4", "p5"]
        # Equal sums page by name.
        names: list[str] = []
        page: dict[str, str] = {"sort": "calls", "limit": "1"}
        for _ in range(6):
            found = (await http.get("/api/operators/cost", params=page)).json()
            names += [item["plugin"] for item in found["items"]]
            page["cursor"] = found["next_cursor"]
        assert names == ["p0", "p1", "p2", "p3", "p4", "p5"]
        later = await http.get("/api/operators/cost", params={"since": "2026-03-02T00:00:00Z"})
        assert later.json()["items"] == []
        assert (await http.get("/api/operators/cost", params={"sort": "beauty"})).status_code == 422
    async with client(app, "own") as http:
        assert (await http.get("/api/operators/cost")).status_code == 403
    assert (await records.costs(None, "cpu", PageRequest())).items[0].plugin == "p5"


durations = st.lists(st.integers(0, 60_000_000), min_size=1, max_size=200)


@given(durations, st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_in_its_bucket_and_never_above_the_longest(values: list[int], share: float) -> None:
    counts: dict[int, int] = {}
    for value in values:
        counts[bucket(value)] = counts.get(bucket(value), 0) + 1
    exact = sorted(values)[max(0, -(-len(values) * share // 1).__int__() - 1)]
    found = quantile_us(counts, share, max(values))
    number = bucket(exact)
    low = BOUNDS_US[number - 1] if number else 0
    high = BOUNDS_US[number] if number < len(BOUNDS_US) else max(values)
    assert low <= found <= min(high, max(values))


@given(durations, durations)
def test_sums_do_not_depend_on_the_order(left: list[int], right: list[int]) -> None:
    def total(values: list[int]) -> Cost:
        cost = Cost()
        for value in values:
            cost.count(made(duration_us=value, cpu_us=value, capabilities={"storage": value % 3}))
        return cost

    one, other = total(left), total(right)
    one.add(other)
    assert one == total(right + left)
    assert datetime.fromtimestamp(NOON, UTC) == ManualClock().now()
