"""Consent at the terminal: what a plugin asks for, in words, and what is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from jackfield_cli.errors import CliError
from jackfield_cli.terminal import Terminal
from jackfield_cli.views import heading, listing, stack, styled

__all__ = ["Given", "ask", "everything", "pending_view", "permissions_view", "refuse_silence", "required", "waits"]


@dataclass(frozen=True, slots=True)
class Given:
    """What is granted: to the plugin itself, and to those that come along."""

    own: tuple[str, ...]
    others: dict[str, list[str]]


def everything(plan: dict[str, Any]) -> Given:
    """All that is asked for, optional permissions too."""
    return _given(plan, ("required", "optional"))


def required(plan: dict[str, Any], named: Iterable[str] = ()) -> Given:
    """What it cannot do without, and what was named besides."""
    needed = _given(plan, ("required",))
    return Given(tuple(dict.fromkeys((*needed.own, *named))), needed.others)


def ask(plan: dict[str, Any], named: tuple[str, ...], terminal: Terminal) -> Given | None:
    """Show what is asked for, and ask; None when they say no."""
    terminal.show(
        stack(
            heading(f"{plan['name']} {plan['version']} from {plan['publisher_id']}"),
            permissions_view(plan["permissions"]),
            *_others(plan),
        )
    )
    optional = [name for name in _named(plan["permissions"], ("optional",)) if name not in named]
    needs = required(plan)
    if not terminal.confirm("Grant what is required, and install it?" if needs.own or needs.others else "Install it?"):
        return None
    if optional and terminal.confirm(f"Grant what is optional, too ({', '.join(optional)})?"):
        return everything(plan)
    return required(plan, named)


def refuse_silence(plan: dict[str, Any], named: tuple[str, ...]) -> None:
    """Nobody can be asked: what is required must have been named.

    Raises:
        CliError: `grants-missing`, with a line for each permission.
    """
    missing = [p for p in plan["permissions"] if p["kind"] == "required" and p["permission"] not in named]
    lines = [_line(permission) for permission in missing]
    lines += [f"{other['slug']}: {_line(p)}" for other, p in _required_by_others(plan)]
    if lines:
        raise CliError(
            f"{plan['slug']} needs permissions that were not granted",
            code="grants-missing",
            hint="Grant them one by one with --grant, or all with --grant-all.",
            details=tuple(lines),
            data={
                "slug": plan["slug"],
                "missing": [p["permission"] for p in missing],
                "missing_for": _given(plan, ("required",)).others,
            },
        )


def permissions_view(permissions: list[dict[str, Any]]) -> RenderableType:
    """The table that is agreed to."""
    order = {"high": 0, "medium": 1, "low": 2}
    shown = sorted(permissions, key=lambda p: (p["kind"] == "implied", order.get(p["risk"], 0), p["permission"]))
    has_grants = any(p.get("is_granted") is not None for p in shown)
    columns = ("risk", "permission", "it may", "because", "", *(("granted",) if has_grants else ()))
    return listing(
        columns,
        [
            (
                styled(p["risk"]), p["permission"], p["text"], p["reason"] or "",
                "its own" if p["kind"] == "implied" else p["kind"],
                *((("yes" if p["is_granted"] else "no"),) if has_grants else ()),
            )
            for p in shown
        ],
        empty="It asks for nothing.",
    )  # fmt: skip


def waits(slug: str, installed: dict[str, Any]) -> CliError:
    """An update was asked for, and waits until more is granted."""
    pending = installed["pending_update"]
    names = " ".join(p["permission"] for p in pending["missing"])
    return CliError(
        f"{slug} stays on {installed['version']}: {pending['version']} asks for more, and waits until it is granted",
        code="consent-needed",
        hint=f"`jackfield grant {slug} {names}`, and it goes on; `jackfield update {slug} --forget` gives it up.",
        details=tuple(_line(permission) for permission in pending["missing"]),
        data={"pending_update": pending, "version": installed["version"]},
    )


def pending_view(installed: dict[str, Any]) -> RenderableType | None:
    """An update that waits, if one does."""
    pending = installed["pending_update"]
    if pending is None:
        return None
    why = pending["failed"]["message"] if pending["failed"] else "it asks for more"
    return stack(
        heading(f"An update to {pending['version']} waits: {why}"),
        permissions_view(pending["missing"]) if pending["missing"] else None,
    )


def _others(plan: dict[str, Any]) -> Iterator[RenderableType]:
    for other in plan["dependencies"]:
        yield heading(f"With it comes {other['name']} {other['version']}: {other['because']}")
        yield permissions_view(other["permissions"])


def _given(plan: dict[str, Any], kinds: tuple[str, ...]) -> Given:
    others = {other["slug"]: _named(other["permissions"], kinds) for other in plan["dependencies"]}
    return Given(tuple(_named(plan["permissions"], kinds)), {slug: names for slug, names in others.items() if names})


def _named(permissions: list[dict[str, Any]], kinds: tuple[str, ...]) -> list[str]:
    return [p["permission"] for p in permissions if p["kind"] in kinds]


def _required_by_others(plan: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for other in plan["dependencies"]:
        for permission in other["permissions"]:
            if permission["kind"] == "required":
                yield other, permission


def _line(permission: dict[str, Any]) -> str:
    return f"{permission['permission']}  ({permission['risk']} risk: {permission['text']})"
