"""What the endpoints read and write."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "BreakerOut",
    "ConfigChange",
    "ConfigTestOut",
    "ConflictOut",
    "DataMoveOut",
    "DevelopmentOut",
    "EntityPermissionOut",
    "GrantIn",
    "GrantsChange",
    "HealthNoteOut",
    "HistoryOut",
    "InstallRequest",
    "InstallationDetailOut",
    "InstallationOut",
    "InventoryOut",
    "KindOut",
    "MigrationOut",
    "PastReleaseOut",
    "PendingUpdateOut",
    "PermissionOut",
    "PermissionUsesOut",
    "PermissionsOut",
    "PlanOut",
    "PlanRequest",
    "PlannedOut",
    "ReasonOut",
    "RemovedOut",
    "RollbackOut",
    "RollbackRequest",
    "TableOut",
    "TablesOut",
    "UpdateRequest",
    "UserUsesOut",
]

Slug = Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=64, examples=["loyalty-points"])
_INSTANCE = Field(
    default="default", pattern=r"^[a-z][a-z0-9-]{0,39}$", description="Tells several installations of one plugin apart"
)
_VERSION = Field(
    default=None, max_length=64, description="The newest release that fits, when absent", examples=["1.2.0"]
)
_GRANTS = 200


class GrantIn(BaseModel):
    """A grant that is narrowed to some rows of its entity."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"permission": "customers:read", "where": [["city", "eq", "Berlin"]]}]},
    )

    permission: str = Field(max_length=200)
    where: list[Any] | None = Field(
        default=None,
        max_length=64,
        description="Conditions that all hold for the rows that it gives; an empty list gives all rows; left out, it "
        "stays narrowed as it is. Values may be `$user.id`, `$user.role` (of the acting user) and `$tenant.id`",
    )


_Grant = Annotated[str, Field(max_length=200)] | GrantIn


class PlanRequest(BaseModel):
    """What is thought of."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"slug": "loyalty-points"}]})

    slug: str = Slug
    version: str | None = _VERSION
    instance: str = _INSTANCE
    action: Literal["install", "update", "rollback", "uninstall"] = "install"
    data: Literal["auto", "transform", "restore"] = Field(
        default="auto", description="Of a rollback: what is to become of the data, as in POST /{slug}/rollback"
    )


class InstallRequest(BaseModel):
    """What is to be installed, and what the tenant agrees to."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "slug": "loyalty-points",
                    "grants": ["customers:read", "customers:write"],
                    "config": {"points_per_dollar": 2.0},
                }
            ]
        },
    )

    slug: str = Slug
    version: str | None = _VERSION
    instance: str = _INSTANCE
    grants: list[_Grant] = Field(
        default=[],
        max_length=_GRANTS,
        description="Every required permission of the plan, and whichever optional ones the tenant gives",
    )
    grants_for: dict[str, list[_Grant]] = Field(
        default={}, max_length=_GRANTS, description="The same for plugins that come along: slug → permissions"
    )
    config: dict[str, Any] | None = Field(
        default=None, description="By the schema in the plan, secrets included. Left out: defaults"
    )


class UpdateRequest(BaseModel):
    """Which release, and what the tenant agrees to beyond what it has agreed to."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"version": "1.3.0", "grants": ["http:api.stripe.com"]}]},
    )

    version: str | None = Field(
        default=None, max_length=64, description="The newest release, when absent", examples=["1.3.0"]
    )
    grants: list[_Grant] = Field(
        default=[],
        max_length=_GRANTS,
        description="Permissions to give in addition to those that it has; see `missing_grants` of the plan",
    )
    config: dict[str, Any] | None = Field(
        default=None, description="Left out: the configuration stays, without the fields that the new release lacks"
    )


class ConfigChange(BaseModel):
    """A configuration, whole: fields that are left out take their defaults. Secrets are the exception."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"config": {"points_per_dollar": 2.0, "api_key": "…"}}]}
    )

    config: dict[str, Any] = Field(description="A secret that is left out stays as it is; null removes it")


class GrantsChange(BaseModel):
    """The grants, whole."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"grants": ["customers:read", "storage", "log"]}]}
    )

    grants: list[_Grant] = Field(
        max_length=_GRANTS,
        description="What is left out is withdrawn, the plugin's own things (`storage`, `log`, …) too. Start from "
        "`grants` of the plugin's details",
    )


class PermissionOut(BaseModel):
    """A permission in plain words."""

    permission: str = Field(examples=["customers:read"])
    text: str = Field(examples=["Read customers"])
    risk: Literal["low", "medium", "high"]
    reason: str | None = Field(default=None, description="The publisher's: why the plugin wants it")
    kind: Literal["required", "optional", "implied"] = Field(
        description="`implied`: the plugin's own things, granted by installing it"
    )
    is_granted: bool | None = Field(default=None, description="Null while it is not installed")
    where: list[Any] = Field(
        default=[], description="Conditions of the rows that the publisher asks for; empty: all rows, or it has none"
    )
    granted_where: list[Any] = Field(
        default=[], description="Conditions by which the tenant narrowed the grant, besides"
    )


class UserUsesOut(BaseModel):
    """What one user's calls made of a permission."""

    user_id: str
    uses: int
    last_used_at: datetime


class PermissionUsesOut(PermissionOut):
    """A permission, and what was made of it."""

    uses: int = Field(description="Capability calls that it let through since the plugin was installed")
    last_used_at: datetime | None
    users: list[UserUsesOut] = Field(
        description="On whose behalf, the most frequent first, at most ten; for owners and admins"
    )


class KindOut(BaseModel):
    """A kind of permission that is about no entity."""

    form: str = Field(examples=["http:HOST"], description="What is in capitals is to be filled in")
    text: str = Field(examples=["exchange data with HOST"])
    risk: Literal["low", "medium", "high"]


class EntityPermissionOut(BaseModel):
    """A permission for one of the host's entities."""

    permission: str = Field(examples=["customers:read"])
    text: str
    risk: Literal["low", "medium", "high"]
    fields: list[str] = Field(description="What plugins may see, or set")
    held: bool = Field(description="The caller's own role has it: with all rows when `held_where` is empty")
    held_where: list[Any] = Field(description="Conditions of the rows that it has")


class PermissionsOut(BaseModel):
    """All there is to be asked for."""

    entities: list[EntityPermissionOut]
    kinds: list[KindOut]


class PendingUpdateOut(BaseModel):
    """An update that waits for consent. It is continued once what is missing is granted."""

    version: str
    missing: list[PermissionOut] = Field(description="What has to be granted yet")
    granted: list[str] = Field(description="What was granted for it already")
    asked_by: str | None
    since: datetime
    failed: ReasonOut | None = Field(default=None, description="Why it was not done, though everything was granted")


class ConflictOut(BaseModel):
    """Why something cannot be done now."""

    code: str = Field(examples=["already-installed"])
    message: str
    hint: str
    data: dict[str, Any] = {}


class PlannedOut(BaseModel):
    """One plugin of a plan."""

    slug: str
    version: str
    name: str
    summary: str
    because: str = Field(description="Why it is part of the plan")
    takes_up_data: bool = Field(description="Data of an earlier installation was kept, and will be there again")
    permissions: list[PermissionOut]
    contributes: dict[str, list[dict[str, Any]]]


class MigrationOut(BaseModel):
    """A change of the data between two releases."""

    name: str
    to_version: str
    is_reversible: bool = Field(description="It has a way back of its own, by which what is written later is kept")


class DataMoveOut(BaseModel):
    """What becomes of an installation's rows and storage when the release changes."""

    text: str = Field(examples=["3 migrations, reversible, 1204 rows"])
    way: Literal["keep", "migrate", "transform", "restore"] = Field(
        description="`keep`: nothing is changed. `migrate`: a copy goes through the migrations and takes the data's "
        "place, which is kept for going back. `transform`: migrations are undone. `restore`: the data of then is put "
        "back, and what there is now goes to an export"
    )
    migrations: list[MigrationOut] = Field(description="In the order in which they run, or are undone")
    is_reversible: bool = Field(description="Of an update: going back later keeps what is written until then")
    can_restore: bool = Field(description="Of a rollback: the data of then was kept")
    rows: int
    storage_keys: int
    size_bytes: int


class PlanOut(BaseModel):
    """What would happen. Nothing has."""

    action: Literal["install", "update", "rollback", "uninstall"]
    slug: str
    version: str
    instance: str
    name: str
    summary: str
    publisher_id: str
    digest: str = Field(description="SHA-256 of the package")
    is_possible: bool = Field(description="There are no conflicts")
    conflicts: list[ConflictOut]
    permissions: list[PermissionOut]
    contributes: dict[str, list[dict[str, Any]]]
    dependencies: list[PlannedOut] = Field(
        description="Plugins that come along, in the order in which they are installed"
    )
    config_schema: dict[str, Any] | None = Field(
        description="JSON Schema of the configuration; null when there is none"
    )
    secrets: list[str] = Field(description="Configuration fields that are kept encrypted and never come back")
    missing_config: list[str] = Field(description="Fields that need a value before it can be activated")
    owned: dict[str, int] = Field(default={}, description="Of an uninstallation: what it owns")
    installed_version: str | None = Field(
        default=None, description="Of an update or rollback: the release that is replaced"
    )
    data: DataMoveOut | None = Field(default=None, description="Of an update or rollback: what becomes of the data")
    missing_grants: list[str] = Field(default=[], description="Of an update: what has to be granted for it")


class ReasonOut(BaseModel):
    """Why an installation is in its state."""

    code: str = Field(examples=["needs-configuration"])
    message: str


class HealthNoteOut(BaseModel):
    """What was last heard of a plugin's own health check."""

    status: Literal["ok", "failing"]
    message: str
    since: datetime = Field(description="When it came to be so")
    checked_at: datetime
    consecutive_failures: int


class BreakerOut(BaseModel):
    """A handler that is left alone, because it failed too often."""

    model_config = ConfigDict(from_attributes=True)

    handler: str
    state: Literal["open", "half-open"] = Field(description="`half-open`: one call is let through to see how it is now")
    opened_at: datetime
    until: datetime = Field(description="When a call is let through")
    retry_after_s: float = Field(description="Until then")
    failures: int = Field(description="Within the minutes in which it came to be left alone")
    code: str = Field(description="Of the last failure", examples=["plugin-error"])
    message: str


class InstallationOut(BaseModel):
    """An installed plugin."""

    id: str
    slug: str = Field(examples=["loyalty-points"])
    instance: str
    version: str = Field(examples=["1.0.0"])
    name: str
    summary: str
    category: str
    state: str = Field(examples=["active"])
    meaning: str = Field(description="What the state means")
    reason: ReasonOut | None = Field(default=None, description="Why it is in that state, when nobody asked for it")
    needs_configuration: bool
    health: HealthNoteOut | None = Field(
        default=None, description="Its last health check; null when it has none, or was never checked"
    )
    breakers: list[BreakerOut] = Field(default=[], description="Handlers that are left alone")
    pending_update: PendingUpdateOut | None = Field(default=None, description="An update that waits for consent")
    installed_at: datetime
    updated_at: datetime
    activated_at: datetime | None


class InstallationDetailOut(InstallationOut):
    """An installed plugin with all that a tenant may see of it."""

    grants: list[str]
    grant_filters: dict[str, list[Any]] = Field(description="Grant → conditions of the rows that it is narrowed to")
    permissions: list[PermissionOut]
    missing_grants: list[str] = Field(description="Required permissions that were withdrawn")
    config: dict[str, Any] = Field(description="Without secrets, defaults filled in")
    config_schema: dict[str, Any] | None
    secrets: dict[str, dict[Literal["stored"], bool]] = Field(
        description="Secret field → whether it has a value", examples=[{"api_key": {"stored": True}}]
    )
    missing_config: list[str]
    contributes: dict[str, list[dict[str, Any]]]
    has_health_check: bool
    has_config_check: bool


class ConfigTestOut(BaseModel):
    """What came of trying a configuration; nothing was saved."""

    ok: bool
    checked: bool = Field(description="The plugin has a check of its own, and it ran to its end")
    code: str | None = None
    message: str | None = None
    hint: str = ""


class RemovedOut(BaseModel):
    """What was removed."""

    slug: str
    instance: str
    version: str
    data: Literal["keep", "export", "delete"]
    owned: dict[str, int] = Field(description="What it owned")
    export_id: str | None = Field(default=None, description="For GET /api/plugins/exports/{id}")


class DevelopmentOut(BaseModel):
    """A release that only this tenant can have."""

    slug: str
    version: str = Field(examples=["1.3.0-dev.4.t01c6e2a9b7f3"])
    digest: str = Field(description="SHA-256 of the package")
    size: int = Field(description="In bytes")


class InventoryOut(BaseModel):
    """What an installation owns, by kind."""

    owned: dict[str, int] = Field(
        description="What it keeps, counted; gone with it, unless it is kept or exported",
        examples=[{"storage_keys": 3, "table_rows": 120, "secrets": 1}],
    )
    contributes: dict[str, list[str]] = Field(
        description="What it adds to the tenant as long as it is active, by kind",
        examples=[{"events": ["sale.created"], "functions": ["balance"], "tables": ["ledger"]}],
    )
    dependants: list[str] = Field(description="Installed plugins that need it", examples=[["receipts"]])


class RollbackRequest(BaseModel):
    """Where to go back to, and what is to become of the data."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"to": "1.2.0"}]})

    to: str | None = Field(
        default=None, max_length=64, description="The release before the present one, when absent", examples=["1.2.0"]
    )
    data: Literal["auto", "transform", "restore"] = Field(
        default="auto",
        description="`transform` undoes the migrations, so that what was written since is kept. `restore` puts the "
        "data back as it was, and what was written since goes to an export. `auto` transforms where every migration "
        "can be undone, and restores otherwise, or when undoing one fails",
    )
    grants: list[_Grant] = Field(
        default=[],
        max_length=_GRANTS,
        description="Permissions to give in addition to those that it had. What was withdrawn since stays withdrawn",
    )


class PastReleaseOut(BaseModel):
    """A release that was there before."""

    version: str
    next_version: str = Field(description="What came after it")
    ended_by: Literal["update", "rollback"]
    ended_at: datetime
    actor: str | None = Field(description="Who replaced it, as in the audit trail")
    note: str = Field(description="What became of the data then")
    migrations: list[str] = Field(description="Names of the migrations that led to the next one")
    can_return: bool = Field(description="It can be gone back to")
    has_data: bool = Field(description="The data of then is kept, and can be restored")
    rows: int = Field(description="Of what is kept")
    storage_keys: int
    size_bytes: int


class HistoryOut(BaseModel):
    """The releases of an installation, the latest first."""

    version: str = Field(description="What is installed now")
    releases: list[PastReleaseOut]


class RollbackOut(BaseModel):
    """What going back did."""

    from_version: str
    version: str
    data: Literal["kept", "transformed", "restored"]
    export_id: str | None = Field(description="For GET /api/plugins/exports/{id}: what there was before")
    problems: list[str] = Field(description="Why it was restored and not transformed, in the plugin's words")
    plugin: InstallationDetailOut


class TableOut(BaseModel):
    """A table of an installed plugin."""

    name: str
    columns: dict[str, dict[str, Any]] = Field(description="Column → JSON Schema; every row has an `id` besides")
    required: list[str]
    indexes: list[list[str]]
    unique: list[list[str]]
    references: dict[str, str] = Field(description="Column → table whose `id` it holds")
    rows: int
    size_bytes: int = Field(description="As counted against the plugin's space")


class TablesOut(BaseModel):
    """The tables of an installed plugin."""

    tables: list[TableOut]
