"""What the endpoints read and write. Secret values come in and never go out."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jackfield.connections.reports import Report
from jackfield.connections.service import Seen

__all__ = [
    "AuthorizationOut",
    "ConfirmRequest",
    "ConnectionChange",
    "ConnectionOut",
    "ConnectionsOut",
    "ReportOut",
    "report_out",
    "seen_out",
]


class ConnectionChange(BaseModel):
    """How something is connected. A secret value that is left out stays, as long as it goes to the same servers."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "adapter": "postgrest",
                    "settings": {
                        "base_url": "https://abc.supabase.co/rest/v1",
                        "tenant": {"column": "org_id", "value": "12"},
                        "entities": {"customers": {"fields": {"id": {"type": "integer"}, "name": {"writable": True}}}},
                    },
                    "credentials": {"kind": "api-key", "name": "apikey", "as_bearer": True, "value": "…"},
                },
                {"credentials": {"kind": "oauth2-authorization-code", "client_id": "…", "client_secret": "…"}},
            ]
        },
    )

    adapter: Literal["postgrest", "rest", "graphql"] | None = Field(default=None, description="Of `data`")
    settings: dict[str, Any] | None = Field(default=None, description="The adapter's: address, mapping, tenant")
    credentials: dict[str, Any] | None = Field(default=None, description="`kind`, and what belongs to it")

    def given(self) -> dict[str, Any]:
        """What is in it."""
        return self.model_dump(exclude_none=True)


class FindingOut(BaseModel):
    """What came of trying one entity."""

    entity: str | None = Field(description="Null: the credentials alone were tried")
    ok: bool
    step: str | None = Field(
        description="How far it came: settings, dns, connection, tls, time, status, credentials, …"
    )
    code: str | None
    message: str
    hint: str
    detail: str = Field(description="What the other side said about it")


class ReportOut(BaseModel):
    """What came of trying a connection."""

    ok: bool
    findings: list[FindingOut]


class ConnectionOut(BaseModel):
    """A connection that there is, or could be."""

    name: str = Field(examples=["data"])
    state: Literal["missing", "unauthorized", "ready", "broken"] = Field(
        description="`unauthorized`: the account's owner has to agree first; `broken`: reconnect it"
    )
    reason: str | None = Field(default=None, description="Why it is broken")
    title: str = ""
    why: str = Field(default="", description="The publisher's: what it is needed for")
    kind: str | None = Field(
        default=None, description="Of credentials; of a declared one that is missing: which it takes"
    )
    hosts: list[str] = Field(default=[], description="Of a declared one: where its credentials may go")
    adapter: str | None = None
    settings: dict[str, Any] | None = None
    credentials: dict[str, Any] | None = Field(default=None, description="Without secret values")
    secrets: dict[str, dict[Literal["stored"], bool]] = {}
    connected_at: datetime | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None
    tested_at: datetime | None = None
    report: ReportOut | None = Field(default=None, description="Of the trial before it was saved")


class ConnectionsOut(BaseModel):
    """All of a plugin's."""

    items: list[ConnectionOut]


class AuthorizationOut(BaseModel):
    """Where the account's owner agrees."""

    url: str
    expires_in_s: int


class ConfirmRequest(BaseModel):
    """What the page showed that a browser without a session ended at."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"code": "BDFG-2345"}]})

    code: str = Field(min_length=1, max_length=40)


def report_out(report: Report) -> ReportOut:
    """A report as answers have it."""
    return ReportOut.model_validate(report.plain())


def seen_out(seen: Seen) -> ConnectionOut:
    """A connection as answers have it."""
    declared, credentials = seen.declared, dict(seen.credentials) if seen.credentials else None
    kind = credentials["kind"] if credentials else declared.kind if declared else None
    return ConnectionOut(
        name=seen.name, state=seen.state, reason=seen.reason, kind=kind,  # type: ignore[arg-type]  # one of these words
        title=declared.title if declared else "", why=declared.reason if declared else "",
        hosts=list(declared.hosts) if declared else [], adapter=seen.adapter,
        settings=dict(seen.settings) if seen.settings is not None else None, credentials=credentials,
        secrets={field: {"stored": stored} for field, stored in (seen.secrets or {}).items()},
        connected_at=seen.connected_at, changed_at=seen.changed_at, changed_by=seen.changed_by,
        tested_at=seen.tested_at, report=report_out(seen.report) if seen.report else None,
    )  # fmt: skip
