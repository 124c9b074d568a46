"""What endpoints write about deliveries; `lifecycle` uses it, which knows the slugs."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["DeliveryOut"]


class DeliveryOut(BaseModel):
    """One event on its way to one handler of one installation."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    event_id: str
    event: str = Field(examples=["sale.created"])
    handler: str = Field(examples=["award"])
    state: str = Field(description="pending, running, done, dead or skipped", examples=["done"])
    attempt: int = Field(description="Attempts begun", examples=[1])
    failures: int = Field(description="Attempts that failed since it was made or replayed", examples=[0])
    max_attempts: int = Field(examples=[5])
    next_attempt_at: datetime | None
    error_code: str | None
    error_message: str | None
    duration_ms: float | None = Field(description="Of the last attempt")
    created_at: datetime
    finished_at: datetime | None
