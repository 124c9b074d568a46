"""What the endpoints of outbound webhooks take and give."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from jackfield.jobs import DeliveryOut

__all__ = [
    "AttemptOut",
    "EndpointChange",
    "EndpointDeliveryOut",
    "EndpointIn",
    "EndpointOut",
    "EndpointSecretOut",
    "ReplayIn",
    "ReplayedOut",
    "RotateIn",
    "SecretOut",
]

_EVENTS = "Names (`sale.created`), beginnings (`sale.*`), or `*`"


class EndpointIn(BaseModel):
    """A new endpoint."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2000, examples=["https://example.com/hooks/shop"])
    events: list[str] = Field(description=_EVENTS, examples=[["sale.*"]], max_length=200)
    description: str = Field(default="", max_length=500)
    is_active: bool = True


class EndpointChange(BaseModel):
    """What is to be different."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = Field(default=None, max_length=2000)
    events: list[str] | None = Field(default=None, description=_EVENTS, max_length=200)
    description: str | None = Field(default=None, max_length=500)
    is_active: bool | None = None


class EndpointOut(BaseModel):
    """Where events go."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    url: str
    events: list[str]
    description: str
    is_active: bool
    old_until: datetime | None = Field(description="Until when the secret before this one is signed with as well")
    failing_since: datetime | None = Field(description="Since when nothing has been taken")
    disabled_at: datetime | None
    disabled_because: str | None = Field(description="`failing`, `gone`; null when a person switched it off")
    created_at: datetime
    created_by: str


class EndpointSecretOut(EndpointOut):
    """A new endpoint, with what nobody is shown again."""

    secret: str = Field(description="Standard Webhooks: `whsec_…`")


class SecretOut(BaseModel):
    """A secret that nobody is shown again."""

    secret: str


class RotateIn(BaseModel):
    """How a secret or an address is replaced."""

    model_config = ConfigDict(extra="forbid")

    overlap_s: int = Field(
        default=86_400, ge=0, le=7 * 86_400, description="How long the old one is good beside the new one"
    )


class AttemptOut(BaseModel):
    """One request to an endpoint."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    attempt: int
    at: datetime
    status: int | None = Field(description="Of the answer; null when there was none")
    answer: str = Field(description="How it begins, at most 1 KiB")
    error_code: str | None
    error_message: str | None
    duration_ms: float


class EndpointDeliveryOut(DeliveryOut):
    """One event on its way to one endpoint."""

    attempts: list[AttemptOut] = Field(description="What was tried, the oldest first")


class ReplayIn(BaseModel):
    """What is sent once more."""

    model_config = ConfigDict(extra="forbid")

    since: datetime = Field(description="All that failed since then, or was waiting when the endpoint was switched off")


class ReplayedOut(BaseModel):
    """How many are sent once more."""

    deliveries: int
