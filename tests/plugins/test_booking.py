"""The appointment desk: what it books, what it refuses, and that nothing is booked twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jackfield_sdk as jf
from jackfield_sdk.testing import FakePlatform, load_plugin
from tools.committed import ROOT

PLUGIN = load_plugin(ROOT / "plugins" / "booking")
NOW = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)  # a Monday, 8:00 in Vienna
MONDAY, TUESDAY = "2026-03-02", "2026-03-03"


def people() -> dict[str, list[dict[str, Any]]]:
    def shift(id: str, provider: str, date: str, start: str, end: str) -> dict[str, Any]:
        return {
            "id": id, "provider_id": provider, "operatory_id": None, "date": date, "start_time": start, "end_time": end
        }  # fmt: skip

    patient = {"birthdate": None, "phone": None, "email": None, "consent_given": False}
    return {
        "patients": [
            {"id": "1", "first_name": "Ada", "last_name": "Lovelace", **patient, "email": "ada@example.com"},
            {"id": "2", "first_name": "Alan", "last_name": "Turing", **patient, "consent_given": True},
        ],
        "providers": [
            {"id": "1", "name": "Dr. Who", "specialty": "", "is_active": True},
            {"id": "2", "name": "Dr. No", "specialty": "", "is_active": True},
            {"id": "3", "name": "Dr. Gone", "specialty": "", "is_active": False},
        ],
        "operatories": [{"id": id, "name": f"Chair {id}", "is_active": True} for id in ("1", "2")],
        "schedules": [
            shift("1", "1", MONDAY, "09:00", "12:00"), shift("2", "1", TUESDAY, "09:00", "12:00"),
            shift("3", "2", TUESDAY, "10:00", "11:00"),
        ],
        "appointments": [],
    }  # fmt: skip


def start(**config: Any) -> FakePlatform:
    return FakePlatform(PLUGIN, config={"timezone": "Europe/Vienna", **config}, entities=people(), now=NOW).start()


@pytest.fixture
def desk() -> FakePlatform:
    return start()


def book(desk: FakePlatform, starts_at: str = f"{TUESDAY}T09:00", **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"patient_id": "1", "provider_id": "1", "operatory_id": "1", **more}
    made: dict[str, Any] = desk.call("CreateAppointment", starts_at=starts_at, **given)
    return made


def refused(desk: FakePlatform, function: str, **arguments: Any) -> str:
    with pytest.raises(jf.UserError) as caught:
        desk.call(function, **arguments)
    assert caught.value.hint
    return caught.value.code


@contextlib.contextmanager
def slot_taken_is_fine() -> Iterator[None]:
    try:
        yield
    except jf.UserError as error:
        if error.code != "slot-taken":
            raise


# -- booking ---------------------------------------------------------------------------------------------------------


def test_an_appointment_is_made_on_the_practices_clock_and_told_of(desk: FakePlatform) -> None:
    made = book(desk, reason="Check-up")
    assert (made["starts_at"], made["ends_at"]) == (f"{TUESDAY}T09:00:00+01:00", f"{TUESDAY}T10:00:00+01:00")
    assert (made["duration_minutes"], made["status"], made["reason"]) == (60, "scheduled", "Check-up")
    assert [event.name for event in desk.emitted] == ["booking.appointment-created"]
    assert desk.call("GetAppointment", appointment_id=made["id"]) == made
    assert desk.call("ListAppointments", first_day=TUESDAY, days=1, patient_id="1") == [made]
    assert desk.call("ListAppointments", first_day=TUESDAY, days=1, patient_id="2") == []


@pytest.mark.parametrize("offset", ["", "+01:00"])
def test_a_time_may_have_an_offset(desk: FakePlatform, offset: str) -> None:
    assert book(desk, f"{TUESDAY}T09:00{offset}")["starts_at"] == f"{TUESDAY}T09:00:00+01:00"
    assert refused(
        desk, "CreateAppointment", patient_id="2", provider_id="1", operatory_id="2", starts_at=f"{TUESDAY}T08:00:00Z"
    ) == "slot-taken"  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"patient_id": "9"}, "patient-not-found"), ({"provider_id": "9"}, "provider-not-found"),
        ({"provider_id": "3"}, "provider-not-found"), ({"operatory_id": "9"}, "operatory-not-found"),
        ({"starts_at": f"{TUESDAY}T08:30"}, "outside-schedule"),
        ({"starts_at": f"{TUESDAY}T11:30"}, "outside-schedule"),
        ({"starts_at": "2026-03-04T09:00"}, "outside-schedule"), ({"starts_at": "2026-03-01T09:00"}, "in-the-past"),
        ({"starts_at": f"{TUESDAY}T09:02"}, "time-uneven"), ({"starts_at": "tomorrow at nine"}, "time-invalid"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name_and_leaves_nothing(
    desk: FakePlatform, changed: dict[str, str], code: str
) -> None:
    wanted = {"patient_id": "1", "provider_id": "1", "operatory_id": "1", "starts_at": f"{TUESDAY}T09:00", **changed}
    assert refused(desk, "CreateAppointment", **wanted) == code
    assert (desk.entities("appointments"), desk.rows("holds"), desk.emitted) == ([], [], [])


def test_the_same_day_and_consent_are_settings() -> None:
    desk = start(allow_same_day_booking=False, require_patient_consent=True)
    wanted = {"provider_id": "1", "operatory_id": "1"}
    assert (
        refused(desk, "CreateAppointment", patient_id="2", starts_at=f"{MONDAY}T09:00", **wanted)
        == "same-day-not-allowed"
    )
    assert (
        refused(desk, "CreateAppointment", patient_id="1", starts_at=f"{TUESDAY}T09:00", **wanted) == "consent-missing"
    )
    desk.call("UpdatePatient", patient_id="1", consent_given=True)
    assert book(desk)["patient_id"] == "1"
    assert all(slot["starts_at"] >= TUESDAY for slot in desk.call("FindAvailableSlots", first_day=MONDAY))


# -- no two at once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts_at", "provider", "operatory", "is_free"),
    [
        ("09:30", "1", "2", False), ("09:30", "2", "1", False), ("09:55", "1", "1", False), ("10:00", "1", "1", True),
        ("10:00", "2", "1", True),
    ],
)  # fmt: skip
def test_neither_a_provider_nor_a_room_is_booked_twice(
    starts_at: str, provider: str, operatory: str, is_free: bool
) -> None:
    desk = start(only_within_schedule=False)
    book(desk)
    wanted = {
        "patient_id": "2",
        "provider_id": provider,
        "operatory_id": operatory,
        "starts_at": f"{TUESDAY}T{starts_at}",
    }
    if is_free:
        assert desk.call("CreateAppointment", **wanted)["status"] == "scheduled"
    else:
        assert refused(desk, "CreateAppointment", **wanted) == "slot-taken"


def test_an_appointment_that_was_made_elsewhere_is_in_the_way(desk: FakePlatform) -> None:
    entities = people()
    entities["appointments"] = [
        {
            "id": "77", "patient_id": "2", "provider_id": "1", "operatory_id": "2", "duration_minutes": 30,
            "starts_at": f"{TUESDAY}T08:30:00+00:00", "status": "scheduled", "reason": "",
        }
    ]  # fmt: skip
    desk = FakePlatform(PLUGIN, config={"timezone": "Europe/Vienna"}, entities=entities, now=NOW).start()
    assert refused(
        desk, "CreateAppointment", patient_id="1", provider_id="1", operatory_id="1", starts_at=f"{TUESDAY}T09:00"
    ) == "slot-taken"  # fmt: skip
    assert desk.rows("holds") == []
    assert book(desk, f"{TUESDAY}T10:00")["id"]


def test_somebody_who_is_quicker_gets_it(desk: FakePlatform) -> None:
    """Another isolate books between this one's look and its hold."""
    other: list[dict[str, Any]] = []
    desk.before("tables.insert_many", lambda: other.append(book(desk, patient_id="2")))
    assert refused(
        desk, "CreateAppointment", patient_id="1", provider_id="1", operatory_id="1", starts_at=f"{TUESDAY}T09:00"
    ) == "slot-taken"  # fmt: skip
    assert len(other) == len(desk.entities("appointments")) == 1


def test_what_a_dead_call_held_is_free_after_a_minute(desk: FakePlatform) -> None:
    desk.fail("data.create")
    desk.fail("tables.delete_many")
    with pytest.raises(jf.PluginError):
        book(desk)
    assert desk.rows("holds")
    assert refused(
        desk, "CreateAppointment", patient_id="1", provider_id="1", operatory_id="1", starts_at=f"{TUESDAY}T09:00"
    ) == "slot-taken"  # fmt: skip
    desk.now = NOW + timedelta(seconds=61)
    assert book(desk)["status"] == "scheduled"


# -- moving and ending -----------------------------------------------------------------------------------------------


def test_it_moves_and_leaves_its_old_time_free(desk: FakePlatform) -> None:
    first = book(desk)
    moved = desk.call("RescheduleAppointment", appointment_id=first["id"], starts_at=f"{TUESDAY}T09:30")
    assert moved["starts_at"] == f"{TUESDAY}T09:30:00+01:00"
    assert book(desk, f"{TUESDAY}T09:00", patient_id="2", duration_minutes=30)["id"] != first["id"]
    assert desk.emitted[1].name == "booking.appointment-rescheduled"


def test_a_move_to_a_time_that_is_taken_changes_nothing(desk: FakePlatform) -> None:
    first, second = book(desk), book(desk, f"{TUESDAY}T10:00", patient_id="2")
    assert refused(
        desk, "RescheduleAppointment", appointment_id=first["id"], starts_at=f"{TUESDAY}T09:30"
    ) == "slot-taken"  # fmt: skip
    assert desk.call("GetAppointment", appointment_id=first["id"]) == first
    for start_at in ("09:00", "10:00"):
        assert refused(
            desk, "CreateAppointment", patient_id="1", provider_id="1", operatory_id="1",
            starts_at=f"{TUESDAY}T{start_at}",
        ) == "slot-taken"  # fmt: skip
    assert second["status"] == "scheduled"


@pytest.mark.parametrize("function", ["CancelAppointment", "BreakAppointment"])
def test_what_is_called_off_frees_its_time_and_stays_so(desk: FakePlatform, function: str) -> None:
    made = book(desk)
    for _ in range(2):
        ended = desk.call(function, appointment_id=made["id"])
    assert ended["status"] in ("cancelled", "broken")
    assert len(desk.emitted) == 2
    assert refused(
        desk, "RescheduleAppointment", appointment_id=made["id"], starts_at=f"{TUESDAY}T10:00"
    ) == "appointment-closed"  # fmt: skip
    assert book(desk, patient_id="2")["starts_at"] == made["starts_at"]


# -- free times ------------------------------------------------------------------------------------------------------


def test_free_times_are_within_schedules_and_between_appointments(desk: FakePlatform) -> None:
    book(desk, f"{TUESDAY}T10:00")
    slots = desk.call("FindAvailableSlots", first_day=TUESDAY, days=1, duration_minutes=60)
    times = [(slot["starts_at"][11:16], slot["provider_id"]) for slot in slots]
    assert times == [("09:00", "1"), ("10:00", "2"), ("11:00", "1")]
    assert slots[1]["operatory_id"] == "2"
    for slot in slots:
        desk.call("CreateAppointment", patient_id="2", duration_minutes=60, **{
            name: slot[name] for name in ("starts_at", "provider_id", "operatory_id")
        })  # fmt: skip
    assert desk.call("FindAvailableSlots", first_day=TUESDAY, days=1, duration_minutes=60) == []


def test_times_that_have_passed_are_not_free(desk: FakePlatform) -> None:
    desk.now = NOW + timedelta(hours=2, minutes=20)  # 10:20 in Vienna
    slots = desk.call("FindAvailableSlots", first_day=MONDAY, days=1, duration_minutes=30)
    assert [slot["starts_at"][11:16] for slot in slots] == ["10:30", "10:45", "11:00", "11:15", "11:30"]


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 35), st.sampled_from(["1", "2"]), st.sampled_from(["1", "2"]), st.integers(1, 12)),
        max_size=12,
    )
)
def test_whatever_is_asked_for_no_two_appointments_share_anything(wishes: list[tuple[int, str, str, int]]) -> None:
    desk = start(only_within_schedule=False)
    for unit, provider, room, units in wishes:
        minute = 9 * 60 + unit * 5
        with slot_taken_is_fine():
            book(
                desk, f"{TUESDAY}T{minute // 60:02}:{minute % 60:02}", provider_id=provider, operatory_id=room,
                duration_minutes=units * 5,
            )  # fmt: skip
    made = desk.call("ListAppointments", first_day=TUESDAY, days=1)
    for one in made:
        for other in made:
            if one["id"] < other["id"]:
                shares = one["provider_id"] == other["provider_id"] or one["operatory_id"] == other["operatory_id"]
                assert not (shares and one["starts_at"] < other["ends_at"] and other["starts_at"] < one["ends_at"])


# -- patients, providers ---------------------------------------------------------------------------------------------


def test_patients_are_found_added_and_changed(desk: FakePlatform) -> None:
    assert [p["id"] for p in desk.call("GetAllPatients")["patients"]] == ["1", "2"]
    assert [p["id"] for p in desk.call("SearchPatients", query="ada love")] == ["1"]
    assert desk.call("SearchPatients", query="100%") == []
    made = desk.call("CreatePatient", first_name="Grace", last_name="Hopper", birthdate="1906-12-09")
    assert desk.call("GetPatient", patient_id=made["id"]) == made
    changed = desk.call("UpdatePatient", patient_id=made["id"], phone="1234")
    assert (changed["phone"], changed["birthdate"]) == ("1234", "1906-12-09")
    assert refused(desk, "UpdatePatient", patient_id=made["id"]) == "nothing-to-change"
    assert refused(desk, "GetPatient", patient_id="99") == "patient-not-found"


def test_providers_rooms_and_schedules_are_listed(desk: FakePlatform) -> None:
    assert [provider["name"] for provider in desk.call("ListProviders")] == ["Dr. Who", "Dr. No"]
    assert [room["id"] for room in desk.call("ListOperatories")] == ["1", "2"]
    shifts = desk.call("ListSchedules", first_day=TUESDAY, days=1, provider_id="2")
    assert [(shift["start_time"], shift["end_time"]) for shift in shifts] == [("10:00", "11:00")]


def test_a_time_zone_that_does_not_exist_is_refused_when_it_is_set(desk: FakePlatform) -> None:
    with pytest.raises(jf.UserError) as caught:
        desk.configure(timezone="Europe/Nowhere")
    assert caught.value.code == "timezone-unknown"
