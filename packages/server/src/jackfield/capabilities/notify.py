"""`notify`: tell members of the tenant something."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import ArgumentsInvalidError
from jackfield.capabilities.operations import Arguments, Capability, answer, operation
from jackfield.notifications import Note, Notifications, is_link
from jackfield.notifications.notes import Level

__all__ = ["Notify"]

# One line: what begins another one in a header or a list is no part of a title.
Title = Annotated[
    str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*\Z")
]
Body = Annotated[str, Meta(max_length=4000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]*\Z")]
Key = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^~\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*\Z")]
Recipient = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+\Z")]


class _Send(Arguments, frozen=True):
    to: Annotated[list[Recipient], Meta(min_length=1, max_length=100)]
    title: Title
    body: Body = ""
    level: Level = "info"
    link: Annotated[str, Meta(max_length=2000)] | None = None
    key: Key | None = None


class Notify:
    """The capability."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications
        self.operations: Capability = {"send": operation(_Send, "notify", self._send)}

    async def _send(self, context: CapabilityContext, arguments: _Send) -> bytes:
        if arguments.link is not None and not is_link(arguments.link):
            raise ArgumentsInvalidError(
                "`link` is neither a path nor an `https://` address", hint="As `/orders/7` or `https://example.com/7`."
            )
        note = Note(arguments.title, arguments.body, arguments.level, arguments.link, arguments.key)
        return answer(
            await self._notifications.send(context.tenant_id, context.installation_id, context.slug, note, arguments.to)
        )
