"""What the endpoints read and write."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from jackfield.notifications.preferences import Channel

__all__ = [
    "MarkedOut",
    "NotificationOut",
    "NotificationsOut",
    "PreferencesIn",
    "PreferencesOut",
    "WebhookIn",
    "WebhookOut",
]


class NotificationOut(BaseModel):
    """One notification."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    plugin: str = Field(examples=["loyalty-points"])
    title: str
    body: str = Field(description="Plain text")
    level: Literal["info", "success", "warning", "error"]
    link: str | None = Field(description="A path within the host's UI, or an `https://` address")
    more: int = Field(description="Further ones that were taken into this one; their titles are the body's lines")
    created_at: datetime
    read_at: datetime | None


class NotificationsOut(BaseModel):
    """One page of a member's list, and how many are unread in all of it."""

    items: list[NotificationOut]
    next_cursor: str | None = None
    unread: int


class MarkedOut(BaseModel):
    """How many were not read before."""

    marked: int


class PreferencesIn(BaseModel):
    """What a member wants. What is not named stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"channels": {"email": False}, "plugins": {"loyalty-points": {"in_app": False}}}]
        },
    )

    channels: dict[Channel, bool] = Field(default_factory=dict[Channel, bool], description="For all plugins")
    plugins: dict[str, dict[Channel, bool] | Literal["muted"] | None] = Field(
        default_factory=dict[str, dict[Channel, bool] | Literal["muted"] | None],
        max_length=200,
        description="By plugin: channels; `muted` for all of them off; null: as for all plugins",
    )


class PreferencesOut(BaseModel):
    """What a member wants."""

    channels: dict[Channel, bool] = Field(description="For all plugins that are not named; those that there are")
    plugins: dict[str, dict[Channel, bool]] = Field(description="Plugins for which something else holds")
    webhook_url: str | None


class WebhookIn(BaseModel):
    """Where a member's notifications are to be sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"url": "https://hooks.example.com/me"}]})

    url: str = Field(max_length=2000)


class WebhookOut(BaseModel):
    """The secret that webhooks are signed with (Standard Webhooks), shown this once."""

    url: str
    secret: str
