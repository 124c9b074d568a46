"""A plugin's route over HTTP: requests per second of eight members of eight tenants, each with a token.

Goal: at least 0.4 of a bare FastAPI route under the same server. Ours signs in, finds the tenant's installation and the
route, counts, has a sealed process answer, fences the answer in and leaves a record; the peer does none of this.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.harness import Beside, Effort, Figure, Ours, Question, p50
from benchmarks.peers import OUR_PYTHON, Program

TENANTS = 8
"""One alone would be stopped by the largest rate limit that a route can ask for."""
PATH = "/api/plugins/probe/api/hello/ann"


@asynccontextmanager
async def ours(_effort: Effort) -> AsyncIterator[Ours]:
    """The platform in this process, which does nothing else meanwhile; the client in one of its own."""
    import uvicorn

    from benchmarks.host import PROBE, started

    async with started(PROBE) as host:
        installed = await host.install("probe", tenants=TENANTS)
        tokens = [
            (await host.platform.tenants.issue_token("member", tenant_id=probe.tenant.id)).plaintext
            for probe in installed
        ]
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(host.platform.asgi, lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        # Signals are the harness's.
        serving = asyncio.create_task(server._serve(sockets=[listener]))
        try:
            client = Program("client", "ours", (OUR_PYTHON, "http_load.py"))
            async with client.running(str(listener.getsockname()[1]), PATH, *tokens) as running:
                yield Ours(running.sample)
        finally:
            server.should_exit = True
            await serving


QUESTIONS = (
    Question(
        name="route",
        figures=(Figure("route_throughput", "/s", p50),),
        count=2000,
        ours=ours,
        peers=(Beside(Program("bare FastAPI", "fastapi", (OUR_PYTHON, "fastapi_route.py")), 4000),),
    ),
)
