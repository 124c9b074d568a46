"""A record is taken in microseconds and reaches the tables once, whatever happens to the process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError

from jackfield.db import Database
from jackfield.http import PageRequest
from jackfield.records import InvocationRecord, InvocationRow, Recorder, Records, inventory, purge
from jackfield.records.journal import Segment, encode_frame, leftovers
from tests.server.conftest import ManualClock, until

WRITER = Path(__file__).with_name("writer.py")
ALL = PageRequest(limit=200)


def made(number: int = 0, **changes: object) -> InvocationRecord:
    """A record like those of a busy plugin."""
    given: dict[str, object] = {
        "id": f"inv_{number:026d}",
        "tenant_id": "acme",
        "installation_id": "inst_1",
        "plugin": "loyalty-points",
        "version": "1.0.0",
        "kind": "event",
        "name": "sale.created",
        "handler": "award",
        "started_at": 1_772_366_400.0 + number,
        "duration_us": 1000 + number,
        "cpu_us": 800,
        "host_calls": 3,
        "memory_kb": 20_000,
        **changes,
    }
    return InvocationRecord(**given)  # type: ignore[arg-type]  # as in the struct


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def recorder(database: Database, folder: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder(database, folder)
    yield recorder
    await recorder.close()


@pytest.fixture
def records(database: Database, recorder: Recorder) -> Records:
    return Records(database, recorder)


async def stored(database: Database) -> list[str]:
    async with database.read(None) as session:
        return list((await session.scalars(select(InvocationRow.id).order_by(InvocationRow.id))).all())


def entries(folder: Path) -> list[str]:
    """Names of the files in the journal."""
    return [path.name for path in folder.iterdir()]


def write_until_killed(database: Database, folder: Path, flushes: int) -> int:
    """Another process records until it is killed; how many records it took, by its own account."""
    with subprocess.Popen(
        [sys.executable, str(WRITER), database.url, str(folder), str(flushes)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        count = 0
        for line in writer.stdout:
            count = int(line)
            if count >= 2000:
                break
        writer.send_signal(signal.SIGKILL)
        for line in writer.stdout:  # what it still said before it died
            count = int(line)
        assert writer.wait() == -signal.SIGKILL
    return count


def block_writes(database: Database) -> subprocess.Popen[str]:
    """Another program takes the write lock of the database, and keeps it until it is told to go."""
    path = database.url.removeprefix("sqlite+aiosqlite:///")
    program = (
        f"import sqlite3, sys; sqlite3.connect({path!r}).execute('BEGIN IMMEDIATE'); "
        "print('locked', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


async def test_what_is_recorded_can_be_read_at_once(recorder: Recorder, records: Records) -> None:
    recorder.record(made(1, status="error", error_code="plugin-error", error_message="boom", error_trace="Trace…"))
    (error,) = await records.errors("acme", "inst_1")
    assert (error.error_code, error.error_message, error.error_trace) == ("plugin-error", "boom", "Trace…")
    assert error.started_at == datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)


async def test_totals_add_up_over_batches(recorder: Recorder, records: Records) -> None:
    assert (await records.stats("acme", "inst_1")).calls == 0
    for number in range(10):
        recorder.record(made(number))
    assert (await records.stats("acme", "inst_1")).calls == 10
    recorder.record(made(10, status="timeout", duration_us=90_000, error_message="too slow"))
    recorder.record(made(11, status="user-error", error_code="user-error"))
    stats = await records.stats("acme", "inst_1")
    assert (stats.calls, stats.failures, stats.maximum_ms, stats.cpu_ms) == (12, 1, 90.0, 9.6)
    assert stats.average_ms == pytest.approx((sum(range(1000, 1010)) + 90_000 + 1011) / 12 / 1000)
    assert (stats.last_error_code, stats.last_error_message) == ("timeout", "too slow")
    assert stats.last_run_at == datetime(2026, 3, 1, 12, 0, 11, tzinfo=UTC)
    assert stats.last_error_at == datetime(2026, 3, 1, 12, 0, 10, tzinfo=UTC)


async def test_a_late_record_does_not_turn_the_last_run_back(recorder: Recorder, records: Records) -> None:
    recorder.record(made(9))
    await recorder.flush()
    recorder.record(made(3))
    assert (await records.stats("acme", "inst_1")).last_run_at == datetime(2026, 3, 1, 12, 0, 9, tzinfo=UTC)


async def test_one_tenant_does_not_see_anothers_records(recorder: Recorder, records: Records) -> None:
    recorder.record(made(1, status="error", log=[("info", "hello", {})]))
    assert (await records.stats("other", "inst_1")).calls == 0
    assert await records.errors("other", "inst_1") == []
    assert (await records.logs("other", "inst_1", ALL)).items == []
    assert (await records.invocations("other", "inst_1", ALL)).items == []


async def test_run_stores_by_itself(database: Database, folder: Path, clock: ManualClock) -> None:
    recorder = Recorder(database, folder, clock, interval_s=0.01)

    async def is_stored() -> bool:
        return len(await stored(database)) == 1

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(recorder.run())
        recorder.record(made(1))
        await until(is_stored)
        running.cancel()
    await recorder.close()
    assert entries(folder) == []


async def test_a_full_batch_does_not_wait(database: Database, folder: Path, clock: ManualClock) -> None:
    recorder = Recorder(database, folder, clock, interval_s=3600, batch_size=5)

    async def are_stored() -> bool:
        return len(await stored(database)) == 5

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(recorder.run())
        for number in range(5):
            recorder.record(made(number))
        await until(are_stored)
        running.cancel()
    await recorder.close()


@pytest.mark.parametrize("flushes", [0, 1])
async def test_nothing_is_lost_when_the_process_is_killed(database: Database, folder: Path, flushes: int) -> None:
    count = await asyncio.to_thread(write_until_killed, database, folder, flushes)
    recorder = Recorder(database, folder)
    await recorder.replay()
    found = await stored(database)
    assert len(found) >= count
    assert found == [f"inv_{number:026d}" for number in range(len(found))]
    stats = await Records(database, recorder).stats("acme", "inst_1")
    assert stats.calls == len(found)
    assert entries(folder) == []
    await recorder.close()


async def test_replaying_what_is_stored_already_changes_nothing(database: Database, folder: Path) -> None:
    for _ in range(3):
        segment = Segment.create(folder)
        for number in range(4):
            segment.append(encode_frame(made(number, log=[("info", "once", {})])))
        segment.close()
        recorder = Recorder(database, folder)
        assert await recorder.replay() == 4
        await recorder.close()
    records = Records(database, Recorder(database, folder))
    assert (await records.stats("acme", "inst_1")).calls == 4
    assert len((await records.logs("acme", "inst_1", ALL)).items) == 4


async def test_the_journal_of_a_living_process_is_left_alone(
    database: Database, folder: Path, recorder: Recorder
) -> None:
    recorder.record(made(1))
    other = Recorder(database, folder)
    assert await other.replay() == 0
    await recorder.flush()
    assert await stored(database) == [made(1).id]


@pytest.mark.parametrize("damage", ["cut", "flip", "garbage"])
def test_a_damaged_end_costs_only_what_is_damaged(tmp_path: Path, damage: str) -> None:
    segment = Segment.create(tmp_path)
    for number in range(3):
        segment.append(encode_frame(made(number)))
    path = segment.path
    segment.close()
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-5:]
    elif damage == "flip":
        data[-1] ^= 0xFF
    else:
        data += b"\xff" * 100
    path.write_bytes(data)
    (left,) = leftovers(tmp_path)
    assert [record.id for record in left.read()] == [made(n).id for n in range(3 if damage == "garbage" else 2)]
    left.discard()


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_in_the_folder_stop_the_start(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("journal")
    (folder / "seg_x.journal").write_bytes(b"JFJ1" + data)
    for segment in leftovers(folder):
        assert segment.read() == []
        segment.discard()


async def test_while_the_database_is_locked_records_wait_and_none_is_lost(
    database: Database, recorder: Recorder
) -> None:
    @event.listens_for(database.engine.sync_engine, "connect")
    def _impatient(connection: object, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=10").close()  # type: ignore[attr-defined]  # a DB-API connection

    await database.engine.dispose()
    blocker = await asyncio.to_thread(block_writes, database)
    try:
        for number in range(3):
            recorder.record(made(number))
            with pytest.raises(OperationalError):
                await recorder.flush()
    finally:
        await asyncio.to_thread(blocker.communicate, "", timeout=20)
    await recorder.flush()
    assert len(await stored(database)) == 3


async def test_what_could_not_be_stored_until_the_end_is_there_after_the_next_start(
    database: Database, folder: Path
) -> None:
    missing = Database(database.url.replace("jackfield.sqlite3", "empty.sqlite3"))  # has no tables
    recorder = Recorder(missing, folder)
    for number in range(3):
        recorder.record(made(number))
    await recorder.close()
    await missing.close()
    again = Recorder(database, folder)
    assert await again.replay() == 3
    assert len(await stored(database)) == 3


async def test_many_records_during_an_outage_are_read_back_from_the_journal(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.records.recorder._MEMORY_LIMIT", 10)
    recorder = Recorder(database, folder)
    async with database.write(None) as session:
        await session.execute(text("ALTER TABLE jf_invocations RENAME TO away"))
    for number in range(35):
        recorder.record(made(number))
        if number % 6 == 5:
            with pytest.raises(OperationalError):
                await recorder.flush()
    async with database.write(None) as session:
        await session.execute(text("ALTER TABLE away RENAME TO jf_invocations"))
    await recorder.flush()
    assert len(await stored(database)) == 35
    await recorder.close()
    assert entries(folder) == []


async def test_without_a_journal_records_still_reach_the_tables(database: Database, folder: Path) -> None:
    await asyncio.to_thread(folder.write_text, "a file where the folder should be")
    recorder = Recorder(database, folder)
    recorder.record(made(1))
    await recorder.flush()
    assert len(await stored(database)) == 1
    await recorder.close()


async def test_odd_text_of_a_plugin_holds_nothing_up(recorder: Recorder, records: Records, database: Database) -> None:
    odd = "nul \0, half a pair \ud800, " + "long " * 50_000
    recorder.record(
        made(1, status="error", error_message=odd, error_code=odd, log=[(odd, odd, {"n": float("nan"), "s": odd})])
    )
    recorder.record(made(2, started_at=1e300))  # no date can hold it
    recorder.record(made(3))
    await recorder.flush()
    assert await stored(database) == [made(1).id, made(3).id]
    (error,) = await records.errors("acme", "inst_1")
    assert error.error_message is not None
    assert error.error_message.startswith("nul \ufffd, half a pair ?, long")
    assert len(error.error_message) <= 64 * 1024
    assert len(error.error_code or "") <= 128


async def test_log_lines_page_from_the_latest_and_filter_by_level(recorder: Recorder, records: Records) -> None:
    levels = ("debug", "info", "warning", "error")
    for number in range(8):
        recorder.record(made(number, log=[(levels[number % 4], f"line {number}", {"n": number})]))
    first = await records.logs("acme", "inst_1", PageRequest(limit=5))
    second = await records.logs("acme", "inst_1", PageRequest(first.next_cursor, 5))
    assert [row.message for row in first.items + second.items] == [f"line {n}" for n in reversed(range(8))]
    assert second.next_cursor is None
    serious = await records.logs("acme", "inst_1", ALL, "warning")
    assert [row.level for row in serious.items] == ["error", "warning", "error", "warning"]
    assert first.items[0].fields == {"n": 7}


async def test_invocations_page_through_equal_times(recorder: Recorder, records: Records) -> None:
    for number in range(9):
        recorder.record(made(number, started_at=1_772_366_400.25 + number // 4))
    seen: list[str] = []
    page = PageRequest(limit=2)
    while True:
        found = await records.invocations("acme", "inst_1", page)
        seen += [row.id for row in found.items]
        if found.next_cursor is None:
            break
        page = PageRequest(found.next_cursor, 2)
    assert seen == [made(n).id for n in reversed(range(9))]


async def test_errors_are_the_latest_fifty(recorder: Recorder, records: Records) -> None:
    for number in range(120):
        recorder.record(made(number, status="crashed" if number % 2 else "ok"))
    found = await records.errors("acme", "inst_1")
    assert [row.id for row in found] == [made(n).id for n in range(119, 19, -2)]


async def test_an_installation_can_be_purged_without_a_trace(recorder: Recorder, database: Database) -> None:
    for number in range(4):
        recorder.record(made(number, installation_id=f"inst_{number % 2}", log=[("info", "x", {})]))
    await recorder.flush()
    async with database.write("acme") as session:
        assert await inventory(session, "inst_1") == {"invocations": 2, "logs": 2}
        await purge(session, "inst_1")
        assert await inventory(session, "inst_1") == {"invocations": 0, "logs": 0}
        assert await inventory(session, "inst_0") == {"invocations": 2, "logs": 2}
    assert (await Records(database, recorder).stats("acme", "inst_1")).calls == 0


def test_only_the_owner_may_read_the_journal(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    segment = Segment.create(folder)
    assert (os.stat(folder).st_mode & 0o777, os.stat(segment.path).st_mode & 0o777) == (0o700, 0o600)
    segment.discard()
