"""A gate on a real database."""

from __future__ import annotations

import pytest

from jackfield.capabilities import Gate
from jackfield.db import Database
from tests.server.capabilities.installations import Installed, host, installed, make_gate


@pytest.fixture
async def gate(database: Database) -> Gate:
    async with database.engine.begin() as connection:
        await connection.run_sync(host.create_all)
    return make_gate(database)


@pytest.fixture
def plugin(gate: Gate) -> Installed:
    return installed(gate)
