"""A small hostile plugin in a pool of its own, at every level that this process may have."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from jackfield.isolation import CallLimits, CallRequest, CallResult, IsolatePool, IsolateSpec, PoolSettings, Supervisor
from jackfield_sandbox import sealed
from jackfield_sdk import wire

LEVELS = ["strict", "unprivileged"] if os.geteuid() == 0 else ["unprivileged"]
SOURCE = b"""
import os
import threading
import time

import jackfield_sdk as jf

plugin = jf.Plugin("probe", version="1.0.0")
kept = []


@plugin.function()
def echo(ctx: jf.Context, text: str) -> str:
    return text


@plugin.function()
def pid(ctx: jf.Context) -> int:
    kept.append(1)
    return len(kept)


@plugin.function()
def loop(ctx: jf.Context) -> None:
    while True:
        pass


@plugin.function()
def leave_it_hot(ctx: jf.Context) -> None:
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass


@plugin.function()
def loop_in_c(ctx: jf.Context) -> int:
    return pow(3, 10**9) % 7


@plugin.function()
def swallow(ctx: jf.Context) -> None:
    while True:
        try:
            while True:
                time.sleep(0.01)
        except BaseException:
            pass


@plugin.function()
def sleep(ctx: jf.Context, seconds: float) -> None:
    time.sleep(seconds)


@plugin.function()
def eat(ctx: jf.Context) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


@plugin.function()
def threads(ctx: jf.Context) -> int:
    gate = threading.Event()
    started = 0
    try:
        while started < 5000:
            threading.Thread(target=gate.wait, daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    gate.set()
    return started


@plugin.function()
def fork(ctx: jf.Context) -> None:
    os.fork()


@plugin.function()
def die(ctx: jf.Context, status: int) -> None:
    os._exit(status)


@plugin.function()
def segfault(ctx: jf.Context) -> None:
    import ctypes
    ctypes.string_at(0)


@plugin.function()
def recurse(ctx: jf.Context) -> None:
    def deeper():
        deeper()
    deeper()


@plugin.function()
def shout(ctx: jf.Context, lines: int) -> None:
    for _ in range(lines):
        print("x" * 1000)


@plugin.function()
def garbage(ctx: jf.Context, data: str) -> None:
    os.write(200, bytes.fromhex(data))
    time.sleep(5)


@plugin.function()
def not_data(ctx: jf.Context) -> object:
    return object()


@plugin.function()
def large(ctx: jf.Context, size: int) -> str:
    return "x" * size


@plugin.function()
def deep(ctx: jf.Context) -> list:
    value = []
    for _ in range(200):
        value = [value]
    return value


@plugin.function()
def ask(ctx: jf.Context, times: int) -> int:
    for index in range(times):
        ctx.storage.get(f"k{index}")
    return times


@plugin.function()
async def later(ctx: jf.Context) -> str:
    import asyncio
    await asyncio.sleep(0.01)
    return "later"


@plugin.function()
def secret_error(ctx: jf.Context) -> None:
    raise ValueError("told")
"""

LIMITS = CallLimits(
    wall_ms=3_000, cpu_ms=600, host_calls=50, result_bytes=100_000, host_call_bytes=50_000, output_bytes=20_000
)


class Probe:
    """Calls the hostile plugin as installation `owner`."""

    def __init__(self, pool: IsolatePool, image: Path) -> None:
        self.pool = pool
        self.image = image
        self.host_calls: list[wire.HostCall] = []

    def spec(
        self, owner: str = "a", *, revision: int = 1, memory_mb: int = 64, concurrency: int = 2, tenant: str = ""
    ) -> IsolateSpec:
        return IsolateSpec(
            (owner, revision), owner, "probe", "plugin", self.image, msgspec.Raw(wire.encode({})), [], memory_mb,
            concurrency, tenant
        )  # fmt: skip

    async def call(
        self,
        handler: str,
        arguments: dict[str, Any] | None = None,
        *,
        spec: IsolateSpec | None = None,
        limits: CallLimits = LIMITS,
    ) -> CallResult:
        request = CallRequest(
            "function",
            handler,
            msgspec.Raw(wire.encode(arguments or {})),
            wire.CallContext("t", "i", "function"),
            limits,
        )

        async def answer(call: wire.HostCall) -> wire.HostReply:
            self.host_calls.append(call)
            return wire.HostReply(call.id, msgspec.Raw(wire.encode({"found": False, "value": None})))

        return await self.pool.run(spec or self.spec(), request, answer)

    @staticmethod
    def value(result: CallResult) -> Any:
        assert result.status == "ok", result
        return msgspec.msgpack.decode(result.value)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "probe.img"
    path.write_bytes(sealed.build_image({"src/plugin.py": SOURCE}))
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


MakeProbe = Callable[..., Probe]


@pytest_asyncio.fixture(params=LEVELS)
async def probe(request: pytest.FixtureRequest, image: Path, cache: Path) -> AsyncIterator[Probe]:
    pool = IsolatePool(
        Supervisor(request.param, cache), PoolSettings(budget=6, spares=1, spare_memory_mb=64, calls=1000)
    )
    await pool.start()
    try:
        yield Probe(pool, image)
    finally:
        await pool.stop()
