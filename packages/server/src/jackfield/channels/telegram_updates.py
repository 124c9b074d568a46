"""What Telegram tells of, as our events. What we do not know is left out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from jackfield_sdk.hooks import ChannelMessage, TelegramCallback, TelegramChat, TelegramMessage, TelegramUser

__all__ = ["Taken", "read_update", "update_id_of"]

_MESSAGES = {"message": False, "edited_message": True, "channel_post": False, "edited_channel_post": True}


@dataclass(frozen=True, slots=True)
class Taken:
    """One thing that came in.

    Attributes:
        key: The same when it comes again.
        events: Names and payloads.
    """

    key: str
    chat_id: str
    events: tuple[tuple[str, msgspec.Struct], ...]


class _User(msgspec.Struct, frozen=True):
    id: int
    first_name: str = ""
    last_name: str = ""
    username: str = ""
    language_code: str = ""
    is_bot: bool = False


class _Chat(msgspec.Struct, frozen=True):
    id: int
    type: str = "private"
    title: str = ""


class _Photo(msgspec.Struct, frozen=True):
    file_id: str


class _Referred(msgspec.Struct, frozen=True):
    message_id: int
    chat: _Chat | None = None


class _Message(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    message_id: int
    chat: _Chat
    date: int = 0
    edit_date: int | None = None
    sender: _User | None = None
    text: str = ""
    caption: str = ""
    photo: list[_Photo] = []
    reply_to_message: _Referred | None = None
    message_thread_id: int | None = None


class _Callback(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    id: str
    sender: _User
    message: _Referred | None = None
    data: str = ""


def update_id_of(update: Any) -> int | None:
    """The number of an update; None when it has none."""
    found = cast("dict[str, Any]", update).get("update_id") if isinstance(update, dict) else None
    return found if type(found) is int and 0 <= found < 1 << 62 else None


def read_update(update: Any, channel_id: str) -> Taken | None:
    """What an update tells; None when it is nothing that plugins are told of.

    Raises:
        msgspec.ValidationError: It says that it is a message, and has not the form of one.
    """
    number = update_id_of(update)
    if number is None:
        return None
    given = cast("dict[str, Any]", update)
    key = f"update:{number}"
    for name, is_edited in _MESSAGES.items():
        if name in given:
            return _message(msgspec.convert(given[name], _Message), channel_id, number, key, is_edited=is_edited)
    if "callback_query" in given:
        return _callback(msgspec.convert(given["callback_query"], _Callback), channel_id, number, key)
    return None


def _message(found: _Message, channel_id: str, number: int, key: str, *, is_edited: bool) -> Taken:
    sender, chat = _user(found.sender), TelegramChat(**msgspec.structs.asdict(found.chat))
    sent_at = _time(found.edit_date if is_edited and found.edit_date else found.date)
    exact = TelegramMessage(
        channel=channel_id, update_id=number, message_id=found.message_id, chat=chat, sent_at=sent_at, sender=sender,
        text=found.text, caption=found.caption, photos=[photo.file_id for photo in found.photo[:16]],
        reply_to=None if found.reply_to_message is None else found.reply_to_message.message_id,
        thread_id=found.message_thread_id, is_edited=is_edited,
    )  # fmt: skip
    general = ChannelMessage(
        channel=channel_id, kind="telegram", id=f"{found.chat.id}:{found.message_id}", chat_id=str(found.chat.id),
        sent_at=sent_at, text=found.text or found.caption, user_id=None if sender is None else str(sender.id),
        user_name="" if sender is None else f"{sender.first_name} {sender.last_name}".strip(), is_edited=is_edited,
    )  # fmt: skip
    return Taken(key, str(found.chat.id), (("telegram.message", exact), ("channel.message", general)))


def _callback(found: _Callback, channel_id: str, number: int, key: str) -> Taken:
    chat = found.message.chat if found.message is not None else None
    sender = TelegramUser(**msgspec.structs.asdict(found.sender))
    event = TelegramCallback(
        channel=channel_id, update_id=number, id=found.id, sender=sender, data=found.data,
        chat=None if chat is None else TelegramChat(**msgspec.structs.asdict(chat)),
        message_id=None if found.message is None else found.message.message_id,
    )  # fmt: skip
    return Taken(key, "" if chat is None else str(chat.id), (("telegram.callback", event),))


def _user(user: _User | None) -> TelegramUser | None:
    return None if user is None else TelegramUser(**msgspec.structs.asdict(user))


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(min(max(seconds, 0), 1 << 35), UTC).isoformat()
