"""What a node costs that has nothing to do: its share of one processor, with all its children, over 20 seconds.

Goal: at most 1 %. A real `jackfield serve` on PostgreSQL (the server's own share is not counted) and on SQLite; the
peer is a DBOS worker with nothing in its queue.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from benchmarks.harness import Beside, Effort, Figure, Ours, Question, p50
from benchmarks.peers import PEERS_PYTHON, Program
from benchmarks.peers.processor import share_of_a_processor

START_TIMEOUT_S = 60
SETTLED_S = 5


@asynccontextmanager
async def _serving(url: str | None) -> AsyncIterator[int]:
    """A node on new data that has settled; its process id."""
    from benchmarks.host import isolation

    with tempfile.TemporaryDirectory(prefix="jackfield-bench-") as folder:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        more = {"JACKFIELD_SECRET_KEY": f"bench:{base64.b64encode(os.urandom(32)).decode()}"}
        if url is not None:
            more["JACKFIELD_DATABASE_URL"] = url
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "jackfield", "serve", "--data", str(Path(folder) / "data"), "--port", str(port),
            "--isolation", isolation(), env={**os.environ, **more},
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with httpx.AsyncClient() as http, asyncio.timeout(START_TIMEOUT_S):
                while True:
                    if process.returncode is not None:
                        raise RuntimeError(f"the node ended with status {process.returncode}")
                    try:
                        if (await http.get(f"http://127.0.0.1:{port}/api/health")).status_code == 200:
                            break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
            await asyncio.sleep(SETTLED_S)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


@asynccontextmanager
async def _ours(effort: Effort) -> AsyncIterator[Ours]:
    from benchmarks.postgres import durable

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(durable())
        on_postgresql = await stack.enter_async_context(_serving(server.url(await server.create())))
        on_sqlite = await stack.enter_async_context(_serving(None))

        async def postgresql(count: int) -> list[float]:
            return [await asyncio.to_thread(share_of_a_processor, on_postgresql, count)]

        async def sqlite(count: int) -> list[float]:
            return [await asyncio.to_thread(share_of_a_processor, on_sqlite, count)]

        yield Ours(postgresql, beside=(("a node on SQLite", sqlite),))


QUESTIONS = (
    Question(
        name="idle_node",
        figures=(Figure("idle_node", "%", p50),),
        count=20,
        rounds=1,
        ours=_ours,
        peers=(Beside(Program("DBOS, idle worker", "dbos", (PEERS_PYTHON, "dbos_queue.py", "idle")), 20),),
    ),
)
