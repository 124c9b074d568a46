"""Queries on tenants, members and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.tenants.models import Member, Tenant, Token

__all__ = ["member_by_email", "members", "tenants_after", "token_by_digest", "tokens_after", "touch"]


async def tenants_after(session: AsyncSession, after: str | None, limit: int) -> Sequence[Tenant]:
    """Tenants in order of their ids."""
    query = select(Tenant).order_by(Tenant.id).limit(limit)
    if after is not None:
        query = query.where(Tenant.id > after)
    return (await session.scalars(query)).all()


async def members(session: AsyncSession) -> Sequence[Member]:
    """All members of the session's tenant."""
    return (await session.scalars(select(Member).order_by(Member.name, Member.id))).all()


async def member_by_email(session: AsyncSession, tenant_id: str, email: str) -> Member | None:
    """The member with this address."""
    return await session.scalar(select(Member).where(Member.tenant_id == tenant_id, Member.email == email))


async def token_by_digest(
    session: AsyncSession, digest: str
) -> tuple[Token, str | None, str | None, str | None] | None:
    """The token; the present role and the language of its member when it has one; the language of its tenant."""
    query = (
        select(Token, Member.role, Member.locale, Tenant.locale)
        .outerjoin(Member, Member.id == Token.member_id)
        .outerjoin(Tenant, Tenant.id == Token.tenant_id)
        .where(Token.digest == digest)
    )
    row = (await session.execute(query)).first()
    return None if row is None else (row[0], row[1], row[2], row[3])


async def tokens_after(
    session: AsyncSession, tenant_id: str, after: tuple[datetime, str] | None, limit: int
) -> Sequence[Token]:
    """A tenant's tokens, the newest first."""
    query = (
        select(Token)
        .where(Token.tenant_id == tenant_id)
        .order_by(Token.created_at.desc(), Token.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(Token.created_at, Token.id) < after)
    return (await session.scalars(query)).all()


async def touch(session: AsyncSession, token_id: str, now: datetime, unless_after: datetime) -> None:
    """Remember when a token was last used, unless that is recent enough."""
    await session.execute(
        update(Token)
        .where(Token.id == token_id, or_(Token.last_used_at.is_(None), Token.last_used_at < unless_after))
        .values(last_used_at=now)
    )
