"""What stands behind every kind of channel, and what channels need from above. `app` fills the latter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.egress import Payer
from jackfield_sdk.manifest import Function
from jackfield_sdk.wire import Caller, Execution

__all__ = [
    "KINDS",
    "SEALED_FOR",
    "Button",
    "Features",
    "FunctionCalls",
    "Gateway",
    "Hook",
    "Kind",
    "Line",
    "Outgoing",
    "Reply",
    "Sealer",
]

Kind = Literal["telegram", "web-chat", "http", "voice-agent"]
KINDS: tuple[Kind, ...] = ("telegram", "web-chat", "http", "voice-agent")
SEALED_FOR = "~channels"
"""In place of a plugin's slug, in what secrets are bound to; no slug begins so."""


@dataclass(frozen=True, slots=True)
class Features:
    """What channels of a kind can do beside sending text.

    Attributes:
        is_remote: Messages go to a server elsewhere; else they are kept, and fetched from us.
        fetches: What comes in can be fetched, when nothing can be posted to us.
    """

    edits: bool = True
    buttons: bool = True
    callbacks: bool = False
    is_remote: bool = False
    fetches: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One channel, as its gateway needs it.

    Attributes:
        account: Whose connections and rates are used: an installation that writes, or the channel itself.
        payer: Whose bytes are counted, beside the account's.
    """

    tenant_id: str
    channel_id: str
    settings: Mapping[str, Any]
    secret: str = field(repr=False)
    account: str = ""
    payer: Payer | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """Where updates are to come in, and the secret that is to come with them."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Button:
    """A button below a message: it brings `data` back, or opens `url`."""

    text: str
    data: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way out."""

    chat_id: str
    text: str
    format: Literal["plain", "markdown"] = "plain"
    buttons: Sequence[Sequence[Button]] = ()
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of it.

    Attributes:
        outcome: `blocked`: nobody wants it any more. `busy`: it was not taken, and may be after `retry_after_s`.
        message_ids: One for each part.
    """

    outcome: Literal["sent", "blocked", "busy"] = "sent"
    message_ids: tuple[str, ...] = ()
    retry_after_s: float | None = None


class Gateway(Protocol):
    """One kind of channel.

    All methods may raise `ChannelBrokenError`, `GatewayUnavailableError` and `GatewayRefusedError`.
    """

    features: Features

    def checked(self, settings: Mapping[str, Any], secret: str | None) -> dict[str, Any]:
        """The settings as they are kept.

        Raises:
            ChannelInvalidError: They cannot be used.
        """
        ...

    async def check(self, line: Line) -> str:
        """Try the credentials; what the other side calls the channel."""
        ...

    async def set_up(self, line: Line, hook: Hook | None) -> None:
        """Have updates posted to the hook, or to nobody."""
        ...

    async def tear_down(self, line: Line) -> None:
        """Have them posted nowhere any more."""
        ...

    async def send(self, line: Line, message: Outgoing) -> Reply:
        """Write."""
        ...

    async def edit(self, line: Line, message_id: str, message: Outgoing) -> Reply:
        """Replace what was written."""
        ...

    async def answer(self, line: Line, callback_id: str, text: str, *, alert: bool) -> Reply:
        """Answer a button that was pressed."""
        ...


class Sealer(Protocol):
    """Keeps secrets; `capabilities.Envelope` in a node."""

    async def seal(self, session: AsyncSession, tenant_id: str, slug: str, name: str, plaintext: str) -> str:
        """What is stored."""
        ...

    async def open(self, token: str, tenant_id: str, slug: str, name: str) -> str:
        """The secret."""
        ...


class FunctionCalls(Protocol):
    """Calls functions of plugins; `extension_points.Functions` in a node."""

    async def call(
        self,
        tenant_id: str,
        slug: str,
        name: str,
        arguments: dict[str, Any],
        caller: Caller | None = None,
        *,
        locale: str = "en",
        execution: Execution | None = None,
    ) -> Any:
        """Call one; a struct that says how it went.

        Raises:
            JackfieldError: It never ran.
        """
        ...

    def check_role(self, function: Function, caller: Caller | None, *, is_plugin: bool = False) -> None:
        """Refuse who may not call a function."""
        ...
