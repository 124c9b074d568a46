"""Writing on channels, for plugins: `ctx.gateways`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update

from jackfield.capabilities import CapabilityContext
from jackfield.capabilities.events import cause_of
from jackfield.channels import repository
from jackfield.channels.errors import (
    ChannelAmbiguousError,
    ChannelBrokenError,
    ChannelNotAssignedError,
    ChannelNotConnectedError,
    SendUnderWayError,
)
from jackfield.channels.intake import SOURCE
from jackfield.channels.interfaces import Button, Line, Outgoing, Reply
from jackfield.channels.lines import Lines
from jackfield.channels.models import ChannelRow, MessageRow
from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.errors import JackfieldError
from jackfield.ids import new_id
from jackfield.jobs import outbox
from jackfield_sdk.hooks import ChannelSent

__all__ = ["Sending"]

_UNDER_WAY = timedelta(seconds=60)
"""A message that is still not sent after that belongs to a call that died; it is sent again, perhaps for the second
time: nobody knows whether it went out."""


class Sending:
    """A `capabilities.GatewayCalls`."""

    def __init__(self, database: Database, lines: Lines, clock: Clock | None = None) -> None:
        self._database = database
        self._lines = lines
        self._clock = clock or SystemClock()

    async def list(self, context: CapabilityContext) -> list[dict[str, str]]:
        """Channels that a plugin is at work on and may use."""
        return [
            {"id": row.id, "kind": row.kind, "name": row.name, "state": row.state}
            for row in await self._assigned(context)
            if context.rights.covers(f"channels:{row.kind}")
        ]

    async def send(
        self,
        context: CapabilityContext,
        kind: str,
        channel: str | None,
        chat_id: str,
        text: str,
        format: Any,
        buttons: Sequence[Sequence[tuple[str, str | None, str | None]]],
        reply_to: str | None,
        key: str | None,
    ) -> dict[str, Any]:
        """Write to a chat; with a key, once."""
        row = await self._channel(context, kind, channel)
        message = Outgoing(chat_id, text, format, _buttons(buttons), reply_to)
        place = await self._begin(context, row, chat_id, key) if key is not None else None
        if isinstance(place, MessageRow):
            return _answer(Reply("sent", tuple(place.body.get("message_ids", ()))), is_repeat=True)
        line = await self._lines.open(row, account=context.installation_id, payer=context.tally)
        try:
            reply = await self._lines.gateway(row.kind).send(line, message)
        except JackfieldError as error:
            # Of a call that is cut off nobody knows whether the message went out: its key stays taken for a while.
            await self._give_up(row, place, error)
            raise
        if reply.outcome != "sent":
            await self._give_up(row, place, None)
            return _answer(reply)
        await self._sent(context, row, line, message, reply, place)
        return _answer(reply)

    async def edit(
        self,
        context: CapabilityContext,
        kind: str,
        channel: str | None,
        chat_id: str,
        message_id: str,
        text: str,
        format: Any,
        buttons: Sequence[Sequence[tuple[str, str | None, str | None]]],
    ) -> dict[str, Any]:
        """Replace a message."""
        row = await self._channel(context, kind, channel)
        message = Outgoing(chat_id, text, format, _buttons(buttons))
        line = await self._lines.open(row, account=context.installation_id, payer=context.tally)
        gateway = self._lines.gateway(row.kind)
        try:
            reply = await gateway.edit(line, message_id, message)
        except ChannelBrokenError as error:
            await self._give_up(row, None, error)
            raise
        if reply.outcome == "sent" and not gateway.features.is_remote:
            async with self._database.write(row.tenant_id) as session:
                body = {**_body(message), "edits": message_id}
                session.add(await self._row(session, row, chat_id, new_id("msg"), body))
        return _answer(reply)

    async def answer(
        self, context: CapabilityContext, kind: str, channel: str | None, callback_id: str, text: str, *, alert: bool
    ) -> dict[str, Any]:
        """Answer a button."""
        row = await self._channel(context, kind, channel)
        line = await self._lines.open(row, account=context.installation_id, payer=context.tally)
        return _answer(await self._lines.gateway(row.kind).answer(line, callback_id, text, alert=alert))

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _assigned(self, context: CapabilityContext) -> list[ChannelRow]:
        async with self._database.read(context.tenant_id) as session:
            return [row for _, row in await repository.assigned(session, [context.installation_id])]

    async def _channel(self, context: CapabilityContext, kind: str, channel: str | None) -> ChannelRow:
        rows = [row for row in await self._assigned(context) if row.kind == kind]
        if channel is not None:
            rows = [row for row in rows if row.id == channel]
        if not rows:
            raise ChannelNotAssignedError(f"the plugin is not at work on this {kind} channel, or on none")
        if len(rows) > 1:
            raise ChannelAmbiguousError(f"the plugin is at work on several {kind} channels")
        if rows[0].state != "connected":
            raise ChannelNotConnectedError(f"the channel {rows[0].name!r} is {rows[0].state}")
        return rows[0]

    async def _begin(self, context: CapabilityContext, row: ChannelRow, chat_id: str, key: str) -> str | MessageRow:
        """Take the key: its id. The message itself, when it was sent before."""
        now, id = self._clock.now(), new_id("msg")
        name = f"{context.installation_id}:{key}"
        async with self._database.write(row.tenant_id) as session:
            values: dict[str, Any] = {
                "id": id, "tenant_id": row.tenant_id, "channel_id": row.id, "direction": "out", "key": name,
                "chat_id": chat_id, "state": "pending", "sequence": 0, "body": {}, "created_at": now,
            }  # fmt: skip
            if await repository.add_once(session, self._database, values):
                return id
            found = await session.scalar(
                select(MessageRow)
                .where(MessageRow.channel_id == row.id, MessageRow.direction == "out", MessageRow.key == name)
                .with_for_update()
            )
            if found is None:
                raise SendUnderWayError("a message with this key was given up at this moment")
            if found.state == "done":
                return found
            if found.created_at > now - _UNDER_WAY:
                raise SendUnderWayError("a message with this key is being sent")
            found.created_at = now
            return found.id

    async def _give_up(self, row: ChannelRow, place: str | MessageRow | None, error: BaseException | None) -> None:
        async with self._database.write(row.tenant_id) as session:
            if isinstance(place, str):
                await session.execute(delete(MessageRow).where(MessageRow.id == place, MessageRow.state == "pending"))
            if isinstance(error, ChannelBrokenError):
                now = self._clock.now()
                await repository.set_state(session, row.id, row.version, "broken", str(error)[:300], now)

    async def _sent(
        self,
        context: CapabilityContext,
        row: ChannelRow,
        line: Line,
        message: Outgoing,
        reply: Reply,
        place: str | MessageRow | None,
    ) -> None:
        """Keep it, and tell of it."""
        now, is_remote = self._clock.now(), self._lines.gateway(row.kind).features.is_remote
        name = reply.message_ids[-1] if reply.message_ids else ""
        body = {"message_ids": list(reply.message_ids), **({} if is_remote else _body(message))}
        async with self._database.write(row.tenant_id) as session:
            if isinstance(place, str):
                sequence = 0 if is_remote else await repository.next_sequence(session, row.id)
                await session.execute(
                    update(MessageRow)
                    .where(MessageRow.id == place)
                    .values(state="done", body=body, sequence=sequence)
                    .execution_options(synchronize_session=False)
                )
            elif not is_remote:
                session.add(await self._row(session, row, message.chat_id, name, body))
            event = ChannelSent(
                channel=row.id, kind=row.kind, id=f"{message.chat_id}:{name}" if is_remote else name,
                chat_id=message.chat_id, sent_at=now.isoformat(), plugin=context.slug, text=message.text,
            )  # fmt: skip
            outbox.add(session, row.tenant_id, "channel.sent", event, SOURCE, cause=cause_of(context))

    async def _row(self, session: Any, row: ChannelRow, chat_id: str, id: str, body: dict[str, Any]) -> MessageRow:
        sequence, now = await repository.next_sequence(session, row.id), self._now()
        return MessageRow(
            id=id, tenant_id=row.tenant_id, channel_id=row.id, direction="out", key=id, chat_id=chat_id, state="done",
            sequence=sequence, body=body, created_at=now,
        )  # fmt: skip

    def _now(self) -> datetime:
        return self._clock.now()


def _body(message: Outgoing) -> dict[str, Any]:
    buttons = [[{"text": b.text, "data": b.data, "url": b.url} for b in row] for row in message.buttons]
    return {"text": message.text, "format": message.format, "buttons": buttons, "reply_to": message.reply_to}


def _buttons(rows: Sequence[Sequence[tuple[str, str | None, str | None]]]) -> list[list[Button]]:
    return [[Button(text, data, url) for text, data, url in row] for row in rows]


def _answer(reply: Reply, *, is_repeat: bool = False) -> dict[str, Any]:
    return {
        "outcome": reply.outcome, "message_ids": list(reply.message_ids), "retry_after_s": reply.retry_after_s,
        "is_repeat": is_repeat,
    }  # fmt: skip
