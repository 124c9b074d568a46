"""What people say on channels that come to us by HTTP: who they are, what they say, what they are answered."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from jackfield.channels import repository
from jackfield.channels.errors import (
    ChannelKeyInvalidError,
    ChannelMissingError,
    ChannelNotConnectedError,
    ChannelTooManyMessagesError,
)
from jackfield.channels.intake import Intake
from jackfield.channels.models import ChannelRow, MessageRow
from jackfield.channels.service import hashed
from jackfield.channels.telegram_updates import Taken
from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.ids import new_id
from jackfield.settings import ChannelSettings
from jackfield.webhooks import Buckets
from jackfield_sdk.hooks import ChannelMessage

__all__ = ["Talking", "chat_of", "new_session"]

_REPLIES = 100


class Talking:
    """One per node."""

    def __init__(
        self, database: Database, intake: Intake, settings: ChannelSettings | None = None, clock: Clock | None = None
    ) -> None:
        self._database = database
        self._intake = intake
        self.settings = settings or ChannelSettings()
        self._clock = clock or SystemClock()
        self._per_channel = Buckets(self.settings.per_minute, self._clock.monotonic)
        self._per_sender = Buckets(self.settings.sender_per_minute, self._clock.monotonic)

    async def hook(self, token: str, secret: str | None) -> ChannelRow:
        """The channel that an address for updates belongs to.

        Raises:
            ChannelMissingError: Nobody's, or what comes has not the secret. Telegram is told no more.
            ChannelTooManyMessagesError: It has had too many.
        """
        async with self._database.read(None) as session:
            row = await session.scalar(select(ChannelRow).where(ChannelRow.hook_hash == hashed(token)))
        if row is None or not _is_same(secret, row.hook_secret_hash) or row.state != "connected":
            raise ChannelMissingError("there is no such address")
        self._take(row.id)
        return row

    async def visited(self, channel_id: str, key: str | None) -> ChannelRow:
        """A web chat, by what its page shows.

        Raises:
            ChannelKeyInvalidError, ChannelNotConnectedError: It is none, or is not open.
        """
        row = await self._find(channel_id, "web-chat")
        if row.public_key is None or key is None or not hmac.compare_digest(key.encode(), row.public_key.encode()):
            raise ChannelKeyInvalidError("this is no key of a channel")
        return _open(row)

    async def called(self, channel_id: str, kind: str, token: str | None) -> ChannelRow:
        """A channel of the kind, by its token. Raises as `visited`."""
        row = await self._find(channel_id, kind)
        if not _is_same(token, row.token_hash):
            raise ChannelKeyInvalidError("this is no token of a channel")
        return _open(row)

    async def _find(self, channel_id: str, kind: str) -> ChannelRow:
        async with self._database.read(None) as session:
            row = await repository.find(session, channel_id[:64])
        if row is None or row.kind != kind:
            raise ChannelKeyInvalidError("this is no key of a channel")
        return row

    async def say(
        self,
        channel: ChannelRow,
        chat_id: str,
        *,
        text: str,
        sender: str,
        id: str | None = None,
        user_id: str | None = None,
        user_name: str = "",
        data: str | None = None,
    ) -> tuple[str, bool]:
        """Take a message in: its id, and whether it had come before.

        Args:
            sender: Whose rate counts, beside the channel's.
        """
        self._take(channel.id, f"{channel.id} {sender}")
        name = f"{chat_id}:{id}" if id is not None else new_id("msg")
        payload = ChannelMessage(
            channel=channel.id, kind=channel.kind, id=name, chat_id=chat_id, sent_at=self._clock.now().isoformat(),
            text=text, user_id=user_id, user_name=user_name, data=data,
        )  # fmt: skip
        is_new = await self._intake.take(channel, Taken(f"said:{name}", chat_id, (("channel.message", payload),)))
        return name, not is_new

    async def replies(self, channel: ChannelRow, chat_id: str, after: int) -> Sequence[MessageRow]:
        """What plugins have said in a conversation since a number, in order."""
        query = (
            select(MessageRow)
            .where(
                MessageRow.channel_id == channel.id, MessageRow.chat_id == chat_id, MessageRow.direction == "out",
                MessageRow.state == "done", MessageRow.sequence > after,
            )
            .order_by(MessageRow.sequence)
            .limit(_REPLIES)
        )  # fmt: skip
        async with self._database.read(channel.tenant_id) as session:
            return (await session.scalars(query)).all()

    def asked(self, channel: ChannelRow, sender: str) -> None:
        """Somebody fetches replies: that counts as well, and for less.

        Raises:
            ChannelTooManyMessagesError: Too often.
        """
        wait_s = self._per_sender.take(("asked", channel.id, sender))
        if wait_s:
            raise _too_many(wait_s)

    def _take(self, channel_id: str, sender: str | None = None) -> None:
        # The sender first: one who floods uses up nothing of the others.
        wait_s = self._per_sender.take(sender) if sender is not None else 0.0
        wait_s = wait_s or self._per_channel.take(channel_id)
        if wait_s:
            raise _too_many(wait_s)


def chat_of(session: str) -> str:
    """The conversation of a web chat's session. Plugins know the one, and cannot get at the other."""
    return hashlib.sha256(f"chat:{session}".encode()).hexdigest()[:32]


def new_session() -> str:
    """Of a web chat; whoever has it reads the replies."""
    return secrets.token_urlsafe(32)


def _open(row: ChannelRow) -> ChannelRow:
    if row.state != "connected":
        raise ChannelNotConnectedError("this channel is not open", hint="")
    return row


def _is_same(secret: str | None, expected: str | None) -> bool:
    return secret is not None and expected is not None and hmac.compare_digest(hashed(secret), expected)


def _too_many(wait_s: float) -> Any:
    return ChannelTooManyMessagesError("too many messages", retry_after_s=max(1, math.ceil(wait_s)))
