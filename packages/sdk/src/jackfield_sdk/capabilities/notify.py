"""Notifications to members of the tenant: in the app, by e-mail, by webhook, as each member wants it."""

from __future__ import annotations

from typing import Any, Literal

from jackfield_sdk.capabilities.host import Host

__all__ = ["Notify"]


class Notify:
    """`ctx.notify`: tell members of the tenant something. Takes the permission `notify`."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def send(
        self,
        to: str | list[str],
        title: str,
        body: str = "",
        *,
        level: Literal["info", "success", "warning", "error"] = "info",
        link: str | None = None,
        key: str | None = None,
    ) -> int:
        """Notify members; how many are told.

        Each member decides what reaches them, and how. Those who get many of a plugin get them together.

        Args:
            to: Members' ids, a role (`owner`, `admin`, `member`), or `all`.
            title: One line, at most 200 characters.
            body: Plain text, at most 4,000 characters.
            link: A path within the host's UI, as `/orders/7`, or an `https://` address.
            key: A member is told of the same key once; say what it is about, as `order-7-late`.

        Raises:
            CapabilityError: `recipient-unknown`: no such member or role.
        """
        given: dict[str, Any] = {"to": [to] if isinstance(to, str) else list(to), "title": title, "body": body}
        given |= {"level": level, "link": link, "key": key}
        return self._host.call("notify", "send", given)
