"""What the endpoints read and write."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "ConfigChange",
    "ConfigTestOut",
    "ConflictOut",
    "DevelopmentOut",
    "GrantsChange",
    "HealthNoteOut",
    "InstallRequest",
    "InstallationDetailOut",
    "InstallationOut",
    "InventoryOut",
    "PermissionOut",
    "PlanOut",
    "PlanRequest",
    "PlannedOut",
    "ReasonOut",
    "RemovedOut",
    "UpdateRequest",
]

Slug = Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=64, examples=["loyalty-points"])
_INSTANCE = Field(
    default="default", pattern=r"^[a-z][a-z0-9-]{0,39}$", description="Tells several installations of one plugin apart"
)
_VERSION = Field(
    default=None, max_length=64, description="The newest release that fits, when absent", examples=["1.2.0"]
)
_GRANTS = 200


class PlanRequest(BaseModel):
    """What is thought of."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"slug": "loyalty-points"}]})

    slug: str = Slug
    version: str | None = _VERSION
    instance: str = _INSTANCE
    action: Literal["install", "update", "uninstall"] = "install"


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
    grants: list[str] = Field(
        default=[],
        max_length=_GRANTS,
        description="Every required permission of the plan, and whichever optional ones the tenant gives",
    )
    grants_for: dict[str, list[str]] = Field(
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
    grants: list[str] = Field(
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

    grants: list[str] = Field(
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


class PlanOut(BaseModel):
    """What would happen. Nothing has."""

    action: Literal["install", "update", "uninstall"]
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
    installed_version: str | None = Field(default=None, description="Of an update: the release that is replaced")
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
    installed_at: datetime
    updated_at: datetime
    activated_at: datetime | None


class InstallationDetailOut(InstallationOut):
    """An installed plugin with all that a tenant may see of it."""

    grants: list[str]
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

    owned: dict[str, int] = Field(examples=[{"storage_keys": 3, "table_rows": 120, "secrets": 1}])
