"""Callers wait in their isolates, and are in nobody's way: however few places there are, each call comes to its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from jackfield.settings import LimitSettings, PlanSettings, QuotaSettings
from tests.server.between.house import TENANT, House, running

LEFT = """
from typing import Any
import jackfield_sdk as jf

plugin = jf.Plugin("{me}", version="1.0.0", uses={{"{other}": "*"}}, optional_permissions=["functions:{other}.*"])

@plugin.function(public=True)
def leaf(ctx: jf.Context, n: int) -> int:
    return n

@plugin.function()
def across(ctx: jf.Context, n: int) -> int:
    return ctx.functions["{other}"].leaf(n=n)
"""
MANY = 12


async def both_ways(house: House) -> Counter[str]:
    """Many calls at once, from each plugin to the other."""
    tenant = house.platform.tenant(TENANT)
    calls = [tenant.call(name, "across", {"n": n}) for n in range(MANY) for name in ("left", "right")]
    async with asyncio.timeout(60):
        results = await asyncio.gather(*calls)
    return Counter("ok" if result.success else str(result.error and result.error.code) for result in results)


def plugins() -> dict[str, Any]:
    return {
        "left": (LEFT.format(me="left", other="right"), []),
        "right": (LEFT.format(me="right", other="left"), []),
    }


async def grant(house: House) -> None:
    for me, other in (("left", "right"), ("right", "left")):
        held = (await house.installation(me)).grants
        await house.platform.lifecycle.set_grants(TENANT, me, sorted({*held, f"functions:{other}.*"}))


@pytest.mark.parametrize(
    ("concurrency", "budget"), [(1, None), (1, 2), (4, None), (4, 4)], ids=["one", "one-tight", "four", "four-tight"]
)
async def test_calls_across_do_not_wait_for_one_another_for_ever(
    tmp_path: Path, concurrency: int, budget: int | None
) -> None:
    options: dict[str, Any] = {"limits": LimitSettings(concurrency=concurrency)}
    if budget is not None:
        options["isolate_budget"] = budget
    async with running(tmp_path, plugins(), **options) as house:
        await grant(house)
        assert await both_ways(house) == {"ok": 2 * MANY}
        assert house.platform.isolates._slots.resting == 0
        assert all(not place.resting for place in house.platform.isolates._places.values())


async def test_one_call_at_a_time_is_enough_for_a_call_within_a_call(tmp_path: Path) -> None:
    plan = PlanSettings(tenant=QuotaSettings(concurrency=1), plugin=QuotaSettings(concurrency=1))
    async with running(tmp_path, plugins(), plans={"free": plan}) as house:
        await grant(house)
        assert await house.call("left", "across", n=3) == 3
        assert set(await both_ways(house)) == {"ok", "quota-exceeded"}
        assert await house.call("right", "across", n=4) == 4
