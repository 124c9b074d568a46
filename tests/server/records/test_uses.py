"""Uses of grants: counted once each, for the plugin and for the user, in batches, and kept as long as they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from jackfield.db import Database
from jackfield.records import Recorder, Records, purge, record_kinds
from jackfield.records.journal import Segment, encode_frame
from tests.server.conftest import ManualClock
from tests.server.records.test_recorder import made

NOON = 1_772_366_400.0
"""What the clock of the tests says: 2026-03-01 12:00 UTC."""


@pytest.fixture
async def recorder(either_database: Database, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Recorder]:
    recorder = Recorder(either_database, tmp_path / "journal", clock)
    yield recorder
    await recorder.close()


@pytest.fixture
def records(either_database: Database, recorder: Recorder, clock: ManualClock) -> Records:
    return Records(either_database, recorder, clock)


async def test_each_use_is_counted_in_all_and_for_its_user(recorder: Recorder, records: Records) -> None:
    for number, caller in enumerate(("ada", "ada", "bob", None)):
        recorder.record(
            made(number, started_at=NOON + number, caller_id=caller, permissions={"storage": 2, "customers:*": 1})
        )
        await recorder.flush()
    customers, storage = await records.uses("acme", "inst_1")
    assert (storage.permission, storage.uses, storage.last_used_at.timestamp()) == ("storage", 8, NOON + 3)
    assert [(user.user_id, user.uses) for user in storage.users] == [("ada", 4), ("bob", 2)]
    assert (customers.permission, customers.uses) == ("customers:*", 4)
    assert await records.uses("other", "inst_1") == []


async def test_a_batch_adds_up_before_it_is_stored(recorder: Recorder, records: Records) -> None:
    for number in range(300):
        recorder.record(made(number, started_at=NOON - number, caller_id="ada", permissions={"storage": 1}))
    (storage,) = await records.uses("acme", "inst_1")
    assert (storage.uses, storage.users[0].uses, storage.last_used_at.timestamp()) == (300, 300, NOON)


async def test_an_older_record_that_comes_late_does_not_turn_the_time_back(
    recorder: Recorder, records: Records
) -> None:
    for number, started_at in enumerate((NOON, NOON - 60)):
        recorder.record(made(number, started_at=started_at, permissions={"storage": 1}))
        await recorder.flush()
    (storage,) = await records.uses("acme", "inst_1")
    assert (storage.uses, storage.last_used_at.timestamp()) == (2, NOON)


async def test_what_is_read_back_from_the_journal_counts_once(
    recorder: Recorder, records: Records, tmp_path: Path
) -> None:
    record = made(1, started_at=NOON, permissions={"storage": 3})
    recorder.record(record)
    await recorder.flush()
    left = Segment.create(tmp_path / "journal")
    left.append(encode_frame(record))
    left.close()
    assert await recorder.replay() == 1
    (storage,) = await records.uses("acme", "inst_1")
    assert storage.uses == 3


async def test_odd_names_of_users_are_no_obstacle(recorder: Recorder, records: Records) -> None:
    for number, caller in enumerate(("", "a\0b", "x" * 100)):
        recorder.record(made(number, started_at=NOON, caller_id=caller, permissions={"storage": 1}))
    (storage,) = await records.uses("acme", "inst_1")
    assert (storage.uses, {user.user_id for user in storage.users}) == (3, {"a\ufffdb", "x" * 64})


async def test_ten_users_are_told_of_and_the_total_has_all(recorder: Recorder, records: Records) -> None:
    for number in range(30):
        recorder.record(
            made(number, started_at=NOON, caller_id=f"u{number:02}", permissions={"storage": 1 + number % 3})
        )
    (storage,) = await records.uses("acme", "inst_1")
    assert (storage.uses, len(storage.users), {user.uses for user in storage.users}) == (60, 10, {3})


async def test_users_who_made_none_for_long_are_forgotten_and_the_total_stays(
    either_database: Database, recorder: Recorder, records: Records, clock: ManualClock
) -> None:
    recorder.record(made(1, started_at=NOON, caller_id="ada", permissions={"storage": 1}))
    clock.advance(91 * 24 * 3600)
    recorder.record(made(2, started_at=clock.now().timestamp(), caller_id="bob", permissions={"storage": 1}))
    await recorder.flush()
    (prune,) = next(kind.prunes for kind in record_kinds(30, 30, 90, 90) if kind.name == "uses")
    assert await prune(either_database, clock.now() - timedelta(days=90)) == 1
    (storage,) = await records.uses("acme", "inst_1")
    assert (storage.uses, [user.user_id for user in storage.users]) == (2, ["bob"])


async def test_they_go_with_the_installation(either_database: Database, recorder: Recorder, records: Records) -> None:
    for number, installation in enumerate(("inst_1", "inst_2")):
        recorder.record(made(number, installation_id=installation, started_at=NOON, permissions={"storage": 1}))
    await recorder.flush()
    async with either_database.write("acme") as session:
        await purge(session, "inst_1")
    assert await records.uses("acme", "inst_1") == []
    assert [use.uses for use in await records.uses("acme", "inst_2")] == [1]
