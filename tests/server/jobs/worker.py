"""A platform with nothing but its dispatcher, to be killed. Run by test_crash.

Arguments: database URL, a file for notes, and `hang` or `work`. Each delivery leaves a line `installation event payload
attempt` in the file, before it ends: what a handler did in the world outside.
"""

from __future__ import annotations

import asyncio
import os
import sys

from jackfield.db import Database
from jackfield.jobs import DeliveryResult, DeliverySnapshot, Dispatcher, DispatchSettings, RetryPolicy, Subscription


class Two:
    """Two installations, one of them also with an unordered handler."""

    async def subscribers(self, tenant_id: str, event_name: str) -> list[Subscription]:
        return [
            Subscription(f"{tenant_id}-a", "h", max_attempts=2),
            Subscription(f"{tenant_id}-b", "h", max_attempts=2),
            Subscription(f"{tenant_id}-b", "free", ordered=False, max_attempts=2),
        ]


class Notes:
    """A handler that writes down what it is given."""

    def __init__(self, path: str, hangs: bool) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._hangs = hangs

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        name = f"{delivery.installation_id}/{delivery.handler}"
        os.write(self._file, f"{name} {delivery.id} {delivery.payload} {delivery.attempt}\n".encode())
        if self._hangs:
            sys.stdout.write("begun\n")
            sys.stdout.flush()
            await asyncio.Event().wait()
        await asyncio.sleep(0.0005 * (delivery.payload % 3))
        return DeliveryResult("done")


async def main(url: str, notes: str, mode: str) -> None:
    database = Database(url)
    settings = DispatchSettings(retry=RetryPolicy(base_s=0.01))
    dispatcher = Dispatcher(database, Two(), Notes(notes, mode == "hang"), settings=settings)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if mode == "hang":
        await dispatcher.run()
    await dispatcher.drain()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
