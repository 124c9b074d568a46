"""When a handler of an event began, by the clock that the host has too."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin(
    "clock",
    version="1.0.0",
    name="Clock",
    summary="Says when it was called, for the benchmarks.",
    category="utility",
    licence="MIT",
    author="Jackfield",
    permissions=["storage"],
)


@plugin.on("demo.ping")
def ping(ctx: jf.Context, payload: dict[str, Any]) -> None:
    """Writes down the moment."""
    ctx.storage.set("began", [payload["n"], perf_counter()])


@plugin.function(read_only=True)
def began(ctx: jf.Context) -> list[float]:
    """The last event's number, and the moment."""
    return ctx.storage.get("began", [-1, 0.0])
