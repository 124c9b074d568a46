"""Trying a connection: one row of each entity is read, and each failure says how far the request came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jackfield.connections.errors import ConnectionBrokenError, ConnectionNotReadyError, TokenEndpointError
from jackfield.data_adapters import Query
from jackfield.data_adapters.remote import RemoteAdapter
from jackfield.errors import JackfieldError

__all__ = ["Finding", "Report", "probe"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of trying one entity, or the credentials.

    Attributes:
        entity: None for the credentials of a connection without entities.
        step: Where it failed: settings, dns, connection, tls, time, status, credentials, json, shape, columns.
        detail: What the other side said about it.
    """

    entity: str | None
    is_ok: bool
    step: str | None = None
    code: str | None = None
    message: str = ""
    hint: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All of them."""

    findings: tuple[Finding, ...]

    @property
    def is_ok(self) -> bool:
        """Nothing failed."""
        return all(finding.is_ok for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """As answers have it."""
        return {
            "ok": self.is_ok,
            "findings": [
                {
                    "entity": one.entity, "ok": one.is_ok, "step": one.step, "code": one.code, "message": one.message,
                    "hint": one.hint, "detail": one.detail,
                }
                for one in self.findings
            ],
        }  # fmt: skip


async def probe(adapter: RemoteAdapter, tenant_id: str, secrets: tuple[str, ...] = ()) -> Report:
    """Read one row of each entity.

    Args:
        secrets: Values that are taken out of what the other side said.
    """
    findings: list[Finding] = []
    for entity in adapter.entities():
        try:
            await adapter.list(tenant_id, entity, Query(limit=1))
        except JackfieldError as error:
            findings.append(finding_of(entity, error, secrets))
            if findings[-1].step in ("settings", "dns", "connection", "tls", "time", "credentials"):
                # It is the same for the others, and a wrong password sent ten times can lock an account.
                break
        else:
            findings.append(Finding(entity, is_ok=True))
    return Report(tuple(findings))


def finding_of(entity: str | None, error: JackfieldError, secrets: tuple[str, ...] = ()) -> Finding:
    """A failure as a finding."""
    step: Any = getattr(error, "step", None)
    if step is None:
        is_about_us = isinstance(error, (TokenEndpointError, ConnectionBrokenError, ConnectionNotReadyError))
        step = "credentials" if is_about_us else "settings"
    detail: Any = getattr(error, "detail", "")
    for secret in secrets:
        if secret:
            detail = detail.replace(secret, "…")
    printable = "".join(char if char.isprintable() else " " for char in detail)
    return Finding(entity, False, step, error.code, str(error), error.hint, printable)
