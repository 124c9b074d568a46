"""A practice management system's own API behind the REST adapter, by a mapping alone: Open Dental's shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from jackfield.connections.credentials import authorized, split
from jackfield.data_adapters import Change, FieldValueError, Query, parse_order, parse_where
from jackfield.data_adapters.remote_errors import AdapterCredentialsError, AdapterRefusedError
from jackfield.data_adapters.rest import RestAdapter, RestMapping
from jackfield.egress import Egress, OutboundRequest
from tests.server.data_adapters.remotes import EGRESS, transport
from tests.servers.open_dental import OpenDental
from tests.servers.serving import serving

MAPPING = Path(__file__).with_name("open_dental.json")


class Key:
    """Developer key and customer key, as an API key with a prefix."""

    def __init__(self, value: str) -> None:
        self.credentials, self.secrets = split(
            {"kind": "api-key", "name": "Authorization", "prefix": "ODFHIR ", "value": value}
        )

    async def apply(self, request: OutboundRequest) -> OutboundRequest:
        return authorized(request, self.credentials, self.secrets)

    async def renew(self, request: OutboundRequest) -> bool:
        return False


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(EGRESS)
    yield egress
    await egress.close()


def made(url: str, egress: Egress, key: str) -> RestAdapter:
    plain = {**msgspec.json.decode(MAPPING.read_bytes()), "base_url": f"{url}/api/v1"}
    mapping = msgspec.convert(plain, RestMapping)
    return RestAdapter(mapping, transport("rest", egress, mapping.base_url, Key(key)))


async def test_patients_and_appointments_by_our_names(egress: Egress) -> None:
    server = OpenDental()
    with serving(server.app) as url:
        adapter = made(url, egress, server.key)
        (ann,) = await adapter.create(
            "t", "patients", [{"last_name": "Allen", "first_name": "Ann", "birthday": "1980-02-03"}]
        )
        server.add("patients", LName="Allende", FName="Isabel")
        assert ann.after == {
            "id": 1, "last_name": "Allen", "first_name": "Ann", "birthday": "1980-02-03", "email": None,
            "mobile": None, "status": "active",
        }  # fmt: skip
        where = parse_where([["last_name", "eq", "Allen"]])
        found = await adapter.list("t", "patients", Query(where))
        assert [row["id"] for row in found.rows] == [1]
        assert "LName=Allen" in server.seen[-2][2]
        provider = server.add("providers", LName="Drill", FName="Bob", IsHidden="false")
        chair = server.add("operatories", OpName="Chair 1", Abbrev="C1")
        (booked,) = await adapter.create(
            "t", "appointments",
            [
                {
                    "patient": 1, "provider": provider, "operatory": chair, "starts_at": "2026-03-01T09:30:00",
                    "is_new_patient": True,
                }
            ],
        )  # fmt: skip
        assert server.rows["appointments"][1]["IsNewPatient"] == "true"
        (moved,) = await adapter.update(
            "t", "appointments", [Change(booked.key, {"starts_at": "2026-03-02T10:00:00", "status": "done"})]
        )
        assert server.seen[-1][:2] == ("PUT", "/api/v1/appointments/1")
        assert server.rows["appointments"][1]["AptStatus"] == "Complete"
        assert moved.after is not None
        assert (moved.after["starts_at"], moved.after["status"]) == ("2026-03-02T10:00:00", "done")
        with pytest.raises(FieldValueError):
            await adapter.create("t", "appointments", [{"patient": 77}])
        await adapter.update("t", "patients", [Change("1", {"birthday": None})])
        assert server.rows["patients"][1]["Birthdate"] == "0001-01-01"


async def test_more_than_a_page_and_what_they_cannot_sort(egress: Egress) -> None:
    server = OpenDental()
    for number in range(230):
        server.add("patients", LName=f"L{number % 7}", FName=f"F{number}", PatStatus="Patient")
    server.add("schedules", SchedDate="2026-03-01", StartTime="08:00:00", StopTime="12:00:00", SchedType="Provider",
               ProvNum=0)  # fmt: skip
    with serving(server.app) as url:
        adapter = made(url, egress, server.key)
        assert await adapter.count("t", "patients", ()) == 230
        page = await adapter.list("t", "patients", Query(limit=150, offset=60))
        assert [row["id"] for row in page.rows] == list(range(61, 211))
        last = await adapter.list("t", "patients", Query(order=parse_order(["-last_name", "-id"]), limit=1))
        assert last.rows[0]["last_name"] == "L6"
        (shift,) = (await adapter.list("t", "schedules", Query(parse_where([["day", "eq", "2026-03-01"]])))).rows
        assert (shift["starts"], shift["provider"]) == ("08:00:00", None)


async def test_plain_text_errors_are_understood(egress: Egress) -> None:
    server = OpenDental()
    with serving(server.app) as url:
        with pytest.raises(AdapterCredentialsError):
            await made(url, egress, "wrong/keys").list("t", "patients", Query())
        with pytest.raises(AdapterRefusedError):
            await made(url, egress, server.key).create("t", "patients", [{"last_name": "", "first_name": ""}])
