"""Releases replace one another under load: no call is dropped, and after an update only the new one answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.server.conftest import until
from tests.server.health.house import running

SOURCE = """
import time

import jackfield_sdk as jf

plugin = jf.Plugin("fragile", version="VERSION", permissions=["http:example.com"])


@plugin.function()
def version(ctx: jf.Context) -> str:
    time.sleep(0.002)
    return "VERSION"


@plugin.on("order.placed")
def placed(ctx: jf.Context, order: dict[str, object]) -> None:
    ctx.storage.set("orders", [*ctx.storage.get("orders", []), order["n"]])


@plugin.function()
def orders(ctx: jf.Context) -> list[int]:
    return ctx.storage.get("orders", [])
"""
VERSIONS = [f"1.0.{number}" for number in range(1, 6)]


async def test_five_updates_under_constant_calls_drop_none(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        for version in VERSIONS:
            await house.publish(version, SOURCE)
        await house.move_in()
        in_force, coming = "1.0.0", "1.0.0"
        answers: list[tuple[str, Any]] = []
        wrong: list[Any] = []
        is_over = asyncio.Event()

        async def caller() -> None:
            while not is_over.is_set():
                # What is in force when a call begins, or comes into force while it runs, may answer it; nothing else.
                before = in_force
                answer = await house.call("version")
                answers.append((before, answer.get("output")))
                if answer.get("output") not in (before, in_force, coming):
                    wrong.append((before, answer))

        async def has_answered() -> bool:
            """A call has begun and ended while this release was in force."""
            return (in_force, in_force) in answers

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(caller())
            for number, version in enumerate(VERSIONS):
                await house.platform.tenant(house.tenant).emit("order.placed", {"n": number})
                await until(has_answered)
                coming = version
                body = {"version": version, "grants": ["http:example.com"]}
                updated = await house.ask("POST", "/fragile/update", json=body)
                assert (updated.status_code, updated.json()["version"]) == (200, version)
                in_force = version
            await until(has_answered)
            is_over.set()
        assert wrong == []
        assert {output for before, output in answers if before == VERSIONS[-1]} == {VERSIONS[-1]}
        await house.platform.drain_events()
        assert (await house.call("orders"))["output"] == list(range(len(VERSIONS)))
