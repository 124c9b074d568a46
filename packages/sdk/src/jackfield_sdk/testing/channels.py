"""Channels of the fake platform: the plugin is on those that a test opens, and what it writes there is kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jackfield_sdk.capabilities.gateways import Channel
from jackfield_sdk.errors import CapabilityError

__all__ = ["FakeChannels", "SentMessage"]

Operation = tuple[type[Any], Callable[[Any], str], Callable[[Any], Any]]


class SentMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What the plugin wrote. `edits`: the message that it replaces; `answers`: the button that it answers."""

    channel: str
    kind: str
    text: str
    chat_id: str = ""
    message_id: str = ""
    buttons: list[list[dict[str, Any]]] = []
    reply_to: str | None = None
    format: str = "plain"
    key: str | None = None
    edits: str | None = None
    answers: str | None = None


class _Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the arguments of operations."""


class _Nothing(_Arguments, frozen=True, kw_only=True):
    pass


class _Button(_Arguments, frozen=True, kw_only=True):
    text: Annotated[str, Meta(min_length=1, max_length=64)]
    data: Annotated[str, Meta(max_length=64)] | None = None
    url: Annotated[str, Meta(max_length=2000, pattern=r"^https://")] | None = None


class _At(_Arguments, frozen=True, kw_only=True):
    kind: Annotated[str, Meta(max_length=32)]
    channel: str | None = None


class _Send(_At, frozen=True, kw_only=True):
    chat_id: Annotated[str, Meta(min_length=1, max_length=128)]
    text: Annotated[str, Meta(min_length=1, max_length=32_768)]
    format: Literal["plain", "markdown"] = "plain"
    buttons: Annotated[list[Annotated[list[_Button], Meta(max_length=8)]], Meta(max_length=20)] = []
    reply_to: str | None = None
    key: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class _Edit(_At, frozen=True, kw_only=True):
    chat_id: Annotated[str, Meta(min_length=1, max_length=128)]
    message_id: Annotated[str, Meta(min_length=1, max_length=128)]
    text: Annotated[str, Meta(min_length=1, max_length=32_768)]
    format: Literal["plain", "markdown"] = "plain"
    buttons: Annotated[list[Annotated[list[_Button], Meta(max_length=8)]], Meta(max_length=20)] = []


class _Answer(_At, frozen=True, kw_only=True):
    callback_id: Annotated[str, Meta(min_length=1, max_length=128)]
    text: Annotated[str, Meta(max_length=200)] = ""
    alert: bool = False


class FakeChannels:
    """Channels by id.

    Attributes:
        sent: What the plugin wrote, the oldest first.
        blocked: Chats that want no more.
    """

    def __init__(self, covers: Callable[[str], bool]) -> None:
        self.channels: dict[str, Channel] = {}
        self.sent: list[SentMessage] = []
        self.blocked: set[str] = set()
        self._covers = covers
        self._numbers = itertools.count(1)

    def open(self, kind: str, settings: Mapping[str, Any], id: str | None) -> Channel:
        """A channel that the plugin is assigned to."""
        name = id or f"chn_{kind}"
        self.channels[name] = Channel(name, kind, settings)
        return self.channels[name]

    def operations(self) -> Mapping[str, Operation]:
        """For the broker."""

        def needed(arguments: _At) -> str:
            return f"channels:{arguments.kind}"

        return {
            "gateways.list": (_Nothing, lambda _: "", lambda _: self._list()),
            "gateways.send": (_Send, needed, self._send),
            "gateways.edit": (_Edit, needed, self._edit),
            "gateways.answer": (_Answer, needed, self._answer),
        }

    def _list(self) -> list[dict[str, str]]:
        return [
            {"id": channel.id, "kind": channel.kind, "name": channel.id, "state": "connected"}
            for channel in self.channels.values()
            if self._covers(f"channels:{channel.kind}")
        ]

    def _channel(self, arguments: _At) -> Channel:
        found = [
            channel
            for channel in self.channels.values()
            if channel.kind == arguments.kind and arguments.channel in (None, channel.id)
        ]
        if not found:
            raise CapabilityError("the plugin is not at work on such a channel", code="channel-not-assigned")
        if len(found) > 1:
            raise CapabilityError("the plugin is at work on several", code="channel-ambiguous")
        return found[0]

    def _send(self, arguments: _Send) -> dict[str, Any]:
        channel, buttons = self._channel(arguments), _rows(arguments.buttons)
        if arguments.key is not None:
            before = [one for one in self.sent if (one.channel, one.key) == (channel.id, arguments.key)]
            if before:
                return _told("sent", [one.message_id for one in before], is_repeat=True)
        if arguments.chat_id in self.blocked:
            return _told("blocked", [])
        message = SentMessage(
            channel=channel.id, kind=channel.kind, text=arguments.text, chat_id=arguments.chat_id,
            message_id=str(next(self._numbers)), buttons=buttons, reply_to=arguments.reply_to,
            format=arguments.format, key=arguments.key,
        )  # fmt: skip
        self.sent.append(message)
        return _told("sent", [message.message_id])

    def _edit(self, arguments: _Edit) -> dict[str, Any]:
        channel = self._channel(arguments)
        self.sent.append(
            SentMessage(
                channel=channel.id, kind=channel.kind, text=arguments.text, chat_id=arguments.chat_id,
                message_id=arguments.message_id, buttons=_rows(arguments.buttons), format=arguments.format,
                edits=arguments.message_id,
            )
        )  # fmt: skip
        return _told("sent", [arguments.message_id])

    def _answer(self, arguments: _Answer) -> dict[str, Any]:
        channel = self._channel(arguments)
        if channel.kind != "telegram":
            raise CapabilityError("buttons of this kind of channel wait for no answer", code="gateway-cannot")
        self.sent.append(
            SentMessage(channel=channel.id, kind=channel.kind, text=arguments.text, answers=arguments.callback_id)
        )
        return _told("sent", [])


def _rows(buttons: list[list[_Button]]) -> list[list[dict[str, Any]]]:
    if any((button.data is None) == (button.url is None) for row in buttons for button in row):
        raise CapabilityError("a button has either `data` or `url`", code="arguments-invalid")
    return [[{"text": button.text, "data": button.data, "url": button.url} for button in row] for row in buttons]


def _told(outcome: str, message_ids: list[str], *, is_repeat: bool = False) -> dict[str, Any]:
    return {"outcome": outcome, "message_ids": message_ids, "retry_after_s": None, "is_repeat": is_repeat}
