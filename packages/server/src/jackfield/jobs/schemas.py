"""What endpoints write about deliveries; `lifecycle` uses it, which knows the slugs."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, computed_field

__all__ = ["DeliveryOut", "OperatorDeliveryOut"]


_HINTS = {
    "circuit-open": "The handler failed too often and rests; it is tried again by itself. See the plugin's health.",
    "delivery-conflict": "Others kept changing what the handler writes. It is tried again; write less, or in order.",
    "delivery-failed": "The platform could not carry it out. Replay it; should it stay so, tell the operator.",
    "delivery-interrupted": "The node ended while this ran. Should it happen again, the handler may be the cause.",
    "delivery-timeout": "The handler did not end in time. Have it do less at once, then replay.",
    "delivery-waited": "It did not begin, for the node was busy. It comes again by itself.",
    "event-loop": "Plugins answer one another's events without end. Break the circle before you replay.",
    "event-payload-invalid": "The event cannot be read, and never will be: it need not be replayed.",
    "handler-gone": "The installed release has no such handler.",
    "payload-mismatch": "The event is not of the shape that the handler expects. Update the plugin, then replay.",
    "plugin-error": "The plugin's errors show where it failed. Once it is repaired, replay.",
    "plugin-not-active": "Activate the plugin, then replay what was skipped.",
    "plugin-quarantined": "It goes on as soon as the plugin is activated again.",
}
"""By the code of a delivery's error: what can be done about it."""


class _Told(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    installation_id: str = Field(description="To whom: an installation of a plugin, or an endpoint of webhooks")
    event_id: str
    event: str = Field(examples=["sale.created"])
    handler: str = Field(examples=["award"])
    state: str = Field(description="pending, running, done, dead or skipped", examples=["done"])
    attempt: int = Field(description="Attempts begun", examples=[1])
    failures: int = Field(description="Attempts that failed since it was made or replayed", examples=[0])
    max_attempts: int = Field(examples=[5])
    next_attempt_at: datetime | None
    error_code: str | None

    @computed_field(description="What can be done about the error")
    @property
    def error_hint(self) -> str | None:
        """By its code."""
        return _HINTS.get(self.error_code or "")

    duration_ms: float | None = Field(description="Of the last attempt")
    created_at: datetime
    finished_at: datetime | None


class DeliveryOut(_Told):
    """One event on its way to one handler of one installation."""

    error_message: str | None


class OperatorDeliveryOut(_Told):
    """One event on its way to one handler of some tenant's, without what was sent and what the plugin said."""

    tenant_id: str
    slug: str | None = Field(description="Null for an endpoint of webhooks", examples=["loyalty-points"])
    instance: str | None
    node_id: str | None = Field(description="Which node has it")
