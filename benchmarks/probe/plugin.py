"""Measures from inside an isolate, where a plugin's author would feel it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Annotated

import jackfield_sdk as jf

plugin = jf.Plugin(
    "probe",
    version="1.0.0",
    name="Probe",
    summary="Measures from inside an isolate, for the benchmarks.",
    category="utility",
    licence="MIT",
    author="Jackfield",
    # Not the usual limit, which spare isolates are sealed for: each first call here makes a process of its own.
    limits=jf.Limits(memory_mb=96),
)


@plugin.function(read_only=True)
def echo(ctx: jf.Context, text: str) -> str:
    """Say back a text."""
    return text


@plugin.route("GET", "/hello/{name}", rate_limit_per_minute=100_000)
def hello(ctx: jf.Context, request: jf.Request) -> dict[str, str]:
    """As small as a route can be."""
    return {"text": f"hello, {request.params['name']}"}


@plugin.function()
def fill(ctx: jf.Context, count: Annotated[int, jf.Meta(ge=1, le=500)]) -> None:
    """Store some values, `k0` and on."""
    for number in range(count):
        ctx.storage.set(f"k{number}", {"n": number})


@plugin.function(read_only=True)
def time_gets(ctx: jf.Context, key: str, count: Annotated[int, jf.Meta(ge=1, le=900)]) -> list[float]:
    """Seconds of each of `count` reads of one key, by the isolate's clock."""
    seconds: list[float] = []
    for _ in range(count):
        start = perf_counter()
        value = ctx.storage.get(key)
        seconds.append(perf_counter() - start)
        if value is None:
            raise jf.UserError(f"there is no {key}", code="key-missing")
    return seconds


@plugin.function()
def time_increments(ctx: jf.Context, count: Annotated[int, jf.Meta(ge=1, le=900)]) -> list[float]:
    """Seconds of each of `count` additions to one number in storage."""
    return _timed(count, lambda: ctx.storage.increment("count"))


@plugin.function()
def time_sets(ctx: jf.Context, count: Annotated[int, jf.Meta(ge=1, le=900)]) -> list[float]:
    """Seconds of each of `count` writes of one key."""
    return _timed(count, lambda: ctx.storage.set("value", 1))


@plugin.function()
def time_cached_increments(ctx: jf.Context, count: Annotated[int, jf.Meta(ge=1, le=900)]) -> list[float]:
    """Seconds of each of `count` additions to one number in the cache."""
    return _timed(count, lambda: ctx.cache.increment("count"))


def _timed(count: int, do: Callable[[], object]) -> list[float]:
    seconds: list[float] = []
    for _ in range(count):
        start = perf_counter()
        do()
        seconds.append(perf_counter() - start)
    return seconds
