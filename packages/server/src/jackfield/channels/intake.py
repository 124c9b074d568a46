"""What comes in becomes events, once, in one transaction with the memory of it."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from sqlalchemy import update

from jackfield.channels import repository
from jackfield.channels.models import ChannelRow
from jackfield.channels.telegram_updates import Taken, read_update, update_id_of
from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.errors import JackfieldError
from jackfield.ids import new_id
from jackfield.jobs import outbox

__all__ = ["SOURCE", "Intake"]

SOURCE = "channel"
_log = structlog.get_logger("jackfield.channels")


class Intake:
    """Takes in what is said on channels."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    async def take(self, channel: ChannelRow, taken: Taken, *, next_update: int | None = None) -> bool:
        """Make the events; False when it came in before. Committed when this returns.

        Args:
            next_update: Kept in the same transaction: the updates before it are never asked for again.
        """
        async with self._database.write(channel.tenant_id) as session:
            is_new = await repository.add_once(
                session, self._database,
                {
                    "id": new_id("msg"), "tenant_id": channel.tenant_id, "channel_id": channel.id, "direction": "in",
                    "key": taken.key, "chat_id": taken.chat_id, "state": "done", "sequence": 0, "body": {},
                    "created_at": self._clock.now(),
                },
            )  # fmt: skip
            if is_new:
                for name, payload in taken.events:
                    outbox.add(session, channel.tenant_id, name, payload, SOURCE)
            if next_update is not None:
                await session.execute(_advanced(channel.id, next_update))
        return is_new

    async def take_update(self, channel: ChannelRow, update_: Any, *, is_fetched: bool = False) -> bool:
        """An update of Telegram's. One that cannot be read is noted and passed over: it would come for ever."""
        number = update_id_of(update_)
        next_update = None if number is None or not is_fetched else number + 1
        try:
            taken = read_update(update_, channel.id)
            if taken is not None:
                return await self.take(channel, taken, next_update=next_update)
        except (msgspec.ValidationError, JackfieldError) as error:
            if isinstance(error, JackfieldError) and error.code != "event-payload-invalid":
                raise
            _log.warning("update-unreadable", channel=channel.id, update=number, why=str(error)[:200])
        if next_update is not None:
            async with self._database.write(channel.tenant_id) as session:
                await session.execute(_advanced(channel.id, next_update))
        return False


def _advanced(channel_id: str, next_update: int) -> Any:
    return (
        update(ChannelRow)
        .where(ChannelRow.id == channel_id, ChannelRow.next_update < next_update)
        .values(next_update=next_update)
        .execution_options(synchronize_session=False)
    )
