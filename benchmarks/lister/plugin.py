"""Lists the host's entities from inside an isolate, where a plugin's author would feel what it takes."""

from __future__ import annotations

from time import perf_counter
from typing import Annotated

import jackfield_sdk as jf

plugin = jf.Plugin(
    "lister",
    version="1.0.0",
    name="Lister",
    summary="Lists the host's entities, for the benchmarks.",
    category="utility",
    licence="MIT",
    author="Jackfield",
    permissions=["customers:read"],
)


@plugin.function(read_only=True)
def time_lists(
    ctx: jf.Context,
    city: str,
    limit: Annotated[int, jf.Meta(ge=1, le=1000)],
    count: Annotated[int, jf.Meta(ge=1, le=900)],
) -> list[float]:
    """Seconds of each of `count` lists, by the isolate's clock."""
    seconds: list[float] = []
    for _ in range(count):
        start = perf_counter()
        rows = ctx.data["customers"].list({"city": city}, order="-points", limit=limit)
        seconds.append(perf_counter() - start)
        if len(rows) != limit:
            raise jf.UserError(f"{len(rows)} rows instead of {limit}", code="rows-missing")
    return seconds
