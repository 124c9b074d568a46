"""A node that seemed dead and is not: another one goes on with its operation, and it does not."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from jackfield.lifecycle.errors import OperationTakenOverError
from jackfield.lifecycle.models import OperationRow
from tests.server.lifecycle.conftest import TENANT, House, plugin_of, with_hooks


@pytest.mark.parametrize("hook", ["on_deactivate", "on_activate"])
async def test_a_node_that_was_taken_for_dead_does_not_go_on_with_an_operation(house: House, hook: str) -> None:
    """Its next write to the journal is refused, together with whatever else is in that transaction."""
    house.catalogue.add(with_hooks(plugin_of()))
    await house.lifecycle.install(TENANT, "points")
    if hook == "on_activate":
        await house.lifecycle.deactivate(TENANT, "points")

    async def be_taken_over(_invocation: Any) -> None:
        async with house.database.write(TENANT) as session:
            await session.execute(
                update(OperationRow).where(OperationRow.state == "running").values(owner="node_other")
            )

    house.runner.handlers[hook] = be_taken_over
    verb = house.lifecycle.activate if hook == "on_activate" else house.lifecycle.deactivate
    before = await house.state()
    with pytest.raises(OperationTakenOverError) as refused:
        await verb(TENANT, "points")
    assert refused.value.hint
    assert [row.state for row in await house.rows(OperationRow) if row.owner == "node_other"] == ["running"]
    # The other one, which knows that this one is gone, ends it.
    house.runner.handlers.pop(hook)
    (ended,) = await house.start().take_over()
    assert ended.error is None or ended.is_undoing
    assert before in ("active", "inactive", "activating", "deactivating")
    assert await house.state() in ("active", "inactive")
