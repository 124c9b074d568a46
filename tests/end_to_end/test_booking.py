"""The plugin `booking`, sealed, on the host's database and, unchanged, on another system behind a REST API."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from jackfield.settings import EgressSettings
from tests.end_to_end.clinic import MONDAY, fill, surface
from tests.end_to_end.published import House, published
from tests.servers.open_dental import OpenDental
from tests.servers.serving import serving
from tools.committed import ROOT


async def check_desk(house: House) -> None:
    """A morning at the desk."""
    ada = (await house.call("booking", "SearchPatients", query="love"))[0]["id"]
    provider = (await house.call("booking", "ListProviders"))[0]["id"]
    room = (await house.call("booking", "ListOperatories"))[0]["id"]
    slots = await house.call("booking", "FindAvailableSlots", first_day=MONDAY, days=1, provider_id=provider)
    assert slots[0]["starts_at"] == f"{MONDAY}T09:00:00+01:00"
    wanted: dict[str, Any] = {
        "patient_id": ada, "provider_id": provider, "operatory_id": room, "starts_at": f"{MONDAY}T09:00",
    }  # fmt: skip

    async def attempt() -> str:
        answer = await house.ask("POST", "/booking/functions/CreateAppointment", arguments=wanted)
        return "made" if answer["success"] else answer["error"]["code"]

    outcomes = sorted(await asyncio.gather(*(attempt() for _ in range(8))))
    assert outcomes == ["made", *["slot-taken"] * 7]
    (made,) = await house.call("booking", "ListAppointments", first_day=MONDAY, days=1)
    assert (made["starts_at"], made["duration_minutes"], made["status"]) == (
        f"{MONDAY}T09:00:00+01:00", 60, "scheduled",
    )  # fmt: skip
    moved = await house.call("booking", "RescheduleAppointment", appointment_id=made["id"], starts_at=f"{MONDAY}T10:30")
    assert moved["ends_at"] == f"{MONDAY}T11:30:00+01:00"
    assert (
        await house.refusal("booking", "CreateAppointment", **{**wanted, "starts_at": f"{MONDAY}T11:00"})
        == "slot-taken"
    )
    assert (await house.call("booking", "BreakAppointment", appointment_id=made["id"]))["status"] == "broken"
    again = await house.call("booking", "CreateAppointment", **{**wanted, "starts_at": f"{MONDAY}T11:00"})
    assert (await house.call("booking", "CancelAppointment", appointment_id=again["id"]))["status"] == "cancelled"
    assert await house.refusal("booking", "GetPatient", patient_id="4711") == "patient-not-found"


async def test_a_morning_at_the_desk_of_a_host(tmp_path: Path) -> None:
    async with published(tmp_path, surface(), "booking") as house:
        await fill(house.platform.database)
        await house.install("booking", timezone="Europe/Vienna")
        await check_desk(house)


async def test_a_morning_at_a_desk_whose_data_is_in_open_dental(tmp_path: Path) -> None:
    server = OpenDental()
    server.add("patients", LName="Lovelace", FName="Ada")
    for last in ("Who", "No"):
        provider = server.add("providers", LName=last, FName="Dr.", IsHidden="false")
        server.add(
            "schedules", SchedDate=MONDAY, StartTime="09:00:00", StopTime="17:00:00", SchedType="Provider",
            ProvNum=provider,
        )  # fmt: skip
    server.add("operatories", OpName="Chair 1", Abbrev="C1")
    mapping = msgspec.json.decode((ROOT / "plugins" / "booking" / "open-dental.json").read_bytes())
    with serving(server.app) as url:
        egress = EgressSettings(allowed=("127.0.0.1",))
        async with published(tmp_path, surface(), "booking", egress=egress) as house:
            await fill(house.platform.database)
            await house.install("booking", timezone="Europe/Vienna")
            await house.ask(
                "PUT", "/booking/connections/data", adapter="rest",
                settings={**mapping, "base_url": f"{url}/api/v1"},
                credentials={
                    "kind": "api-key", "name": "Authorization", "prefix": "ODFHIR ", "value": "developer/customer",
                },
            )  # fmt: skip
            await check_desk(house)
            made = await house.call("booking", "CreatePatient", first_name="Grace", last_name="Hopper")
            assert (made["id"], server.rows["patients"][2]["LName"]) == ("2", "Hopper")
    first = server.rows["appointments"][1]
    assert (first["AptDateTime"], first["Pattern"], first["AptStatus"]) == (f"{MONDAY} 10:30:00", "X" * 12, "Broken")
