"""What the endpoints read and write."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "IssuedTokenOut",
    "MeOut",
    "MemberOut",
    "MyChange",
    "NewTenant",
    "NewToken",
    "TenantChange",
    "TenantOut",
    "TokenOut",
]

TenantRole = Literal["owner", "admin", "member"]


class NewTenant(BaseModel):
    """A tenant to be made."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"id": "acme", "name": "Acme Corner Shop", "plan": "free"}]}
    )

    id: str | None = Field(default=None, description="The host's own name for it; made when absent")
    name: str = Field(min_length=1, max_length=200)
    plan: str = Field(default="free", min_length=1, max_length=64)


class TenantOut(BaseModel):
    """A tenant."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["acme"])
    name: str = Field(examples=["Acme Corner Shop"])
    plan: str = Field(examples=["free"])
    timezone: str = Field(default="UTC", examples=["Europe/Vienna"])
    locale: str = Field(default="en", examples=["de-AT"])
    created_at: datetime


class MemberOut(BaseModel):
    """A person in a tenant."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str = Field(examples=["Ada"])
    email: str = Field(examples=["ada@example.com"])
    role: str = Field(examples=["owner"])
    locale: str | None = Field(default=None, description="The language that the member has chosen", examples=["de-AT"])


class MyChange(BaseModel):
    """What a member may change about themselves."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"locale": "de-AT"}]})

    locale: str | None = Field(max_length=35, description="A language tag; null: as the browser says")


class TenantChange(BaseModel):
    """What a tenant says of itself; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"timezone": "Europe/Vienna", "locale": "de-AT"}]}
    )

    timezone: str | None = Field(default=None, max_length=64)
    locale: str | None = Field(default=None, max_length=35)


class MeOut(BaseModel):
    """Who the caller is to the platform."""

    role: str = Field(description="owner, admin, member, operator or publisher", examples=["owner"])
    tenant: TenantOut | None = Field(default=None, description="Null for operators and publishers")
    member: MemberOut | None = Field(default=None, description="Null when the token stands for a program")
    publisher_id: str | None = None


class NewToken(BaseModel):
    """A token to be issued to a tenant."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"role": "admin", "name": "till 1", "expires_in_s": 2_592_000}]},
    )

    role: TenantRole
    name: str = Field(default="", max_length=200, description="What it is for")
    member_id: str | None = Field(default=None, description="The member it stands for, whose role it must be")
    expires_in_s: int | None = Field(
        default=None, ge=1, le=10 * 365 * 86_400, description="Seconds until it expires; never, when absent"
    )


class TokenOut(BaseModel):
    """A token, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    prefix: str = Field(description="Its first characters", examples=["jf_admin_x7Qa"])
    name: str
    role: str
    member_id: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute")


class IssuedTokenOut(TokenOut):
    """A new token."""

    token: str = Field(description="The token itself, shown this once")
