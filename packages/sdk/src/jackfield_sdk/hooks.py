"""Typed payloads of the standard hook points and events.

Amounts are decimal numbers in the tenant's currency as `float`; times are ISO 8601 text with an offset. A host may pass
more fields than these; a handler that wants them takes `dict`.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "Booking",
    "ChannelMessage",
    "ChannelSent",
    "Customer",
    "Employee",
    "Ping",
    "Product",
    "Sale",
    "SaleItem",
    "TelegramCallback",
    "TelegramChat",
    "TelegramMessage",
    "TelegramUser",
]


class _Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Base of payloads: unknown fields are left alone, so that a host can add some."""


class Customer(_Payload, frozen=True, kw_only=True):
    """A person who buys or books."""

    id: str
    name: str
    email: str | None = None
    phone: str | None = None


class Product(_Payload, frozen=True, kw_only=True):
    """A thing that is sold."""

    id: str
    name: str
    price: float
    sku: str | None = None
    stock: int | None = None


class Employee(_Payload, frozen=True, kw_only=True):
    """A person who works for the tenant."""

    id: str
    name: str
    role: str = "member"


class SaleItem(_Payload, frozen=True, kw_only=True):
    """One line of a sale."""

    product_id: str
    name: str
    quantity: int
    unit_price: float


class Sale(_Payload, frozen=True, kw_only=True):
    """A sale at the till: `sale.beforeCreate`, `sale.created`."""

    id: str
    total: float
    currency: str = "USD"
    status: str = "completed"
    customer_id: str | None = None
    employee_id: str | None = None
    items: list[SaleItem] = []
    discount: float = 0.0
    created_at: str | None = None
    metadata: dict[str, str] = {}


class Booking(_Payload, frozen=True, kw_only=True):
    """An appointment: `booking.beforeCreate`, `booking.created`, `booking.cancelled`."""

    customer_id: str
    starts_at: str
    id: str | None = None
    service: str = ""
    duration_minutes: int = 30
    employee_id: str | None = None
    status: str = "booked"
    notes: str = ""
    metadata: dict[str, str] = {}


class Ping(_Payload, frozen=True, kw_only=True):
    """Payload of the demo's event `demo.ping`."""

    n: int


class ChannelMessage(_Payload, frozen=True, kw_only=True):
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


class ChannelSent(_Payload, frozen=True, kw_only=True):
    """A plugin has written on a channel: `channel.sent`. Fields as of `ChannelMessage`; `plugin` is who wrote."""

    channel: str
    kind: str
    id: str
    chat_id: str
    sent_at: str
    plugin: str
    text: str = ""


class TelegramUser(_Payload, frozen=True, kw_only=True):
    """A user of Telegram."""

    id: int
    first_name: str = ""
    last_name: str = ""
    username: str = ""
    language_code: str = ""
    is_bot: bool = False


class TelegramChat(_Payload, frozen=True, kw_only=True):
    """A chat of Telegram; `type` is `private`, `group`, `supergroup` or `channel`."""

    id: int
    type: str = "private"
    title: str = ""


class TelegramMessage(_Payload, frozen=True, kw_only=True):
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


class TelegramCallback(_Payload, frozen=True, kw_only=True):
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
