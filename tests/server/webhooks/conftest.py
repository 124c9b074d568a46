"""Endpoints of two tenants with a dispatcher and a real receiver, without a platform around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jackfield.db import Database
from jackfield.egress import Egress
from jackfield.extension_points import Delivering, Subscribing
from jackfield.jobs import Delivery, DeliveryResult, DeliverySnapshot, Dispatcher, Subscription, outbox
from jackfield.settings import EgressSettings, WebhookSettings
from jackfield.webhooks import Endpoints, Sender
from jackfield.webhooks.models import AttemptRow
from tests.server.conftest import ManualClock
from tests.servers.serving import serving

TENANT, RIVAL = "acme", "rival"


class OpenSealer:
    """Keeps secrets as a test can read them, bound to their place all the same."""

    async def seal(self, session: AsyncSession, tenant_id: str, slug: str, name: str, plaintext: str) -> str:
        return f"{tenant_id}|{slug}|{name}|{plaintext}"

    async def open(self, token: str, tenant_id: str, slug: str, name: str) -> str:
        *place, secret = token.split("|")
        assert place == [tenant_id, slug, name]
        return secret


@dataclass
class Receiver:
    """What it was posted; it answers the next of `answers`, and 204 when there is none."""

    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list[tuple[dict[str, str], bytes]])
    answers: list[Response] = field(default_factory=list[Response])

    @property
    def app(self) -> Starlette:
        async def take(request: Request) -> Response:
            self.requests.append((dict(request.headers), await request.body()))
            return self.answers.pop(0) if self.answers else Response(status_code=204)

        return Starlette(routes=[Route("/hook", take, methods=["POST"])])

    def failing(self, times: int, status: int = 500, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers += [Response("on fire", status, named) for _ in range(times)]


class Nobody:
    """A plugin beside: takes every event."""

    def __init__(self) -> None:
        self.begun: list[DeliverySnapshot] = []

    async def subscribers(self, tenant_id: str, event_name: str) -> list[Subscription]:
        return [Subscription("inst_1", "handle")]

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        self.begun.append(delivery)
        return DeliveryResult("done")


@dataclass
class Post:
    """The service, a dispatcher, and who receives."""

    database: Database
    clock: ManualClock
    endpoints: Endpoints
    receiver: Receiver
    plugin: Nobody
    settings: WebhookSettings
    told: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    limit: int | None = 3

    @property
    def dispatcher(self) -> Dispatcher:
        """A new one each time, as after a restart."""
        return Dispatcher(
            self.database, Subscribing(self.plugin, self.endpoints),
            Delivering(self.plugin, {}, {"hook_": self.endpoints}), self.clock,
        )  # fmt: skip

    async def emit(self, name: str = "sale.created", payload: Any = None, *, tenant: str = TENANT) -> str:
        async with self.database.write(tenant) as session:
            id = outbox.add(session, tenant, name, {"total": 7} if payload is None else payload)
        await self.dispatcher.drain()
        return id

    async def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.dispatcher.drain()

    async def deliveries(self) -> list[Delivery]:
        query = select(Delivery).where(Delivery.installation_id.startswith("hook_")).order_by(Delivery.sequence)
        async with self.database.read(None) as session:
            return list(await session.scalars(query))

    async def attempts(self) -> list[AttemptRow]:
        async with self.database.read(None) as session:
            return list(await session.scalars(select(AttemptRow).order_by(AttemptRow.id)))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()
    with serving(kept.app) as url:
        kept.url = f"{url}/hook"
        yield kept


@pytest.fixture
async def post(either_database: Database, clock: ManualClock, receiver: Receiver) -> AsyncIterator[Post]:
    outside = EgressSettings(allowed=("127.0.0.1",), plain_http=True)
    egress, settings = Egress(outside), WebhookSettings()

    async def limit_of(tenant_id: str) -> int | None:
        return made.limit

    async def tell(tenant_id: str, title: str, body: str) -> None:
        made.told.append((tenant_id, title, body))

    endpoints = Endpoints(
        either_database, OpenSealer(), Sender(egress, outside), settings, clock, limit_of=limit_of, tell_admins=tell
    )
    made = Post(either_database, clock, endpoints, receiver, Nobody(), settings)
    yield made
    await egress.close()
