"""What the endpoints read and write."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from jackfield.settings import CeilingSettings, LimitSettings, PlanSettings, QuotaSettings

__all__ = [
    "LimitOverride",
    "LimitsOut",
    "PlanChoice",
    "PlanOut",
    "PluginUsageOut",
    "QuotaOverride",
    "QuotaUsageOut",
    "TenantQuotasOut",
    "UsageOut",
]


class QuotaUsageOut(BaseModel):
    """One quota."""

    model_config = ConfigDict(from_attributes=True)

    quota: str = Field(examples=["calls_per_minute"])
    limit: int | None = Field(description="Null: no limit", examples=[6000])
    used: int = Field(description="Of all nodes; rates within the last minute", examples=[4980])
    left: int | None = Field(examples=[1020])
    refills_at: datetime | None = Field(
        description="When all of it is there again if nothing more is used; null when nothing is used, and for what is "
        "kept rather than used"
    )
    is_warning: bool = Field(description="Nearly used up, or more")


class PluginUsageOut(BaseModel):
    """One installed plugin."""

    model_config = ConfigDict(from_attributes=True)

    plugin: str = Field(examples=["loyalty-points"])
    installation_id: str
    quotas: list[QuotaUsageOut]


class UsageOut(BaseModel):
    """What a tenant has used of what its plan allows."""

    model_config = ConfigDict(from_attributes=True)

    tenant_id: str
    plan: str = Field(examples=["free"])
    at: datetime
    quotas: list[QuotaUsageOut] = Field(description="Of all plugins together")
    plugins: list[PluginUsageOut]
    warnings: list[str] = Field(
        description="A sentence for each quota that is nearly used up",
        examples=[["calls per minute of the tenant: 4980 of 6000 are used"]],
    )


class PlanOut(PlanSettings):
    """A plan."""

    name: str = Field(examples=["free"])


class PlanChoice(BaseModel):
    """A tenant's plan."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"plan": "pro"}]})

    plan: str = Field(min_length=1, max_length=64)


class QuotaOverride(BaseModel):
    """What one tenant may use beside its plan. What is left out is as the plan says; null is no limit."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"tenant": {"calls_per_minute": 20_000}, "plugins": 40}]},
    )

    tenant: QuotaSettings = QuotaSettings()
    plugin: QuotaSettings = QuotaSettings()
    plugins: int | None = Field(default=None, ge=0)

    def given(self) -> dict[str, Any]:
        """What was said, and nothing else."""
        return {name: part for name, part in self.model_dump(exclude_unset=True).items() if part != {}}


class TenantQuotasOut(BaseModel):
    """What a tenant may use."""

    tenant_id: str
    plan: str
    override: dict[str, Any] = Field(description="What an operator set for this tenant alone")
    tenant: QuotaSettings = Field(description="In force: all its plugins together")
    plugin: QuotaSettings = Field(description="In force: each of its plugins")
    plugins: int | None = Field(description="In force: how many plugins it may install; null: no limit")


class LimitOverride(BaseModel):
    """Limits of each call. What is left out is as it was made: the platform's default, lowered by the manifest."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"memory_mb": 256, "cpu_ms": 20_000}]})

    memory_mb: int | None = Field(default=None, ge=16)
    cpu_ms: int | None = Field(default=None, ge=10)
    wall_ms: int | None = Field(default=None, ge=10)
    host_calls: int | None = Field(default=None, ge=0)
    result_bytes: int | None = Field(default=None, ge=1024)
    host_call_bytes: int | None = Field(default=None, ge=1024)
    output_bytes: int | None = Field(default=None, ge=1024)
    concurrency: int | None = Field(default=None, ge=1)
    payload_depth: int | None = Field(default=None, ge=4)

    def given(self) -> dict[str, int]:
        """What was said."""
        return self.model_dump(exclude_none=True)


class LimitsOut(BaseModel):
    """Limits of calls."""

    defaults: LimitSettings
    ceilings: CeilingSettings = Field(description="How far a limit can be raised")
    plugins: dict[str, dict[str, int]] = Field(description="Slug → what an operator set for the plugin in all tenants")
    installations: dict[str, dict[str, int]] = Field(
        description="Installation → what an operator set for it; weightier than what is set for its plugin"
    )
