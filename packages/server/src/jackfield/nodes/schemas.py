"""Nodes on the wire."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["NodeOut"]


class NodeOut(BaseModel):
    """A process that serves, or did within the last day."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    host: str
    pid: int
    version: str
    started_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None = Field(description="When it was stopped, or found to be gone")
    ended_by: str | None = Field(description="The node that found it gone; itself when it was stopped")
    is_here: bool = Field(description="It is the one that answers this request")
    is_alive: bool
