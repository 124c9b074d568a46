"""Does what a tenant's neighbours must not feel, and what only a deadline ends."""

from __future__ import annotations

import collections
import itertools
import os
import time

import jackfield_sdk as jf

plugin = jf.Plugin(
    "rowdy",
    version="1.0.0",
    name="Rowdy",
    summary="Does what a tenant's neighbours must not feel, for the benchmarks.",
    category="utility",
    licence="MIT",
    author="Jackfield",
)

LIMIT_MS = 200
"""Of the handlers that only a deadline ends."""


@plugin.function(read_only=True)
def echo(ctx: jf.Context, text: str) -> str:
    """Say back a text."""
    return text


@plugin.function()
def nap(ctx: jf.Context) -> None:
    """Sleep for long."""
    time.sleep(5)


@plugin.function()
def burn(ctx: jf.Context) -> None:
    """Use a processor until somebody ends it."""
    while True:
        pass


@plugin.function()
def crash(ctx: jf.Context) -> None:
    """Take the process away."""
    os._exit(7)


@plugin.function(timeout_ms=LIMIT_MS)
def loop(ctx: jf.Context) -> None:
    """Never return."""
    while True:
        pass


@plugin.function(timeout_ms=LIMIT_MS)
def sleep(ctx: jf.Context) -> None:
    """Never return, at no cost."""
    time.sleep(60)


@plugin.function(timeout_ms=LIMIT_MS)
def loop_in_c(ctx: jf.Context) -> None:
    """Never return to the interpreter, which would look for signals."""
    collections.deque(itertools.repeat(None), maxlen=0)


@plugin.function(timeout_ms=LIMIT_MS)
def swallow(ctx: jf.Context) -> None:
    """Never return, whatever is raised."""
    while True:
        try:
            while True:
                time.sleep(0.001)
        except BaseException:
            continue
