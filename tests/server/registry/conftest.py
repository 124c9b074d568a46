from __future__ import annotations

from pathlib import Path

import pytest

from jackfield.db import Database
from jackfield.registry import Registry
from tests.server.conftest import ManualClock
from tests.server.registry.uploads import prepare


@pytest.fixture
async def registry(database: Database, tmp_path: Path, clock: ManualClock) -> Registry:
    """A registry with one publisher who has one key."""
    registry = Registry(database, tmp_path / "data", clock=clock, host_events={"sale.created"})
    await registry.start()
    await prepare(registry)
    return registry
