"""Two tenants with members, and the service with its courier, without a platform around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.db import Database
from jackfield.egress import Egress
from jackfield.notifications import Courier, Mailer, Note, Notifications, Webhooks
from jackfield.notifications.models import NotificationDelivery, NotificationRow
from jackfield.settings import EgressSettings, NotificationSettings, SmtpSettings
from jackfield.tenants import Member, TenantService
from jackfield.webhooks import Sender
from tests.server.conftest import ManualClock
from tests.server.notifications.servers import MailServer, Receiver, mail_server, receiver

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
class Office:
    """The service, its courier, and who is told."""

    database: Database
    service: Notifications
    courier: Courier
    mail: MailServer
    hooks: Receiver
    clock: ManualClock
    ada: Member
    bob: Member
    eve: Member

    async def send(self, to: Any = "all", title: str = "Hello", *, plugin: str = "shop", **parts: Any) -> int:
        """As an installation `inst_PLUGIN` of the first tenant."""
        recipients = [to] if isinstance(to, str) else to
        return await self.service.send(TENANT, f"inst_{plugin}", plugin, Note(title, **parts), recipients)

    async def rows(self, model: type[Any] = NotificationRow, tenant: str | None = None) -> list[Any]:
        async with self.database.read(tenant) as session:
            return list(await session.scalars(select(model).order_by(model.id)))

    async def deliveries(self) -> list[tuple[str, str, str | None]]:
        return [(row.channel, row.state, row.error_code) for row in await self.rows(NotificationDelivery)]


@pytest.fixture
async def office(either_database: Database, clock: ManualClock) -> AsyncIterator[Office]:
    database = either_database
    tenants = TenantService(database, clock)
    for tenant in (TENANT, RIVAL):
        await tenants.create_tenant(tenant.title(), tenant_id=tenant)
    ada = await tenants.add_member(TENANT, "Ada", "ada@example.com", "owner")
    bob = await tenants.add_member(TENANT, "Bob", "bob@example.com")
    eve = await tenants.add_member(RIVAL, "Eve", "eve@example.com", "owner")
    settings = NotificationSettings(per_hour=3, in_app_per_hour=5, digest_s=600, attempts=3, retry_s=10)
    async with mail_server() as mail, receiver() as hooks:
        outside = EgressSettings(allowed=("127.0.0.1",), plain_http=True)
        egress = Egress(outside)
        webhooks = Webhooks(Sender(egress, outside))
        service = Notifications(database, settings, clock, has_email=True, check_url=webhooks.check)
        service.sealer = OpenSealer()
        mailer = Mailer(SmtpSettings(host="127.0.0.1", port=mail.port, security="none", sender="news@shop.example"))
        courier = Courier(
            database, service.sealer, webhooks, mailer, settings, clock, sender="news@shop.example",
            sender_name="The shop", public_url="https://shop.example",
        )  # fmt: skip
        yield Office(database, service, courier, mail, hooks, clock, ada, bob, eve)
        await egress.close()
