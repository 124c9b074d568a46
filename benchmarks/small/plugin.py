"""One function, as small as the script that isolated-vm runs."""

from __future__ import annotations

import jackfield_sdk as jf

plugin = jf.Plugin(
    "small",
    version="1.0.0",
    name="Small",
    summary="One function, as small as the peers' script, for the benchmarks.",
    category="utility",
    licence="MIT",
    author="Jackfield",
)


@plugin.function(read_only=True)
def echo(ctx: jf.Context, text: str) -> str:
    """Say back a text."""
    return text
