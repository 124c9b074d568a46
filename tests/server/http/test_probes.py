"""Strangers learn which part of a node is not well, nothing about it, and make no work by asking."""

from __future__ import annotations

import asyncio

import pytest

from jackfield.http import probes, probes_router
from tests.server.conftest import KnownCallers, application, client


async def test_a_part_that_fails_hangs_or_says_no_is_named_and_the_reason_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probes, "_PATIENCE_S", 0.05)
    asked: list[str] = []

    async def good() -> bool:
        asked.append("good")
        return True

    async def bad() -> bool:
        raise OSError("postgresql://ann:hunter2@db.internal refused")

    async def silent() -> bool:
        await asyncio.Event().wait()
        return True

    checks = {"isolates": good, "database": bad, "disk": silent}
    is_draining = False
    async with client(application(KnownCallers({}), probes_router(lambda: is_draining, checks))) as http:
        assert [(await http.get("/readyz")).status_code for _ in range(3)] == [503] * 3
        assert (await http.get("/readyz")).json() == {
            "status": "unavailable",
            "parts": {"isolates": "ok", "database": "unavailable", "disk": "unavailable"},
        }
        assert asked == ["good"], "what was found is told again for a while"
        is_draining = True
        assert (await http.get("/readyz")).json()["status"] == "draining"
        assert (await http.get("/healthz")).status_code == 200
