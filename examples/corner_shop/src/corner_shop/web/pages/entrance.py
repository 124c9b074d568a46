"""`/`: choose an organisation and an employee. A demo: there are no passwords."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from corner_shop.extension import Extension
from corner_shop.shop import people
from corner_shop.shop.errors import NotFoundError
from corner_shop.shop.organisations import ORGANISATIONS
from corner_shop.web.forms import Form
from corner_shop.web.guards import COOKIE, Posted, VisitDep, own_form
from corner_shop.web.rendering import redirect, render
from corner_shop.web.session import LIFETIME_S, Sessions

__all__ = ["router"]

router = APIRouter()


@router.get("/")
async def choose(request: Request) -> Response:
    extension: Extension = request.app.state.extension
    async with extension.read() as session:
        staff = {key: await people.employees(session, key) for key in ORGANISATIONS}
    return render(request, "entrance.html", organisations=ORGANISATIONS, staff=staff)


@router.post("/t/{tenant}/sign-in")
async def sign_in(tenant: str, request: Request, form: Annotated[Form, Depends(own_form)]) -> Response:
    extension: Extension = request.app.state.extension
    sessions: Sessions = request.app.state.sessions
    async with extension.read() as session:
        employee = await people.find_employee(session, tenant, form.text("employee"))
    if tenant not in ORGANISATIONS or employee is None:
        raise NotFoundError("There is nobody of that name here.")
    response = redirect(f"/t/{tenant}/dashboard")
    # The path keeps the two organisations apart: one can be signed in to both, in two tabs.
    response.set_cookie(
        COOKIE,
        sessions.seal(tenant, employee.id),
        max_age=LIFETIME_S,
        path=f"/t/{tenant}",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/t/{tenant}/sign-out")
async def sign_out(visit: VisitDep, form: Posted) -> Response:
    response = redirect("/")
    response.delete_cookie(COOKIE, path=visit.root, httponly=True, samesite="lax")
    return response
