"""One platform for all tests of this folder, and new tenants for each: to start one takes longer than most of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.server.health.house import House, running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def platform_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with running(tmp_path_factory.mktemp("health")) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="session")
async def house(platform_house: House) -> House:
    await platform_house.move_in()
    return platform_house
