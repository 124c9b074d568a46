"""The host's ASGI application: its own pages, and the platform for everything else."""

from __future__ import annotations

from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from corner_shop.extension import Extension, ForbiddenError, MissingError, PlatformError, UnavailableError
from corner_shop.shop.errors import NotFoundError, ShopError
from corner_shop.web.guards import NotAllowedError, SignInError, own_host
from corner_shop.web.pages import bookings, customers, dashboard, entrance, live, plugins, products, sales, till
from corner_shop.web.rendering import reason_of, redirect, render
from corner_shop.web.session import Sessions

__all__ = ["create_app"]


def create_app(extension: Extension, *, session_key: bytes, listens_on: str) -> FastAPI:
    """Build it around a platform that the caller starts and stops.

    Args:
        session_key: Signs the cookies.
        listens_on: The host name or address of the server's socket.
    """
    app = FastAPI(openapi_url=None, exception_handlers=dict(_HANDLERS))
    app.state.extension = extension
    app.state.sessions = Sessions(session_key)
    app.state.listens_on = listens_on
    app.mount("/assets", StaticFiles(directory=Path(__file__).parent / "static"))
    for page in (entrance, dashboard, till, sales, bookings, customers, products, plugins, live):
        app.include_router(page.router, dependencies=[Depends(own_host)])
    app.add_api_route("/t/{rest:path}", _no_such_page, dependencies=[Depends(own_host)])
    # Last, so that our own pages come first: the platform has /api and /metrics.
    app.mount("/", extension.asgi)
    return app


async def _no_such_page() -> None:
    raise NotFoundError("There is no page at this address.")


async def _sign_in(request: Request, error: Exception) -> Response:
    return redirect("/")


async def _not_found(request: Request, error: Exception) -> Response:
    return _page(request, 404, "Not here", str(error))


async def _not_allowed(request: Request, error: Exception) -> Response:
    return _page(request, 403, "Not allowed", str(error))


async def _shop_error(request: Request, error: Exception) -> Response:
    return _page(request, 400, "That did not work", str(error))


async def _platform_error(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)
    return _page(
        request, status, "That did not work", reason_of(error) if isinstance(error, PlatformError) else str(error)
    )


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _page(request, status, "Not here", "There is no page at this address.")


_STATUSES = {MissingError: 404, ForbiddenError: 403, UnavailableError: 503, PlatformError: 409}

_HANDLERS = {
    SignInError: _sign_in,
    NotFoundError: _not_found,
    NotAllowedError: _not_allowed,
    ShopError: _shop_error,
    PlatformError: _platform_error,
    HTTPException: _http_error,
}


def _page(request: Request, status: int, title: str, text: str) -> Response:
    tenant = request.path_params.get("tenant")
    back = f"/t/{tenant}/dashboard" if tenant and status != 404 else "/"
    return render(request, "problem.html", status=status, title=title, text=text, back=back, back_label="Go back")
