"""One platform for all tests of this folder that change nothing for one another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.server.between.house import BASE, HERALD, LOOP, MID, STRANGER, House, link, running

LAST = 7


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    links = {
        f"link{number}": (link(number, LAST), [f"functions:link{number + 1}.go"] if number < LAST else [])
        for number in range(LAST, 0, -1)
    }
    plugins = {
        "base": (BASE, ["customers:read", "functions:mid.*"]),
        "mid": (MID, ["functions:base.*"]),
        "loop": (LOOP, []),
        "stranger": (STRANGER, ["functions:base.double"]),
        "herald": (HERALD, ["notify"]),
        **links,
    }
    async with running(tmp_path_factory.mktemp("between"), plugins) as house:
        yield house
