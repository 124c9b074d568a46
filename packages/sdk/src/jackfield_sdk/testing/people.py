"""The tenant, its members, and what they were told, as far as a test says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jackfield_sdk import wire
from jackfield_sdk.errors import CapabilityError
from jackfield_sdk.schema import to_plain

__all__ = ["People", "Told"]

Operation = tuple[type[Any], Callable[[Any], str], Callable[[Any], Any]]
_ROLES = ("owner", "admin", "member")
_LINK = re.compile(
    r"/(?![/\\])[^\\\x00-\x20\x7f]*\Z|https://[A-Za-z0-9.-]+(:\d{1,5})?([/?#][^\\\x00-\x20\x7f\"<>]*)?\Z"
)


class Told(msgspec.Struct, frozen=True):
    """One notification to one member."""

    member: str
    title: str
    body: str
    level: str
    link: str | None
    key: str | None


class _Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the arguments of operations."""


class _Nothing(_Arguments, frozen=True, kw_only=True):
    pass


class _One(_Arguments, frozen=True, kw_only=True):
    id: str


class _List(_Arguments, frozen=True, kw_only=True):
    role: Literal["owner", "admin", "member"] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: str | None = None


class _Send(_Arguments, frozen=True, kw_only=True):
    to: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(min_length=1, max_length=100)]
    title: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z")]
    body: Annotated[str, Meta(max_length=4000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*\Z")] = ""
    level: Literal["info", "success", "warning", "error"] = "info"
    link: Annotated[str, Meta(max_length=2000)] | None = None
    key: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^~\x00-\x1f\x7f-\x9f]")] | None = None


class People:
    """Members by id, and what each was told.

    Attributes:
        tenant: Name, plan, timezone and locale.
        told: Notifications, the oldest first.
        caller: Who acts at this moment.
    """

    def __init__(self, tenant_id: str) -> None:
        self.tenant: dict[str, str] = {"name": tenant_id, "plan": "free", "timezone": "UTC", "locale": "en"}
        self.told: list[Told] = []
        self.caller: Callable[[], wire.Caller | None] = lambda: None
        self._members: dict[str, dict[str, str]] = {}

    def add(self, id: str, role: str = "member", *, name: str = "", email: str = "", locale: str = "") -> None:
        """A person joins the tenant."""
        self._members[id] = {
            "id": id, "name": name or id.title(), "role": role, "email": email or f"{id}@example.com", "locale": locale,
        }  # fmt: skip

    def operations(self) -> Mapping[str, Operation]:
        """For the broker."""
        return {
            "members.tenant": (_Nothing, _none, lambda _: dict(self.tenant)),
            "members.me": (_Nothing, _none, lambda _: {"name": self._acting().get("name", "")}),
            "members.my_address": (_Nothing, _reads, lambda _: {"email": self._acting().get("email", "")}),
            "members.get": (_One, _reads, lambda arguments: self._members.get(arguments.id)),
            "members.list": (_List, _reads, self._list),
            "notify.send": (_Send, lambda _: "notify", self._send),
        }

    def _acting(self) -> dict[str, str]:
        caller = self.caller()
        return {} if caller is None else self._members.get(caller.id, {})

    def _list(self, arguments: _List) -> list[dict[str, str]]:
        found = [
            member
            for id, member in sorted(self._members.items())
            if (arguments.role is None or member["role"] == arguments.role)
            and (arguments.after is None or id > arguments.after)
        ]
        return found[: arguments.limit]

    def _send(self, arguments: _Send) -> int:
        if arguments.link is not None and not _LINK.match(arguments.link):
            raise CapabilityError("`link` is neither a path nor an `https://` address", code="arguments-invalid")
        wanted: dict[str, None] = {}
        for one in arguments.to:
            if one == "all":
                wanted.update(dict.fromkeys(self._members))
            elif one in _ROLES:
                wanted.update(dict.fromkeys(id for id, member in self._members.items() if member["role"] == one))
            elif one in self._members:
                wanted[one] = None
            else:
                raise CapabilityError(f"the tenant has no member {one!r}", code="recipient-unknown")
        known = {(told.member, told.key) for told in self.told if told.key is not None}
        fresh = [id for id in wanted if (id, arguments.key) not in known]
        plain = {name: value for name, value in to_plain(arguments).items() if name != "to"}
        self.told += [Told(id, **plain) for id in fresh]
        return len(fresh)


def _none(_arguments: object) -> str:
    return ""


def _reads(_arguments: object) -> str:
    return "members:read"
