"""A handler's writes, as the invoker keeps and commits them, without an isolate."""

from __future__ import annotations

import dataclasses
from typing import Any

from jackfield.capabilities.work import Work
from jackfield.jobs import DeliverySnapshot
from tests.server.capabilities.installations import Installed


class Writer:
    """What one attempt at a delivery does through the gate."""

    def __init__(self, plugin: Installed, delivery: DeliverySnapshot) -> None:
        assert delivery.settling is not None
        self.work: Work = plugin.gate.work(delivery.settling)
        self.plugin = dataclasses.replace(plugin, context=dataclasses.replace(plugin.context, work=self.work))

    async def call(self, capability: str, operation: str, **arguments: Any) -> Any:
        return await self.plugin.call(capability, operation, **arguments)

    async def settle(self) -> None:
        if self.work.has_writes and not self.work.attempt.is_settled:
            await self.plugin.gate.settle(self.plugin.context, self.work, 1.0)
