"""What can be done with tenants, members and tokens."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from jackfield import ids
from jackfield.clock import Clock, SystemClock
from jackfield.db import Database, tell
from jackfield.http import ROLES, Caller, PageRequest, Role, Slice, cut, decode_cursor, is_language_tag
from jackfield.records import audit
from jackfield.tenants import repository
from jackfield.tenants.errors import (
    LanguageInvalidError,
    MemberExistsError,
    MemberMissingError,
    PlanUnknownError,
    TenantExistsError,
    TenantIdInvalidError,
    TenantMissingError,
    TimezoneInvalidError,
    TokenExpiredError,
    TokenInvalidError,
    TokenMissingError,
    TokenSubjectError,
)
from jackfield.tenants.models import Member, Tenant, Token

__all__ = ["CALLERS", "IssuedToken", "TenantService"]

_log = structlog.stdlib.get_logger(__name__)

CALLERS = "callers"
"""Topic of notices; their subject is `token`, `member` or `tenant` and which."""
_TENANT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TOKEN = re.compile(rf"jf_(?:{'|'.join(ROLES)})_[A-Za-z0-9_-]{{43}}")
_TENANT_ROLES = frozenset({"owner", "admin", "member"})
_TOUCH_EVERY = timedelta(minutes=1)
_CACHE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token. `plaintext` is in no other place from now on."""

    plaintext: str
    token: Token


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    expires_at: datetime | None
    forget_at: float
    """By the monotonic clock."""


class TenantService:
    """Tenants, members and tokens; also the platform's `Authenticator`.

    Args:
        cache_s: For how long a caller is remembered. What was revoked in this process counts at once, and on other
            nodes as soon as they hear of it (`hear`); after this time in any case.
        has_plan: Whether a plan is defined. Without it, any name will do.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock | None = None,
        *,
        cache_s: float = 10.0,
        has_plan: Callable[[str], bool] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._cache_s = cache_s
        self._has_plan = has_plan
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def create_tenant(
        self, name: str, *, tenant_id: str | None = None, plan: str = "free", actor: str = "platform"
    ) -> Tenant:
        """A new tenant.

        Args:
            tenant_id: The host's own name for it; made when absent.

        Raises:
            TenantIdInvalidError: The id cannot be one.
            PlanUnknownError: There is no such plan.
            TenantExistsError: The id is taken.
        """
        tenant_id = ids.new_id("ten") if tenant_id is None else tenant_id
        if not _TENANT_ID.fullmatch(tenant_id):
            raise TenantIdInvalidError(f"{tenant_id!r} cannot be a tenant's id.", tenant_id=tenant_id)
        if self._has_plan is not None and not self._has_plan(plan):
            raise PlanUnknownError(f"there is no plan {plan[:80]!r}", plan=plan[:80])
        tenant = Tenant(id=tenant_id, name=name, plan=plan, created_at=self._clock.now())
        try:
            async with self._database.write(None) as session:
                session.add(tenant)
                audit(session, tenant_id, actor, "tenant.create", tenant_id, after={"name": name, "plan": plan})
        except IntegrityError as error:
            raise TenantExistsError(f"The tenant {tenant_id} exists.", tenant_id=tenant_id) from error
        return tenant

    async def ensure_tenant(self, tenant_id: str, name: str, *, plan: str = "free", actor: str = "platform") -> Tenant:
        """The tenant, made when it is not there: for a host that names its tenants itself, at every start."""
        try:
            return await self.create_tenant(name, tenant_id=tenant_id, plan=plan, actor=actor)
        except TenantExistsError:
            return await self.tenant(tenant_id)

    async def tenant(self, tenant_id: str) -> Tenant:
        """One tenant.

        Raises:
            TenantMissingError: There is none.
        """
        async with self._database.read(None) as session:
            tenant = await session.get(Tenant, tenant_id)
        if tenant is None:
            raise TenantMissingError(f"There is no tenant {tenant_id}.", tenant_id=tenant_id)
        return tenant

    async def tenants(self, page: PageRequest) -> Slice[Tenant]:
        """All tenants, by id."""
        after = cast(str, decode_cursor(page.cursor, str)[0]) if page.cursor else None
        async with self._database.read(None) as session:
            rows = await repository.tenants_after(session, after, page.limit + 1)
        return cut(rows, page.limit, lambda tenant: (tenant.id,))

    async def add_member(
        self, tenant_id: str, name: str, email: str, role: Role = "member", *, actor: str = "platform"
    ) -> Member:
        """A person joins a tenant.

        Raises:
            TenantMissingError: There is no such tenant.
            TokenSubjectError: The role is none of a tenant's.
            MemberExistsError: The address is taken.
        """
        if role not in _TENANT_ROLES:
            raise TokenSubjectError(f"{role} is no role in a tenant.", role=role)
        await self.tenant(tenant_id)
        member = Member(
            id=ids.new_id("mem"),
            tenant_id=tenant_id,
            name=name,
            email=email.strip().lower(),
            role=role,
            created_at=self._clock.now(),
        )
        try:
            async with self._database.write(tenant_id) as session:
                session.add(member)
                audit(session, tenant_id, actor, "member.add", member.id, after={"name": name, "role": role})
        except IntegrityError as error:
            raise MemberExistsError(f"The tenant has a member with the address {member.email}.") from error
        return member

    async def member(self, tenant_id: str, member_id: str) -> Member:
        """One member of a tenant.

        Raises:
            MemberMissingError: The tenant has no such member.
        """
        async with self._database.read(tenant_id) as session:
            member = await session.get(Member, member_id)
        if member is None or member.tenant_id != tenant_id:
            raise MemberMissingError(f"The tenant has no member {member_id}.", member_id=member_id)
        return member

    async def set_locale(self, tenant_id: str, member_id: str, locale: str | None) -> Member:
        """The member's language from now on; None: what their browser says. Other nodes know at once.

        Raises:
            LanguageInvalidError: It names no language.
            MemberMissingError: The tenant has no such member.
        """
        _check_language(locale)
        async with self._database.write(tenant_id) as session:
            member = await session.get(Member, member_id)
            if member is None or member.tenant_id != tenant_id:
                raise MemberMissingError(f"The tenant has no member {member_id}.", member_id=member_id)
            member.locale = locale
            await tell(session, CALLERS, f"member {member_id}")
        self._forget(lambda caller: caller.member_id == member_id)
        return member

    async def describe(
        self, tenant_id: str, *, timezone: str | None = None, locale: str | None = None, actor: str = "platform"
    ) -> Tenant:
        """Change what a tenant says of itself; what is None stays.

        Raises:
            LanguageInvalidError, TimezoneInvalidError: It cannot be.
            TenantMissingError: There is no such tenant.
        """
        _check_language(locale)
        if timezone is not None and not _is_timezone(timezone):
            raise TimezoneInvalidError(f"{timezone[:64]!r} names no time zone.")
        async with self._database.write(None) as session:
            tenant = await session.get(Tenant, tenant_id)
            if tenant is None:
                raise TenantMissingError(f"There is no tenant {tenant_id}.", tenant_id=tenant_id)
            before = {"timezone": tenant.timezone, "locale": tenant.locale}
            tenant.timezone = timezone or tenant.timezone
            tenant.locale = locale or tenant.locale
            after = {"timezone": tenant.timezone, "locale": tenant.locale}
            audit(session, tenant_id, actor, "tenant.describe", tenant_id, before=before, after=after)
            await tell(session, CALLERS, f"tenant {tenant_id}")
        self._forget(lambda caller: caller.tenant_id == tenant_id)
        return tenant

    def hear(self, subject: str) -> None:
        """Another node says that something about a token, a member or a tenant has changed."""
        kind, _, name = subject.partition(" ")
        if kind == "token":
            self._known.pop(name, None)
        elif kind == "member":
            self._forget(lambda caller: caller.member_id == name)
        else:
            self._forget(lambda caller: caller.tenant_id == name)

    def forget_all(self) -> None:
        """Every caller is looked up anew."""
        self._known.clear()

    def _forget(self, is_it: Callable[[Caller], bool]) -> None:
        # Who is being looked up at this moment may be one of them.
        for digest in [digest for digest, known in self._known.items() if known.forget_at < 0 or is_it(known.caller)]:
            del self._known[digest]

    async def members(self, tenant_id: str) -> list[Member]:
        """All members of a tenant, by name."""
        async with self._database.read(tenant_id) as session:
            return list(await repository.members(session))

    async def issue_token(
        self,
        role: Role,
        *,
        tenant_id: str | None = None,
        member_id: str | None = None,
        publisher_id: str | None = None,
        name: str = "",
        lifetime: timedelta | None = None,
        actor: str = "platform",
    ) -> IssuedToken:
        """A new token, `jf_<role>_<random>`.

        Args:
            lifetime: None for a token that does not expire.

        Raises:
            TokenSubjectError: The role does not go with whom it is for.
            TenantMissingError: There is no such tenant.
            MemberMissingError: The tenant has no such member.
        """
        fits = {
            "operator": tenant_id is None and publisher_id is None,
            "publisher": tenant_id is None and publisher_id is not None,
        }.get(role, tenant_id is not None and publisher_id is None)
        if not fits or (member_id is not None and tenant_id is None):
            raise TokenSubjectError(f"A token for {role} cannot be issued like this.", role=role)
        if tenant_id is not None:
            await self.tenant(tenant_id)
            if member_id is not None and (await self.member(tenant_id, member_id)).role != role:
                raise TokenSubjectError("The member has another role.", role=role)

        plaintext = f"jf_{role}_{secrets.token_urlsafe(32)}"
        now = self._clock.now()
        token = Token(
            id=ids.new_id("tok"),
            digest=_digest(plaintext),
            prefix=plaintext[: len(f"jf_{role}_") + 4],
            name=name,
            role=role,
            tenant_id=tenant_id,
            member_id=member_id,
            publisher_id=publisher_id,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            revoked_at=None,
            last_used_at=None,
        )
        async with self._database.write(None) as session:
            session.add(token)
            audit(session, tenant_id, actor, "token.issue", token.id, after={"role": role, "name": name})
        return IssuedToken(plaintext, token)

    async def tokens(self, tenant_id: str, page: PageRequest) -> Slice[Token]:
        """A tenant's tokens, the newest first; revoked and expired ones too."""
        after: tuple[datetime, str] | None = None
        if page.cursor:
            created, token_id = decode_cursor(page.cursor, int, str)
            after = (_from_microseconds(created), token_id)
        async with self._database.read(None) as session:
            rows = await repository.tokens_after(session, tenant_id, after, page.limit + 1)
        return cut(rows, page.limit, lambda token: (_microseconds(token.created_at), token.id))

    async def revoke(self, token_id: str, *, tenant_id: str | None = None, actor: str = "platform") -> None:
        """The token is refused from now on. Revoking it again changes nothing.

        Args:
            tenant_id: When given, only a token of this tenant.

        Raises:
            TokenMissingError: There is no such token.
        """
        async with self._database.write(None) as session:
            token = await session.get(Token, token_id)
            if token is None or (tenant_id is not None and token.tenant_id != tenant_id):
                raise TokenMissingError(f"There is no token {token_id}.", token_id=token_id)
            if token.revoked_at is None:
                token.revoked_at = self._clock.now()
                audit(session, token.tenant_id, actor, "token.revoke", token_id)
                await tell(session, CALLERS, f"token {token.digest}")
        self._known.pop(token.digest, None)

    async def authenticate(self, token: str) -> Caller:
        """Who a token stands for.

        Raises:
            TokenInvalidError: It is unknown or revoked.
            TokenExpiredError: Its time is over.
        """
        if not _TOKEN.fullmatch(token):
            raise TokenInvalidError("The token is not valid.")
        digest = _digest(token)
        known = self._known.get(digest)
        if known is None or known.forget_at <= self._clock.monotonic():
            known = await self._look_up(digest)
        if known.expires_at is not None and known.expires_at <= self._clock.now():
            raise TokenExpiredError("The token has expired.", expired_at=known.expires_at.isoformat())
        return known.caller

    async def _look_up(self, digest: str) -> _Known:
        forget_at = self._clock.monotonic() + self._cache_s
        # A token that is revoked while we look must not be remembered afterwards: hold its place, see if it stays.
        place = _Known(Caller("member"), None, float("-inf"))
        self._known[digest] = place
        try:
            async with self._database.read(None) as session:
                found = await repository.token_by_digest(session, digest)
        finally:
            is_undisturbed = self._known.get(digest) is place
            if is_undisturbed:
                del self._known[digest]
        if found is None or found[0].revoked_at is not None:
            raise TokenInvalidError("The token is not valid.")
        token, member_role, locale, tenant_locale = found
        caller = Caller(
            role=cast(Role, member_role or token.role),
            tenant_id=token.tenant_id,
            member_id=token.member_id,
            publisher_id=token.publisher_id,
            token_id=token.id,
            locale=locale,
            tenant_locale=tenant_locale,
            token_name=token.name or None,
        )
        known = _Known(caller, token.expires_at, forget_at)
        if is_undisturbed:
            self._known[digest] = known
            while len(self._known) > _CACHE_SIZE:
                self._known.popitem(last=False)
        await self._touch(token)
        return known

    async def _touch(self, token: Token) -> None:
        now = self._clock.now()
        if token.last_used_at is not None and now - token.last_used_at < _TOUCH_EVERY:
            return
        try:
            async with self._database.write(None) as session:
                await repository.touch(session, token.id, now, now - _TOUCH_EVERY)
        except SQLAlchemyError as error:
            # A database that takes no writes (a full disk) is no reason to lock out those who only read.
            _log.warning("token-not-touched", token_id=token.id, error=str(error))


def _check_language(locale: str | None) -> None:
    if locale is not None and not is_language_tag(locale):
        raise LanguageInvalidError(f"{locale[:35]!r} names no language.")


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _from_microseconds(value: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)
