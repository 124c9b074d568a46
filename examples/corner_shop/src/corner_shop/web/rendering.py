"""Templates: how values look, and the headers that every page carries."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from corner_shop.extension import PlatformError
from corner_shop.shop.columns import now
from corner_shop.shop.organisations import Organisation
from corner_shop.web.drawing import bars, figure, kind
from corner_shop.web.guards import Visit

__all__ = ["NOTICES", "reason_of", "redirect", "render"]

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$"}

NOTICES = {
    "sold": "Sale completed.",
    "refunded": "Refunded; the goods are back in stock.",
    "booked": "Booked.",
    "cancelled": "Booking cancelled.",
    "saved": "Saved.",
    "installed": "Installed and running.",
    "activated": "Activated.",
    "deactivated": "Deactivated. Its settings and data are kept.",
    "uninstalled": "Uninstalled.",
}
"""What a page may be asked to say after a redirect. Keys travel in the address, words never do."""


def render(
    request: Request, template: str, *, visit: Visit | None = None, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page or a fragment."""
    html = _environment.get_template(template).render(
        visit=visit,
        organisation=visit.organisation if visit else None,
        root=visit.root if visit else "",
        csrf=visit.session.csrf if visit else "",
        notice=NOTICES.get(request.query_params.get("done", "")),
        path=request.url.path,
        **values,
    )
    return HTMLResponse(html, status_code=status, headers=_HEADERS)


def reason_of(error: PlatformError) -> str:
    """What the platform says went wrong, as a sentence, and its hint."""
    said = _sentence(str(error)).rstrip(".")
    return f"{said}. {error.hint}".strip()


def redirect(to: str) -> RedirectResponse:
    """After a form: see the outcome there."""
    return RedirectResponse(to, status_code=303, headers={"Cache-Control": "no-store"})


def _money(amount: float, currency: str) -> str:
    symbol = _SYMBOLS.get(currency, f"{currency} ")
    sign = "−" if amount < 0 else ""
    return f"{sign}{symbol}{abs(amount):,.2f}"


def _moment(value: datetime, organisation: Organisation) -> str:
    return f"{_day(value, organisation)}, {_clock(value, organisation)}"


def _day(value: datetime, organisation: Organisation) -> str:
    local = value.astimezone(organisation.zone)
    today = now().astimezone(organisation.zone).date()
    near = {today: "Today", today + timedelta(days=1): "Tomorrow", today - timedelta(days=1): "Yesterday"}
    return near.get(local.date(), f"{local:%a} {local.day} {local:%b}")


def _clock(value: datetime, organisation: Organisation) -> str:
    return f"{value.astimezone(organisation.zone):%H:%M}"


def _seconds(value: datetime, organisation: Organisation) -> str:
    return f"{value.astimezone(organisation.zone):%H:%M:%S}"


def _duration(milliseconds: float) -> str:
    if milliseconds < 1:
        return "under 1 ms"
    return f"{milliseconds:,.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:,.1f} s"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _initials(name: str) -> str:
    words = [word for word in name.split() if word[0].isalpha() and word != "Dr"]
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words))


_environment = Environment(
    loader=PackageLoader("corner_shop.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(
    bars=bars,
    clock=_clock,
    day=_day,
    duration=_duration,
    figure=figure,
    initials=_initials,
    kind=kind,
    moment=_moment,
    money=_money,
    sentence=_sentence,
    seconds=_seconds,
)
