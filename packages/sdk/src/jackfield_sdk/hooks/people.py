"""Payloads about people: customers, employees, users."""

from __future__ import annotations

import msgspec

__all__ = ["Customer", "Employee", "Login", "User"]


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A person who buys or books."""

    id: str
    name: str
    email: str | None = None
    phone: str | None = None


class Employee(msgspec.Struct, frozen=True, kw_only=True):
    """A person who works for the tenant."""

    id: str
    name: str
    role: str = "member"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person with an account at the host: `user.created` and its kin. `id` is empty while the account is new."""

    name: str
    id: str | None = None
    email: str | None = None
    role: str = "member"
    locale: str = "en"
    metadata: dict[str, str] = {}


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody has signed in: `user.login`.

    Attributes:
        method: As the host names it: `password`, `google`, `token`.
    """

    user_id: str
    at: str
    method: str = "password"
