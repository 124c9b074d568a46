"""A platform whose handlers write through the gate, to be killed between their writes and at its commits.

Arguments: database URL. It prints a line when a handler begins, before it commits and after that.
"""

from __future__ import annotations

import asyncio
import sys

from jackfield.db import Database
from jackfield.errors import JackfieldError
from jackfield.jobs import DeliveryResult, DeliverySnapshot, Dispatcher, DispatchSettings, RetryPolicy, Subscription
from tests.server.capabilities.installations import installed, make_gate
from tests.server.jobs.helpers import Handler
from tests.server.jobs.writing import Writer


class One:
    async def subscribers(self, tenant_id: str, event_name: str) -> list[Subscription]:
        if event_name != "sale.created":
            return []
        return [Subscription("inst_a", "h"), Subscription("inst_a", "free", ordered=False)]


def note(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(url: str) -> None:
    database = Database(url)
    plugin = installed(make_gate(database))

    async def act(delivery: DeliverySnapshot) -> DeliveryResult:
        note("begun")
        writer = Writer(plugin, delivery)
        try:
            await write(writer, delivery.handler, delivery.payload)
            note("written")
            await writer.settle()
        except JackfieldError as error:
            return DeliveryResult("retry", error.code, str(error))
        note("committed")
        return DeliveryResult("done")

    async def write(writer: Writer, name: str, number: int) -> None:
        await writer.call("storage", "increment", key=f"{name}.count", by=1)
        await writer.call("storage", "increment", key=f"{name}.sum", by=number)
        await writer.call("tables", "insert", table="ledger", row={"customer": name, "points": number})
        await writer.call("events", "emit", name="loyalty.awarded", payload={"points": number})

    settings = DispatchSettings(retry=RetryPolicy(base_s=0.01))
    await Dispatcher(database, One(), Handler(act), settings=settings).drain()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
