"""`ctx.http` from inside an isolate: out to the platform, checked, to a server on loopback and back.

Beside it httpx alone, from this process to the same server, on a connection that it keeps as we do.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter

import httpx

from benchmarks.harness import Effort, Figure, Ours, Question, p50
from jackfield.settings import EgressSettings

_SERVER = """
import asyncio

ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 13\\r\\n\\r\\n" + b'{"answer":42}'

async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\\r\\n\\r\\n")
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

_PLUGIN = '''
from time import perf_counter
from typing import Annotated

import jackfield_sdk as jf

plugin = jf.Plugin("fetcher", version="1.0.0", permissions=["http:127.0.0.1:PORT"])


@plugin.function()
def time_requests(ctx: jf.Context, count: Annotated[int, jf.Meta(ge=1, le=900)]) -> list[float]:
    """Seconds of each of `count` requests, by the isolate's clock."""
    seconds: list[float] = []
    for _ in range(count):
        start = perf_counter()
        answer = ctx.http.get("http://127.0.0.1:PORT/answer").json()
        seconds.append(perf_counter() - start)
        if answer != {"answer": 42}:
            raise jf.UserError("another answer", code="answer-wrong")
    return seconds
'''


@contextmanager
def server() -> Iterator[int]:
    """A server in a process of its own; its port."""
    process = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@asynccontextmanager
async def ours(_effort: Effort) -> AsyncIterator[Ours]:
    """The plugin itself times each request."""
    from benchmarks.host import started

    with server() as port, tempfile.TemporaryDirectory(prefix="jackfield-bench-") as name:
        project = Path(name) / "fetcher"
        project.mkdir()
        (project / "plugin.py").write_text(_PLUGIN.replace("PORT", str(port)))
        (project / "pyproject.toml").write_text('[project]\nname = "fetcher"\nversion = "1.0.0"\n')
        egress = EgressSettings(allowed=("127.0.0.1",), requests_per_minute=1_000_000)
        async with started(project, egress=egress) as host, httpx.AsyncClient(trust_env=False) as client:
            (fetcher,) = await host.install("fetcher", tenants=1, grants=[f"http:127.0.0.1:{port}"])

            async def sample(count: int) -> list[float]:
                return await fetcher.call("time_requests", count=count)

            async def alone(count: int) -> list[float]:
                seconds: list[float] = []
                for _ in range(count):
                    start = perf_counter()
                    (await client.get(f"http://127.0.0.1:{port}/answer")).json()
                    seconds.append(perf_counter() - start)
                return seconds

            yield Ours(sample, beside=(("httpx alone", alone),))


QUESTIONS = (Question(name="egress", figures=(Figure("egress_get_p50", "µs", p50),), count=300, ours=ours, peers=()),)
