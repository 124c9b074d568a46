"""What feeds the streams: deliveries for those who listen, and what was written through another node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select

from jackfield.channels import talk_since
from jackfield.channels.models import ChannelRow, MessageRow
from jackfield.channels.repository import set_state
from jackfield.db import Database
from jackfield.db.notices import Notices
from jackfield.http import Caller
from jackfield.jobs.models import Delivery
from jackfield.jobs.schedules import Declared, Schedules, sync_schedules
from jackfield.live import LIVE, Hub, Kind, Stream, happened, schedule_told
from jackfield.live.kinds import heard_by
from jackfield.live.models import LiveRow
from jackfield.live.repository import prune
from jackfield.live.writing import Mark
from tests.server.conftest import ManualClock

ADMIN = Caller("admin", "acme", "anna")
MEMBER = Caller("member", "acme", "max")
OPERATOR = Caller("operator", token_id="t4")


@contextlib.asynccontextmanager
async def fed(hub: Hub) -> AsyncGenerator[None]:
    task = asyncio.create_task(hub.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def heard(stream: Stream) -> tuple[str, Any]:
    """Kind and data of the next event."""
    async with asyncio.timeout(15):
        event = await stream.next()
    assert event is not None
    return event.kind, msgspec.json.decode(event.frame.split(b"data: ")[1])


def kinds(*wanted: Kind) -> frozenset[Kind]:
    return frozenset(wanted)


async def test_deliveries_that_end_are_told_once_to_those_who_may_see_them(
    either_database: Database, clock: ManualClock
) -> None:
    async def slugs(_tenant_id: str) -> dict[str, str]:
        return {"ins_1": "loyalty", "ins_2": "echo"}

    assert heard_by(MEMBER).isdisjoint({"delivery", "stats"})
    hub = Hub(either_database, clock, slugs_of=slugs)
    async with fed(hub):
        everything, _ = await hub.open("acme", ADMIN, heard_by(ADMIN))
        one, _ = await hub.open("acme", ADMIN, kinds("stats"), "echo")
        other, _ = await hub.open("globex", Caller("owner", "globex", "olga"), kinds("delivery"))
        await ended(either_database, clock, "acme", "ins_1", "done", "done", "dead")
        first, second = await heard(everything), await heard(everything)
        assert first[0] == "delivery"
        assert (first[1]["plugin"], first[1]["count"]) == ("loyalty", 3)
        assert [each["state"] for each in first[1]["deliveries"]] == ["done", "done", "dead"]
        assert second == (
            "stats",
            {"plugin": "loyalty", "ended": 3, "by_state": {"done": 2, "dead": 1}, "mean_ms": 2.0},
        )
        # What overlaps with the next look is not told again, and each plugin is counted by itself.
        await ended(either_database, clock, "acme", "ins_2", "done")
        assert (await heard(everything))[1]["plugin"] == "echo"
        assert (await heard(one))[1]["ended"] == 1
        await ended(either_database, clock, "globex", "ins_9", "done")
        assert (await heard(other))[1]["count"] == 1
        for stream in (everything, one, other):
            hub.leave(stream)


async def test_a_tenant_of_which_thousands_end_hides_no_other(either_database: Database, clock: ManualClock) -> None:
    quiet = ["globex", *(f"shop-{number}" for number in range(150))]
    await many_ended(either_database, clock.now(), dict.fromkeys(quiet, 3) | {"initech": 70, "acme": 3_000})
    hub = Hub(either_database, clock)
    async with fed(hub):
        # Each listens for some, and the operator for all.
        own = {
            tenant_id: (await hub.open(tenant_id, Caller("owner", tenant_id, "olga"), kinds("delivery", "stats")))[0]
            for tenant_id in ("acme", "initech", "globex")
        }
        every, _ = await hub.open(None, OPERATOR, kinds("delivery", "stats"))
        # That is more than may be queued for a reader, and none that reads is too slow for it.
        told = [(await heard(every))[1] for _ in range(2 * (len(quiet) + 2))]
        ended_of = {each["tenant"]: each["ended"] for each in told if "ended" in each}
        assert ended_of == dict.fromkeys(quiet, 3) | {"initech": 50, "acme": 1_000}
        for tenant_id, count in (("globex", 3), ("initech", 50), ("acme", 1_000)):
            (kind, which), (_, figures) = await heard(own[tenant_id]), await heard(own[tenant_id])
            assert (kind, which["count"], figures["ended"]) == ("delivery", count, count)
            assert figures["by_state"] == {"done": count}
        # Without the operator the query is about those who listen; nothing is told twice.
        hub.leave(every)
        await ended(either_database, clock, "globex", "ins_9", "dead")
        assert (await heard(own["globex"]))[1]["count"] == 1
        assert (await heard(own["globex"]))[1]["by_state"] == {"dead": 1}
        for stream in own.values():
            hub.leave(stream)


async def test_schedules_and_channels_are_told_of(either_database: Database, clock: ManualClock) -> None:
    async def slugs(_tenant_id: str) -> dict[str, str]:
        return {"ins_1": "loyalty"}

    hub = Hub(either_database, clock, slugs_of=slugs)
    hub.talk_since = talk_since
    schedules = Schedules(either_database, clock, schedule_told)
    async with either_database.write("acme") as session:
        await sync_schedules(session, "acme", "ins_1", [Declared("nightly", "run", "* * * * *")], clock.now())
    async with fed(hub):
        member, _ = await hub.open("acme", MEMBER, heard_by(MEMBER), "loyalty")
        admin, _ = await hub.open("acme", ADMIN, kinds("channel"))
        operator, _ = await hub.open(None, OPERATOR, heard_by(OPERATOR))
        other, _ = await hub.open("globex", Caller("owner", "globex", "olga"), kinds("schedule", "channel"))
        await schedules.pause("acme", "ins_1", "nightly", "member:anna")
        await schedules.resume("acme", "ins_1", "nightly")
        clock.advance(61)
        await schedules.fire_due()
        changes = [await heard(member) for _ in range(3)]
        assert [(kind, data["plugin"], data["change"]) for kind, data in changes] == [
            ("schedule", "loyalty", change) for change in ("paused", "resumed", "fired")
        ]
        assert changes[0][1]["next_at"] is None
        assert changes[2][1]["next_at"] > changes[2][1]["due_at"]
        assert [(await heard(operator))[1]["tenant"] for _ in range(3)] == ["acme"] * 3
        now = clock.now()
        async with either_database.write("acme") as session:
            session.add(
                ChannelRow(
                    id="chn_1", tenant_id="acme", kind="http", name="shop", settings={}, state="connected", reason=None,
                    identity="", next_update=0, version=1, created_at=now, created_by="anna", changed_at=now,
                )
            )  # fmt: skip
            await session.flush()
            for number, direction in enumerate(("in", "in", "out")):
                session.add(
                    MessageRow(
                        id=f"msg_{number}", tenant_id="acme", channel_id="chn_1", direction=direction, chat_id="c",
                        key=str(number), state="done", sequence=0, body={"text": "secret"}, created_at=now,
                    )
                )  # fmt: skip
            await set_state(session, "chn_1", 1, "broken", "void", now)
            await set_state(session, "chn_1", 1, "broken", "void", now)
        async with either_database.read(None) as session:
            # One is the latest of all; the others are the tenant's share.
            assert len(await talk_since(session, None, now, 1)) == 3
        for stream in (admin, operator):
            told = [(await heard(stream))[1] for _ in range(2)]
            by_change = {data["change"]: data for data in told}
            assert by_change["broken"]["reason"] == "void"
            assert (by_change["messages"]["in"], by_change["messages"]["out"]) == (2, 1)
            assert "secret" not in str(told)
        await schedules.pause("acme", "ins_1", "nightly", "member:anna")
        assert (await heard(member))[1]["change"] == "paused"
        async with either_database.write("globex") as session:
            happened(session, "channel", {"id": "chn_2", "change": "removed"})
        assert (await heard(other))[1]["id"] == "chn_2"  # and nothing before it
        for stream in (member, admin, operator, other):
            hub.leave(stream)
    schedules.close()


async def test_of_a_tenant_to_which_much_happens_the_oldest_goes(either_database: Database, clock: ManualClock) -> None:
    for tenant_id, count in (("acme", 5), ("globex", 2)):
        async with either_database.write(tenant_id) as session:
            for number in range(count):
                happened(session, "widget", {"number": number})
    assert await prune(either_database, clock.now() - timedelta(days=9999), most=2) == 3
    hub = Hub(either_database, clock)
    async with either_database.read(None) as session:
        left = [row.data["number"] for row in await session.scalars(select(LiveRow).order_by(LiveRow.position))]
    assert left == [3, 4, 0, 1]
    # Who has seen nothing yet is told to load everything; who has seen the last goes on.
    assert await hub.missed("acme", 0) is None
    assert await hub.missed("acme", await position_of(hub)) == []


async def position_of(hub: Hub) -> int:
    stream, position = await hub.open("acme", MEMBER, kinds("widget"))
    hub.leave(stream)
    return position


async def test_what_another_node_wrote_is_heard_and_a_widget_that_changes_often_is_told_of_seldom(
    postgresql: Database, clock: ManualClock
) -> None:
    far, near = Database(postgresql.url), Hub(postgresql, clock)
    writing, notices = Hub(far, clock), Notices(postgresql)
    notices.on(LIVE, near.wake)
    notices.on_gap(near.wake_all)
    await notices.start()
    listening = asyncio.create_task(notices.run())
    async with fed(near), fed(writing):
        stream, _ = await near.open("acme", MEMBER, heard_by(MEMBER))
        async with far.write("acme") as session:
            happened(session, "installation", {"state": "active"}, plugin="loyalty")
        assert (await heard(stream))[1]["state"] == "active"
        for _ in range(200):
            writing.mark(Mark("acme", "loyalty", "ins_1", "card", "Dashboard.Widgets"))
            await asyncio.sleep(0)
        assert (await heard(stream))[1]["name"] == "card"
        async with far.write("acme") as session:
            happened(session, "notification", {"title": "last"}, member_id="max")
        between = 0
        while (await heard(stream))[0] != "notification":
            between += 1
        assert between <= 3  # a few writes for 200 marks
        near.leave(stream)
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
    await far.close()


async def test_what_could_not_be_told_for_want_of_a_database_is_told_afterwards(
    sqlite: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(sqlite, clock)
    stream, _ = await hub.open("acme", MEMBER, kinds("widget"))
    write = sqlite.write

    def away(_tenant_id: str | None) -> Any:
        raise ConnectionError("away")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "write", away)
        hub.mark(Mark("acme", "loyalty", "ins_1", "card", "Dashboard.Widgets"))
        with pytest.raises(ConnectionError):
            await hub.run()
    assert sqlite.write == write
    async with fed(hub):
        assert (await heard(stream))[1]["name"] == "card"
    hub.leave(stream)


async def test_what_could_not_be_told_for_want_of_its_plugin_s_name_is_told_afterwards(
    sqlite: Database, clock: ManualClock
) -> None:
    failing = True

    async def slugs(_tenant_id: str) -> dict[str, str]:
        if failing:
            raise ConnectionError("away")
        return {"ins_1": "loyalty"}

    hub = Hub(sqlite, clock, slugs_of=slugs)
    row, _ = await hub.open("acme", ADMIN, kinds("schedule"))
    async with sqlite.write("acme") as session:
        schedule_told(session, "acme", "ins_1", {"name": "nightly", "change": "fired"})
    with pytest.raises(ConnectionError):
        await hub.run()
    failing = False
    async with fed(hub):
        assert (await heard(row))[1]["plugin"] == "loyalty"
        hub.leave(row)

    failing = True
    delivery, _ = await hub.open("acme", ADMIN, kinds("delivery"))
    await ended(sqlite, clock, "acme", "ins_1", "done")
    with pytest.raises(ConnectionError):
        await hub.run()
    failing = False
    async with fed(hub):
        assert (await heard(delivery))[1]["count"] == 1
    hub.leave(delivery)


async def many_ended(database: Database, now: datetime, counts: dict[str, int]) -> None:
    """So many deliveries of each tenant have ended, those of the first ones before those of the next."""
    rows = [
        {
            "id": f"dlv_{tenant_id}_{number}", "event_id": f"evt_{tenant_id}_{number}", "event": "sale.created",
            "tenant_id": tenant_id, "installation_id": f"ins_{tenant_id}", "handler": "sold", "ordered": True,
            "state": "done", "attempt": 1, "failures": 0, "interruptions": 0, "max_attempts": 5, "duration_ms": 2.0,
            "created_at": now, "finished_at": now - timedelta(seconds=2) + timedelta(microseconds=place),
        }
        for place, (tenant_id, number) in enumerate(
            (tenant_id, number) for tenant_id, count in counts.items() for number in range(count)
        )
    ]  # fmt: skip
    async with database.write(None) as session:
        await session.execute(insert(Delivery), rows)


async def ended(database: Database, clock: ManualClock, tenant_id: str, installation_id: str, *states: str) -> None:
    """Deliveries that end now."""
    now = clock.now()
    async with database.write(tenant_id) as session:
        for number, state in enumerate(states):
            name = f"dlv_{installation_id}_{number}"
            session.add(
                Delivery(
                    id=name, event_id=f"evt_{name}", event="sale.created", tenant_id=tenant_id,
                    installation_id=installation_id, handler="sold", ordered=True, state=state, attempt=1, failures=0,
                    interruptions=0, max_attempts=5, error_code=None, duration_ms=2.0, created_at=now,
                    finished_at=now + timedelta(microseconds=number),
                )
            )  # fmt: skip
