"""Channels without a server elsewhere: messages are kept with us, and whoever is on the other end fetches them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jackfield.channels.errors import ChannelInvalidError, GatewayCannotError
from jackfield.channels.interfaces import Features, Hook, Line, Outgoing, Reply
from jackfield.ids import new_id

__all__ = ["LocalGateway"]


class LocalGateway:
    """Web chat, HTTP and voice agents. There is nothing to set up, and nothing that could refuse."""

    features = Features()

    def checked(self, settings: Mapping[str, Any], secret: str | None) -> dict[str, Any]:
        """No settings, no secret.

        Raises:
            ChannelInvalidError: There are some.
        """
        if settings or secret is not None:
            raise ChannelInvalidError("a channel of this kind takes neither `settings` nor `secret`")
        return {}

    async def check(self, line: Line) -> str:
        """Nothing can be wrong."""
        return ""

    async def set_up(self, line: Line, hook: Hook | None) -> None:
        """Nothing."""

    async def tear_down(self, line: Line) -> None:
        """Nothing."""

    async def send(self, line: Line, message: Outgoing) -> Reply:
        """Kept by who asks for it."""
        return Reply(message_ids=(new_id("msg"),))

    async def edit(self, line: Line, message_id: str, message: Outgoing) -> Reply:
        """As `send`."""
        return Reply(message_ids=(message_id,))

    async def answer(self, line: Line, callback_id: str, text: str, *, alert: bool) -> Reply:
        """A button here is a message like any other, and waits for no answer."""
        raise GatewayCannotError("buttons of this kind of channel wait for no answer")
