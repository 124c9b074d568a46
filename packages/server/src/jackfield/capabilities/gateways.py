"""`gateways`: write to people on the tenant's channels. What channels there are is known above (`GatewayCalls`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import ArgumentsInvalidError
from jackfield.capabilities.operations import Arguments, Capability, answer, operation

__all__ = ["GatewayCalls", "Gateways"]

_NO_CONTROLS = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*\Z"
Kind = Annotated[str, Meta(max_length=32, pattern=r"^[a-z][a-z-]*\Z")]
Channel = Annotated[str, Meta(max_length=64, pattern=r"^[a-z0-9_]+\Z")]
Chat = Annotated[str, Meta(min_length=1, max_length=128, pattern=_NO_CONTROLS)]
Text = Annotated[str, Meta(min_length=1, max_length=32_768, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]*\Z")]
Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=_NO_CONTROLS)]
Label = Annotated[str, Meta(min_length=1, max_length=64, pattern=_NO_CONTROLS)]
Url = Annotated[str, Meta(max_length=2000, pattern=r"^https://[^\s\x00-\x20\x7f\"<>\\]+\Z")]
Key = Annotated[str, Meta(min_length=1, max_length=200, pattern=_NO_CONTROLS)]


class _Button(Arguments, frozen=True):
    text: Label
    data: Annotated[str, Meta(max_length=64, pattern=_NO_CONTROLS)] | None = None
    url: Url | None = None


Buttons = Annotated[list[Annotated[list[_Button], Meta(max_length=8)]], Meta(max_length=20)]
Given = Sequence[Sequence[tuple[str, str | None, str | None]]]
"""Rows of buttons: label, data, address; one of the latter two."""


class GatewayCalls(Protocol):
    """Acts on channels for a call; `channels.Sending` in a node. Each answer has `outcome`, `message_ids`,
    `retry_after_s` and `is_repeat`."""

    async def list(self, context: CapabilityContext) -> list[dict[str, str]]:
        """Channels that the plugin may use."""
        ...

    async def send(
        self,
        context: CapabilityContext,
        kind: str,
        channel: str | None,
        chat_id: str,
        text: str,
        format: Any,
        buttons: Given,
        reply_to: str | None,
        key: str | None,
    ) -> dict[str, Any]:
        """Write to a chat."""
        ...

    async def edit(
        self,
        context: CapabilityContext,
        kind: str,
        channel: str | None,
        chat_id: str,
        message_id: str,
        text: str,
        format: Any,
        buttons: Given,
    ) -> dict[str, Any]:
        """Replace a message."""
        ...

    async def answer(
        self, context: CapabilityContext, kind: str, channel: str | None, callback_id: str, text: str, *, alert: bool
    ) -> dict[str, Any]:
        """Answer a button."""
        ...


class _List(Arguments, frozen=True):
    pass


class _Send(Arguments, frozen=True):
    kind: Kind
    chat_id: Chat
    text: Text
    channel: Channel | None = None
    format: Literal["plain", "markdown"] = "plain"
    buttons: Buttons = msgspec.field(default_factory=list[list[_Button]])
    reply_to: Name | None = None
    key: Key | None = None


class _Edit(Arguments, frozen=True):
    kind: Kind
    chat_id: Chat
    message_id: Name
    text: Text
    channel: Channel | None = None
    format: Literal["plain", "markdown"] = "plain"
    buttons: Buttons = msgspec.field(default_factory=list[list[_Button]])


class _Answer(Arguments, frozen=True):
    kind: Kind
    callback_id: Name
    channel: Channel | None = None
    text: Annotated[str, Meta(max_length=200, pattern=_NO_CONTROLS)] = ""
    alert: bool = False


class Gateways:
    """The capability."""

    def __init__(self, calls: GatewayCalls) -> None:
        self._calls = calls
        self.operations: Capability = {
            "list": operation(_List, None, self._list),
            "send": operation(_Send, _needed, self._send),
            "edit": operation(_Edit, _needed, self._edit),
            "answer": operation(_Answer, _needed, self._answer),
        }

    async def _list(self, context: CapabilityContext, _arguments: _List) -> bytes:
        return answer(await self._calls.list(context))

    async def _send(self, context: CapabilityContext, given: _Send) -> bytes:
        found = await self._calls.send(
            context, given.kind, given.channel, given.chat_id, given.text, given.format, _buttons(given.buttons),
            given.reply_to, given.key,
        )  # fmt: skip
        return answer(found)

    async def _edit(self, context: CapabilityContext, given: _Edit) -> bytes:
        found = await self._calls.edit(
            context, given.kind, given.channel, given.chat_id, given.message_id, given.text, given.format,
            _buttons(given.buttons),
        )  # fmt: skip
        return answer(found)

    async def _answer(self, context: CapabilityContext, given: _Answer) -> bytes:
        found = await self._calls.answer(
            context, given.kind, given.channel, given.callback_id, given.text, alert=given.alert
        )
        return answer(found)


def _needed(arguments: _Send | _Edit | _Answer) -> str:
    return f"channels:{arguments.kind}"


def _buttons(rows: list[list[_Button]]) -> Given:
    if any((button.data is None) == (button.url is None) for row in rows for button in row):
        raise ArgumentsInvalidError("a button has either `data` or `url`")
    return [[(button.text, button.data, button.url) for button in row] for row in rows]
