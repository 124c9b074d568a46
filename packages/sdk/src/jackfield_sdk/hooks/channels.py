"""Payloads about channels: what people write there, and what plugins answer."""

from __future__ import annotations

import msgspec

__all__ = [
    "ChannelMessage",
    "ChannelSent",
    "TelegramCallback",
    "TelegramChat",
    "TelegramMessage",
    "TelegramUser",
]


class ChannelMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wrote on a channel, of whatever kind: `channel.message`.

    Attributes:
        channel: The channel's id; `kind`: `telegram`, `web-chat`, `http` or `voice-agent`.
        id: Names the message within the channel, and stays the same when it is delivered again.
        chat_id: Where an answer goes.
        user_id: Who wrote, as the channel names people; None when it does not say.
        data: Of a button that was pressed.
        is_edited: A message that was there before has this text now.
        sent_at: When, as the channel says.
    """

    channel: str
    kind: str
    id: str
    chat_id: str
    sent_at: str
    text: str = ""
    user_id: str | None = None
    user_name: str = ""
    data: str | None = None
    is_edited: bool = False


class ChannelSent(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin has written on a channel: `channel.sent`. Fields as of `ChannelMessage`; `plugin` is who wrote."""

    channel: str
    kind: str
    id: str
    chat_id: str
    sent_at: str
    plugin: str
    text: str = ""


class TelegramUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user of Telegram."""

    id: int
    first_name: str = ""
    last_name: str = ""
    username: str = ""
    language_code: str = ""
    is_bot: bool = False


class TelegramChat(msgspec.Struct, frozen=True, kw_only=True):
    """A chat of Telegram; `type` is `private`, `group`, `supergroup` or `channel`."""

    id: int
    type: str = "private"
    title: str = ""


class TelegramMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message to the bot: `telegram.message`.

    Attributes:
        channel: Id of our channel, as in `ChannelMessage`.
        caption: Of what is not text.
        photos: File ids of a picture, the smallest first.
        reply_to: Id of the message that it answers.
    """

    channel: str
    update_id: int
    message_id: int
    chat: TelegramChat
    sent_at: str
    sender: TelegramUser | None = None
    text: str = ""
    caption: str = ""
    photos: list[str] = []
    reply_to: int | None = None
    thread_id: int | None = None
    is_edited: bool = False


class TelegramCallback(msgspec.Struct, frozen=True, kw_only=True):
    """A button was pressed: `telegram.callback`. `ctx.gateways["telegram"].answer(id)` ends its waiting.

    Attributes:
        chat, message_id: Where the button is; None when Telegram does not say.
    """

    channel: str
    update_id: int
    id: str
    sender: TelegramUser
    data: str = ""
    chat: TelegramChat | None = None
    message_id: int | None = None
