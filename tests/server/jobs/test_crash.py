"""Nothing is lost and no order is broken when the process is killed with SIGKILL, in the middle of whatever it does."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from jackfield.db import Database
from tests.server.jobs.helpers import deliveries, emit, states

WORKER = Path(__file__).with_name("worker.py")


def start(database: Database, notes: Path, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), database.url, str(notes), mode], stdout=subprocess.PIPE, text=True
    )


def kill_when_begun(database: Database, notes: Path) -> None:
    """Start a worker that hangs in its handlers; kill it there."""
    with start(database, notes, "hang") as worker:
        assert worker.stdout is not None
        # One ordered delivery of each installation, and both that are not ordered.
        assert [worker.stdout.readline() for _ in range(5)] == ["ready\n"] + ["begun\n"] * 4
        worker.send_signal(signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL


def kill_after(database: Database, notes: Path, lines: int) -> bool:
    """Start a worker; kill it when it has written so many lines more. Whether there was something left to kill."""
    before = len(read(notes))
    with start(database, notes, "work") as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        while worker.poll() is None and len(read(notes)) < before + lines:
            pass
        worker.send_signal(signal.SIGKILL)
        return worker.wait() == -signal.SIGKILL


def finish(database: Database, notes: Path) -> None:
    """A worker that is left in peace until there is nothing to do."""
    with start(database, notes, "work") as worker:
        assert worker.wait(timeout=60) == 0


def read(notes: Path) -> list[list[str]]:
    """What the handlers did: handler, delivery id, payload, attempt."""
    if not notes.exists():
        return []
    # The last line may be half written when the worker is killed; it counts as nothing.
    return [line.split() for line in notes.read_text().split("\n")[:-1]]


@pytest.mark.usefixtures("on_sqlite")
async def test_a_delivery_that_was_running_when_the_process_died_runs_again(database: Database, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    await emit(database, 1, 2)
    await asyncio.to_thread(kill_when_begun, database, notes)
    killed = read(notes)
    assert set(await states(database)) == {"running", "pending"}
    assert {row.lease_owner for row in await deliveries(database) if row.state == "running"} != {None}

    await asyncio.to_thread(finish, database, notes)

    assert set(await states(database)) == {"done"}
    again = read(notes)[len(killed) :]
    interrupted = {(handler, delivery, payload) for handler, delivery, payload, _ in killed}
    assert {attempt for *_, attempt in killed} == {"1"}
    for handler, delivery, payload, attempt in again:
        assert attempt == ("2" if (handler, delivery, payload) in interrupted else "1")
    assert [payload for handler, _, payload, _ in again if handler == "acme-a/h"] == ["1", "2"]
    # The platform's own death is no failure of the plugin: the number of attempts that it has is untouched.
    assert {row.failures for row in await deliveries(database)} == {0}


@pytest.mark.usefixtures("on_sqlite")
async def test_no_event_is_lost_or_overtaken_in_a_storm_of_kills(database: Database, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    chance = random.Random(7)
    total = 60
    for n in range(0, total, 4):
        await emit(database, n, n + 1, n + 2, n + 3)
    kills = 0
    while kills < 5 and await asyncio.to_thread(kill_after, database, notes, chance.randint(1, 24)):
        kills += 1
    assert kills >= 4
    await asyncio.to_thread(finish, database, notes)

    assert await states(database) == ["done"] * total * 3
    by_handler: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for handler, delivery, payload, _ in read(notes):
        by_handler[handler].append((int(payload), delivery))
    assert set(by_handler) == {"acme-a/h", "acme-b/h", "acme-b/free"}
    for handler, seen in by_handler.items():
        assert {payload for payload, _ in seen} == set(range(total))
        assert len({delivery for _, delivery in seen}) == total, "an id is stable over attempts"
        if not handler.endswith("free"):
            # At most the one that ran is repeated, at once, and nothing comes before its predecessor.
            assert [payload for payload, _ in seen] == sorted(payload for payload, _ in seen)
