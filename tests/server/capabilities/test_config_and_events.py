"""What a plugin is told of its configuration, and what it tells others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from jackfield.capabilities import Gate
from jackfield.capabilities.errors import (
    ArgumentsInvalidError,
    EventNotDeclaredError,
    EventPayloadMismatchError,
    PermissionDeniedError,
)
from jackfield.db import Database
from jackfield.jobs.models import OutboxEvent
from tests.server.capabilities.installations import Installed, installed


async def outbox(database: Database) -> list[tuple[str, str, Any, str]]:
    async with database.read(None) as session:
        rows = await session.scalars(select(OutboxEvent))
        return [(row.tenant_id, row.name, msgspec.json.decode(row.payload), row.source) for row in rows]


async def test_configuration_comes_without_secrets_and_without_a_grant(gate: Gate) -> None:
    plugin = installed(gate, grants=[], config={"rate": 1.5, "api_key": "should not be here", "list": [1]})
    assert await plugin.call("config", "get") == {"rate": 1.5, "list": [1]}


async def test_an_event_is_committed_in_the_tenants_name_with_its_source(plugin: Installed, database: Database) -> None:
    event_id = await plugin.call("events", "emit", name="loyalty.awarded", payload={"points": 3})
    assert isinstance(event_id, str)
    assert await outbox(database) == [("acme", "loyalty.awarded", {"points": 3}, "loyalty")]


@pytest.mark.parametrize(
    ("name", "payload", "error"),
    [
        ("loyalty.other", {"points": 3}, EventNotDeclaredError),
        ("sale.created", {"points": 3}, PermissionDeniedError),
        ("loyalty.awarded", {}, EventPayloadMismatchError),
        ("loyalty.awarded", {"points": "3"}, EventPayloadMismatchError),
        ("loyalty.awarded", {"points": 3, "at": b"raw"}, ArgumentsInvalidError),
        ("loyalty.awarded", {"points": 3, "text": "\0"}, ArgumentsInvalidError),
        ("loyalty.awarded", {"points": 3, "text": "x" * 70_000}, ArgumentsInvalidError),
        ("loyalty.*", {"points": 3}, ArgumentsInvalidError),
        ("loyalty.awarded\n", {"points": 3}, ArgumentsInvalidError),
    ],
)
async def test_an_event_that_is_not_declared_or_does_not_fit_is_not_sent(
    plugin: Installed, database: Database, name: str, payload: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await plugin.call("events", "emit", name=name, payload=payload)
    assert await outbox(database) == []
