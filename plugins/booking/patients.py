"""Patients, wherever they are kept."""

from __future__ import annotations

import re
from typing import Any

import jackfield_sdk as jf

Row = dict[str, Any]
_SEARCHED = ("first_name", "last_name", "email", "phone")


class Patient(jf.Struct, frozen=True, kw_only=True):
    """A patient."""

    id: str
    first_name: str
    last_name: str
    birthdate: str | None = None
    phone: str | None = None
    email: str | None = None
    consent_given: bool = False


class PatientPage(jf.Struct, frozen=True, kw_only=True):
    """Some patients; `cursor` leads to the next ones."""

    patients: list[Patient]
    cursor: str | None = None


def patient_of(row: Row) -> Patient:
    """A row as a patient."""
    return Patient(
        id=str(row["id"]), first_name=row["first_name"] or "", last_name=row["last_name"] or "",
        birthdate=row.get("birthdate"), phone=row.get("phone"), email=row.get("email"),
        consent_given=bool(row.get("consent_given")),
    )  # fmt: skip


def existing(ctx: jf.Context, patient_id: str) -> Patient:
    """A patient.

    Raises:
        UserError: `patient-not-found`.
    """
    return found(ctx, patient_id)[1]


def found(ctx: jf.Context, patient_id: str) -> tuple[Any, Patient]:
    """A patient, and the key as their system has it: a number or a text.

    Raises:
        UserError: `patient-not-found`.
    """
    row = ctx.data["patients"].get(patient_id)
    if row is None:
        raise jf.UserError(
            f"there is no patient {patient_id}", code="patient-not-found", hint="Look with `SearchPatients`."
        )
    return row["id"], patient_of(row)


def search(ctx: jf.Context, words: str, limit: int) -> list[Patient]:
    """Patients in whose name, address or number each of the words occurs."""
    nodes = [{"or": [[field, "like", f"%{_escaped(word)}%"] for field in _SEARCHED]} for word in words.split()[:8]]
    if not nodes:
        raise jf.UserError("there is nothing to search for", code="search-empty", hint="Give a name or a number.")
    return [patient_of(row) for row in ctx.data["patients"].list(nodes, order=["last_name"], limit=limit)]


def _escaped(word: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", word)
