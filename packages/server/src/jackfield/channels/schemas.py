"""What the endpoints read and write. Secrets come in and never go out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jackfield.channels.models import ChannelRow
from jackfield.channels.offering import Offered
from jackfield.channels.service import Assignment

__all__ = [
    "AssignmentIn",
    "AssignmentOut",
    "CallIn",
    "ChannelChange",
    "ChannelIn",
    "ChannelMadeOut",
    "ChannelOut",
    "MessageIn",
    "MessageTakenOut",
    "OfferedOut",
    "RepliesOut",
    "ReplyOut",
    "TestOut",
    "TokenOut",
    "VoiceIn",
    "VoiceOut",
    "assignment_out",
    "channel_out",
    "offered_out",
]

_Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
_Text = Annotated[str, Field(max_length=4096)]
_Chat = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:@+-]+$")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ChannelIn(_In):
    """A channel to be made."""

    kind: str = Field(max_length=32, examples=["telegram", "web-chat", "http", "voice-agent"])
    name: _Name = Field(examples=["Support"])
    settings: dict[str, Any] = Field(default={}, description="Telegram: `updates` is `auto`, `webhook` or `polling`")
    secret: str | None = Field(default=None, max_length=500, description="Telegram: the bot's token. Never told again")


class ChannelChange(_In):
    """What is to be changed; what is left out stays."""

    name: _Name | None = None
    settings: dict[str, Any] | None = None
    secret: str | None = Field(default=None, max_length=500)


class ChannelOut(BaseModel):
    """A channel."""

    id: str
    kind: str
    name: str
    settings: dict[str, Any]
    has_secret: bool
    state: Literal["disconnected", "connected", "broken"]
    reason: str | None = Field(description="Why it is broken")
    identity: str = Field(description="What the other side calls it, as `@shop_bot`")
    updates: Literal["webhook", "polling", "local"] = Field(description="How what is said there comes in")
    public_key: str | None = Field(description="Web chat: what the page sends along; no secret")
    created_at: datetime
    checked_at: datetime | None


class ChannelMadeOut(ChannelOut):
    """A channel that was made."""

    token: str | None = Field(description="HTTP and voice agents: what they show as a bearer token. Told once")


class TokenOut(BaseModel):
    """Another token. Told once."""

    token: str


class TestOut(BaseModel):
    """Whether the credentials are good."""

    ok: bool
    message: str


class AssignmentIn(_In):
    """How a plugin is on a channel."""

    priority: int = Field(default=100, ge=0, le=10_000, description="The lower one has a function that several offer")
    enabled: bool = True
    settings: dict[str, Any] = Field(default={}, description="For the plugin, as `ctx.channel.settings`")


class AssignmentOut(BaseModel):
    """A plugin on a channel."""

    installation_id: str
    plugin: str | None = Field(description="Null while it is not at work")
    priority: int
    enabled: bool
    settings: dict[str, Any]


class OfferedOut(BaseModel):
    """A function on a channel."""

    plugin: str
    name: str
    description: str
    parameters: dict[str, Any]
    returns: dict[str, Any]
    read_only: bool
    destructive: bool
    role: str
    priority: int
    hides: list[str] = Field(description="Plugins that offer one of this name, and are further behind")


class CallIn(_In):
    """Arguments of a function."""

    arguments: dict[str, Any] = {}


class MessageIn(_In):
    """A message that somebody writes."""

    text: _Text = ""
    id: _Chat | None = Field(default=None, description="The sender's own: what comes twice with the same is taken once")
    session: str | None = Field(default=None, max_length=100, description="Web chat: as the first answer gave it")
    chat: _Chat | None = Field(default=None, description="HTTP: the conversation")
    user_id: _Chat | None = Field(default=None, description="HTTP: who writes")
    user_name: str = Field(default="", max_length=100)
    data: str | None = Field(default=None, max_length=64, description="Of a button that was pressed")


class MessageTakenOut(BaseModel):
    """It was taken, and will reach the plugins of the channel."""

    id: str
    session: str | None = Field(description="Web chat: what the replies are fetched with. Keep it; it is a secret")
    duplicate: bool


class ReplyOut(BaseModel):
    """What a plugin wrote."""

    sequence: int
    id: str
    text: str
    format: str
    buttons: list[Any]
    edits: str | None = Field(default=None, description="Id of the message that this replaces")
    sent_at: datetime


class RepliesOut(BaseModel):
    """Replies in order; `after` is for the next request."""

    items: list[ReplyOut]
    after: int


class VoiceIn(_In):
    """One thing that a voice agent says. See `docs/how-to/channels.md`."""

    type: Literal["start", "turn", "call", "end"]
    session: _Chat | None = Field(default=None, description="All but `start`: as that answered")
    id: _Chat | None = Field(default=None, description="Of a turn: what comes twice with the same is taken once")
    text: _Text = ""
    user_id: _Chat | None = None
    user_name: str = Field(default="", max_length=100)
    function: str = Field(default="", max_length=64)
    arguments: dict[str, Any] = {}
    after: int = Field(default=0, ge=0)


class VoiceOut(BaseModel):
    """What it is answered."""

    session: str
    functions: list[OfferedOut] | None = Field(default=None, description="For `start`")
    result: Any = Field(default=None, description="For `call`")
    replies: list[ReplyOut] = Field(default=[], description="What plugins have said since `after`")
    after: int = 0


def channel_out(row: ChannelRow) -> ChannelOut:
    """A channel as answers have it."""
    updates: Literal["webhook", "polling", "local"] = "webhook" if row.hook_hash is not None else "polling"
    return ChannelOut(
        id=row.id, kind=row.kind, name=row.name, settings=row.settings, has_secret=row.secret is not None,
        state=row.state,  # type: ignore[arg-type]  # one of these words
        reason=row.reason, identity=row.identity, updates=updates if row.kind == "telegram" else "local",
        public_key=row.public_key, created_at=row.created_at, checked_at=row.checked_at,
    )  # fmt: skip


def assignment_out(assignment: Assignment) -> AssignmentOut:
    """An assignment as answers have it."""
    row = assignment.row
    return AssignmentOut(
        installation_id=row.installation_id, plugin=assignment.slug, priority=row.priority, enabled=row.is_enabled,
        settings=row.settings,
    )  # fmt: skip


def offered_out(offered: Offered) -> OfferedOut:
    """A function as answers have it."""
    function = offered.function
    return OfferedOut(
        plugin=offered.slug, name=function.name, description=function.description, parameters=function.parameters,
        returns=function.returns, read_only=function.read_only, destructive=function.destructive, role=function.role,
        priority=offered.assignment.priority, hides=list(offered.hides),
    )  # fmt: skip
