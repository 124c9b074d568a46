"""The plugin `google-calendar`, sealed and unchanged, against a server that answers as Google does, under its names."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from jackfield.settings import EgressSettings
from jackfield_sdk import hooks
from tests.end_to_end.clinic import MONDAY, fill, surface
from tests.end_to_end.published import House, published
from tests.server.egress.world import Dns, certificate
from tests.servers.google_calendar import GoogleCalendar
from tests.servers.oauth2 import CLIENT_ID, CLIENT_SECRET, OAuth2Server
from tests.servers.serving import serving

NAMES = ("www.googleapis.com", "oauth2.googleapis.com", "accounts.google.com")


@dataclass
class Google:
    """Google, on an address of this machine."""

    accounts: OAuth2Server
    calendar: GoogleCalendar
    url: str
    egress: EgressSettings


@pytest.fixture
async def google(tmp_path: Path) -> AsyncIterator[Google]:
    accounts = OAuth2Server()
    calendar = GoogleCalendar(accounts.is_good)
    sign_in = Route("/o/oauth2/v2/auth", accounts.app.routes[0].endpoint)  # type: ignore[attr-defined]
    app = Starlette(routes=[sign_in, *accounts.app.routes, *calendar.app.routes])
    context, authority = certificate(tmp_path, *NAMES)
    address = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 2}"
    async with Dns().serving() as dns:
        dns.names.update(dict.fromkeys(NAMES, (address,)))
        with serving(app) as url:
            try:
                tunnel = await _tunnel(address, context, urlsplit(url).port or 0)
            except PermissionError:
                pytest.skip("only root, or whoever may take port 443, can stand in for Google")
            egress = EgressSettings(allowed=(address,), resolver=dns.address, ca_file=authority)
            yield Google(accounts, calendar, url, egress)
            tunnel.close()
            await tunnel.wait_closed()


async def _tunnel(address: str, context: ssl.SSLContext, port: int) -> asyncio.Server:
    """TLS in front of a plain server."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    return await asyncio.start_server(connected, address, 443, ssl=context)


@contextlib.asynccontextmanager
async def connected(folder: Path, google: Google) -> AsyncIterator[House]:
    """A clinic with both plugins, and an account."""
    async with published(folder, surface(), "booking", "google-calendar", egress=google.egress) as house:
        await fill(house.platform.database)
        await house.install("booking", timezone="Europe/Vienna")
        await house.install("google-calendar")
        await house.ask(
            "PUT", "/google-calendar/connections/google",
            credentials={
                "kind": "oauth2-authorization-code", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
            },
        )  # fmt: skip
        begun = await house.ask("POST", "/google-calendar/connections/google/authorize")
        asked = urlsplit(begun["url"])
        assert asked.netloc == "accounts.google.com"
        assert dict(parse_qsl(asked.query))["access_type"] == "offline"
        async with httpx.AsyncClient() as browser:
            agreed = await browser.get(f"{google.url}{asked.path}?{asked.query}")
        back = await house.owner.get(agreed.headers["location"])
        assert "is connected" in back.text
        yield house


async def test_events_are_made_read_changed_and_deleted(tmp_path: Path, google: Google) -> None:
    async with connected(tmp_path, google) as house:
        times = {"starts_at": f"{MONDAY}T09:00:00+01:00", "ends_at": f"{MONDAY}T09:30:00+01:00"}
        made = await house.call(
            "google-calendar", "CreateEvent", title="Team", attendees=["ada@example.com"], **times
        )  # fmt: skip
        assert (made["title"], made["attendees"], made["all_day"]) == ("Team", ["ada@example.com"], False)
        changed = await house.call("google-calendar", "UpdateEvent", event_id=made["id"], title="Crew")
        assert await house.call("google-calendar", "GetEvent", event_id=made["id"]) == changed
        for number in range(3):
            await house.call("google-calendar", "CreateEvent", title=f"More {number}", **times)
        page = await house.call("google-calendar", "ListEvents", starts_at=f"{MONDAY}T00:00:00Z", limit=3)
        rest = await house.call(
            "google-calendar", "ListEvents", starts_at=f"{MONDAY}T00:00:00Z", limit=3, cursor=page["cursor"]
        )
        assert (len(page["events"]), len(rest["events"]), rest["cursor"]) == (3, 1, None)
        busy = await house.call("google-calendar", "GetFreeBusy", **times)
        assert len(busy) == 4
        for _ in range(2):
            await house.call("google-calendar", "DeleteEvent", event_id=made["id"])
        assert await house.refusal("google-calendar", "UpdateEvent", event_id="nothing", title="x") == "event-not-found"
        assert len(google.calendar.shown()) == 3


async def test_appointments_appear_in_the_calendar_move_and_go(tmp_path: Path, google: Google) -> None:
    def shown() -> list[tuple[str, str]]:
        return [(item["summary"], item["start"]["dateTime"]) for item in google.calendar.shown()]

    async with connected(tmp_path, google) as house:
        made = await book(house)
        front_desk = hooks.Booking(id="b1", customer_id="c1", starts_at=f"{MONDAY}T13:00:00+01:00", service="Cleaning")
        await house.platform.tenant("acme").emit("booking.created", front_desk)
        await house.platform.drain_events()
        cleaning = ("Appointment: Cleaning", f"{MONDAY}T13:00:00+01:00")
        assert shown() == [("Appointment: Check-up", f"{MONDAY}T09:00:00+01:00"), cleaning]
        await house.call("booking", "RescheduleAppointment", appointment_id=made["id"], starts_at=f"{MONDAY}T10:00")
        await house.platform.drain_events()
        assert shown() == [("Appointment: Check-up", f"{MONDAY}T10:00:00+01:00"), cleaning]
        await house.call("booking", "CancelAppointment", appointment_id=made["id"])
        await house.platform.drain_events()
        assert shown() == [cleaning]
        # Delivered once more, it is still one event.
        deliveries = (await house.ask("GET", "/google-calendar/deliveries"))["items"]
        (booked,) = [item for item in deliveries if item["event"] == "booking.created"]
        await house.ask("POST", f"/google-calendar/deliveries/{booked['id']}/replay")
        await house.platform.drain_events()
        assert shown() == [cleaning]


async def test_while_google_is_busy_an_appointment_waits(tmp_path: Path, google: Google) -> None:
    async with connected(tmp_path, google) as house:
        google.calendar.refusals = [(403, "rateLimitExceeded")]
        await book(house)
        await house.platform.drain_events()
        (waiting,) = (await house.ask("GET", "/google-calendar/deliveries"))["items"]
        assert (waiting["state"], waiting["attempt"], google.calendar.shown()) == ("pending", 1, [])
        assert waiting["next_attempt_at"]


async def book(house: House) -> Any:
    return await house.call(
        "booking", "CreateAppointment", patient_id="1", provider_id="1", operatory_id="1",
        starts_at=f"{MONDAY}T09:00", reason="Check-up",
    )  # fmt: skip


async def test_an_account_that_is_not_accepted_any_more_is_said_and_can_be_connected_again(
    tmp_path: Path, google: Google
) -> None:
    async with connected(tmp_path, google) as house:
        google.accounts.expire_all()
        await house.call("google-calendar", "ListEvents")  # with a new token, for the old one was refused
        google.accounts.expire_all()
        google.accounts.end_all()
        code = await house.refusal("google-calendar", "ListEvents")
        assert code in ("google-unauthorized", "connection-broken")
        listed = (await house.ask("GET", "/google-calendar/connections"))["items"]
        assert {item["name"]: item["state"] for item in listed}["google"] == "broken"
