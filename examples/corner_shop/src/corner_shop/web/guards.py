"""Who may see a page, and whether a posted form is one of ours."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from corner_shop.extension import Caller, Extension
from corner_shop.shop import people
from corner_shop.shop.errors import NotFoundError
from corner_shop.shop.models import Employee
from corner_shop.shop.organisations import ORGANISATIONS, Organisation
from corner_shop.web.forms import Form, read_form
from corner_shop.web.session import Session, Sessions

__all__ = [
    "COOKIE",
    "ManagerDep",
    "NotAllowedError",
    "Posted",
    "SignInError",
    "Visit",
    "VisitDep",
    "own_form",
    "own_host",
]

COOKIE = "corner_shop"


class SignInError(Exception):
    """Nobody is signed in to this organisation."""


class NotAllowedError(Exception):
    """Someone is, but they may not do this; the message is for them."""


@dataclass(frozen=True)
class Visit:
    """A request of a signed-in employee."""

    organisation: Organisation
    employee: Employee
    session: Session
    extension: Extension

    @property
    def tenant_id(self) -> str:
        return self.organisation.id

    @property
    def root(self) -> str:
        """Where the organisation's pages begin."""
        return f"/t/{self.organisation.id}"

    @property
    def caller(self) -> Caller:
        """On whose behalf plugins run."""
        return Caller(id=self.employee.member_id or self.employee.id, role=self.employee.role)

    @property
    def is_manager(self) -> bool:
        """Whether they decide on plugins and refunds."""
        return self.employee.role in ("owner", "admin")


async def own_host(request: Request) -> None:
    """Answer to our own name only, while we listen on this machine alone.

    Signing in takes no password here. Without this check a page on the internet could point its name at 127.0.0.1
    and use the till as if it were of its own origin.
    """
    listens_on = request.app.state.listens_on
    if _is_loopback(listens_on) and not _is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or ""):
        raise NotAllowedError("This address is not ours.")


async def visit(tenant: str, request: Request) -> Visit:
    """Whoever is signed in to this organisation. Read anew each time: a role that was withdrawn is gone at once.

    Raises:
        SignInError: Nobody is.
    """
    organisation = ORGANISATIONS.get(tenant)
    if organisation is None:
        raise NotFoundError("There is no such organisation.")
    sessions: Sessions = request.app.state.sessions
    extension: Extension = request.app.state.extension
    session = sessions.open(request.cookies.get(COOKIE, ""), tenant)
    if session is None:
        raise SignInError
    async with extension.read() as database:
        employee = await people.find_employee(database, tenant, session.employee_id)
    if employee is None:
        raise SignInError
    return Visit(organisation=organisation, employee=employee, session=session, extension=extension)


VisitDep = Annotated[Visit, Depends(visit)]


async def manager(visit: VisitDep) -> Visit:
    """A signed-in owner or admin."""
    if not visit.is_manager:
        raise NotAllowedError("Only an owner or an admin may do this.")
    return visit


ManagerDep = Annotated[Visit, Depends(manager)]


async def own_form(request: Request) -> Form:
    """A form that our own origin sent, as far as the browser says."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise NotAllowedError("This form was sent from another site.")
    return await read_form(request)


async def posted(visit: VisitDep, form: Annotated[Form, Depends(own_form)]) -> Form:
    """A form that we gave to this very session."""
    if not hmac.compare_digest(form.text("csrf").encode(), visit.session.csrf.encode()):
        raise NotAllowedError("This form is stale. Go back, load the page again, and send it once more.")
    return form


Posted = Annotated[Form, Depends(posted)]


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
