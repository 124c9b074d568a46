"""Channels to the outside: write to people there, as Telegram or a web chat."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from jackfield_sdk.errors import RetryLaterError

if TYPE_CHECKING:
    from jackfield_sdk.capabilities.host import Host
    from jackfield_sdk.wire import Execution

__all__ = ["Buttons", "Channel", "Gateway", "Gateways", "Sent"]

Buttons = Sequence[Sequence[tuple[str, str]]]
"""Rows of buttons, each a label and what comes back when it is pressed; an `https://` address is opened instead."""

_MARKS = re.compile(r"([_*\[\]()~`>#+\-=|{}.!\\])")


class Channel:
    """A channel of the tenant's.

    Attributes:
        kind: `telegram`, `web-chat`, `http` or `voice-agent`.
        settings: What the tenant has set for this plugin on this channel; can only be read.
    """

    __slots__ = ("id", "kind", "settings")

    def __init__(self, id: str, kind: str, settings: Mapping[str, Any]) -> None:
        self.id = id
        self.kind = kind
        self.settings = MappingProxyType(dict(settings))


class Sent:
    """What became of a message.

    Attributes:
        outcome: `sent`, or `blocked`: the user does not want any more, or the chat is not there any more.
        message_ids: One for each part of a text that was too long for one message.
        is_repeat: It had been sent before, with this key.
    """

    __slots__ = ("is_repeat", "message_ids", "outcome")

    def __init__(self, outcome: str, message_ids: Sequence[str], is_repeat: bool) -> None:
        self.outcome = outcome
        self.message_ids = list(message_ids)
        self.is_repeat = is_repeat

    @property
    def message_id(self) -> str | None:
        """Of the last part: the one with the buttons; None when nothing was sent."""
        return self.message_ids[-1] if self.message_ids else None


class Gateway:
    """Channels of one kind, or one channel. Takes the permission `channels:KIND`."""

    __slots__ = ("_channel", "_host", "kind")

    def __init__(self, host: Host, kind: str, channel: str | None) -> None:
        self._host = host
        self._channel = channel
        self.kind = kind

    def on(self, channel: str) -> Gateway:
        """The same on this channel of the tenant's; needed when the plugin is assigned to several of a kind."""
        return Gateway(self._host, self.kind, channel)

    def send(
        self,
        chat_id: str | int,
        text: str,
        *,
        buttons: Buttons | None = None,
        reply_to: str | int | None = None,
        format: Literal["plain", "markdown"] = "plain",
        key: str | None = None,
    ) -> Sent:
        """Write to a chat. A plain text that is too long for one message becomes several.

        Args:
            format: `markdown` as the channel has it (Telegram: MarkdownV2, see `Gateways.escape`).
            key: The same key is sent once by this plugin on this channel, whatever is said again and whenever, for 30
                days. Without one, a handler that runs again writes again.

        Raises:
            PermissionDeniedError: `channels:KIND` is not granted.
            RetryLaterError: The channel takes no more now; an event is delivered again when it does.
            CapabilityError: `channel-not-assigned`, `channel-ambiguous`, `channel-not-connected`,
                `gateway-refused`, `gateway-unavailable`.
        """
        return self._sent(
            "send", chat_id=str(chat_id), text=text, format=format, buttons=_rows(buttons), key=key,
            reply_to=None if reply_to is None else str(reply_to),
        )  # fmt: skip

    def edit(
        self,
        chat_id: str | int,
        message_id: str | int,
        text: str,
        *,
        buttons: Buttons | None = None,
        format: Literal["plain", "markdown"] = "plain",
    ) -> Sent:
        """Replace the text and the buttons of a message that was sent. Raises as `send`."""
        return self._sent(
            "edit", chat_id=str(chat_id), message_id=str(message_id), text=text, format=format, buttons=_rows(buttons)
        )

    def answer(self, callback_id: str, text: str = "", *, alert: bool = False) -> Sent:
        """Answer a button that was pressed, so that it stops waiting; `text` is shown for a moment, or as an alert.

        Raises as `send`.
        """
        return self._sent("answer", callback_id=callback_id, text=text, alert=alert)

    def _sent(self, operation: str, **given: Any) -> Sent:
        answer = self._host.call("gateways", operation, {"kind": self.kind, "channel": self._channel, **given})
        if answer["outcome"] == "busy":
            raise RetryLaterError(f"the {self.kind} channel takes no more now", after_s=answer["retry_after_s"])
        return Sent(answer["outcome"], answer["message_ids"], answer["is_repeat"])


class Gateways:
    """`ctx.gateways`: by kind, as `ctx.gateways["telegram"]`. It means the channel that the call came from, else the
    only one of the kind that the plugin is assigned to."""

    __slots__ = ("_execution", "_host")

    def __init__(self, host: Host, execution: Execution | None = None) -> None:
        self._host = host
        self._execution = execution

    def __getitem__(self, kind: str) -> Gateway:
        execution = self._execution
        is_here = execution is not None and execution.channel == kind and execution.channel_id
        return Gateway(self._host, kind, execution.channel_id if is_here and execution is not None else None)

    def list(self) -> list[dict[str, str]]:
        """Channels that the plugin is assigned to and may use: `id`, `kind`, `name`, `state`."""
        return self._host.call("gateways", "list", {})

    @staticmethod
    def escape(text: str) -> str:
        """A text that means itself in Telegram's MarkdownV2."""
        return _MARKS.sub(r"\\\1", text)


def _rows(buttons: Buttons | None) -> list[list[dict[str, str]]]:
    return [
        [{"text": text, "url" if data.startswith("https://") else "data": data} for text, data in row]
        for row in buttons or ()
    ]
