"""An installation as tenants see it: its row, its release, and what follows from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from jackfield.capabilities.row_filters import RowFilter
from jackfield.lifecycle.configuration import effective, missing_fields
from jackfield.lifecycle.consent import missing_grants
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.pending import Pending, pending_of
from jackfield.lifecycle.states import MEANINGS, State
from jackfield.registry import Release
from jackfield_sdk.manifest import Manifest

__all__ = ["ConfigTest", "Installed", "Removed", "RolledBack", "view"]


@dataclass(frozen=True, slots=True)
class Installed:
    """One installation.

    Attributes:
        reason: Code and message of why it is in its state, when nobody asked for it.
        config: As the plugin sees it: defaults filled in, secrets left out.
        secrets: Secret field → whether a value is stored. The values never come back.
        missing_config: Required fields without a value; as long as there are any, it cannot be activated.
        missing_grants: Required permissions that were withdrawn; likewise.
        grant_filters: Grant → the rows that the tenant narrowed it to.
        pending: An update that waits for consent.
    """

    id: str
    tenant_id: str
    slug: str
    instance: str
    version: str
    state: State
    reason: tuple[str, str] | None
    grants: tuple[str, ...]
    config: Mapping[str, Any]
    secrets: Mapping[str, bool]
    missing_config: tuple[str, ...]
    missing_grants: tuple[str, ...]
    revision: int
    manifest: Manifest
    installed_at: datetime
    updated_at: datetime
    activated_at: datetime | None
    grant_filters: Mapping[str, RowFilter]
    pending: Pending | None

    @property
    def meaning(self) -> str:
        """What its state means."""
        return MEANINGS[self.state]


def view(row: InstallationRow, release: Release, stored: list[str]) -> Installed:
    """Put one together. `stored` names the secrets that have a value."""
    manifest = release.manifest
    return Installed(
        id=row.id,
        tenant_id=row.tenant_id,
        slug=row.slug,
        instance=row.instance,
        version=row.version,
        state=State(row.state),
        reason=None if row.reason_code is None else (row.reason_code, row.reason_message or ""),
        grants=tuple(row.grants),
        config=effective(manifest, row.config),
        secrets={name: name in stored for name in (manifest.config.secrets if manifest.config else ())},
        missing_config=missing_fields(manifest, row.config, stored),
        missing_grants=tuple(missing_grants(manifest, row.grants)),
        revision=row.revision,
        manifest=manifest,
        installed_at=row.installed_at,
        updated_at=row.updated_at,
        activated_at=row.activated_at,
        grant_filters=row.grant_filters,
        pending=pending_of(row),
    )


@dataclass(frozen=True, slots=True)
class ConfigTest:
    """What came of trying a configuration.

    Attributes:
        is_checked: The plugin's own check ran to its end; without one, only the schema was looked at.
    """

    is_ok: bool
    is_checked: bool
    code: str | None = None
    message: str | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Removed:
    """What an uninstallation did.

    Attributes:
        owned: What it owned: counts.
        export_id: The file to fetch the data from, when that was asked for.
    """

    slug: str
    instance: str
    version: str
    data: str
    owned: Mapping[str, int]
    export_id: str | None


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What going back did.

    Attributes:
        data: It was `kept` as it was, `transformed` by migrations, or `restored` as it had been.
        export_id: The file with what there was before it was restored.
        problems: Why it was restored and not transformed, in the plugin's words.
    """

    from_version: str
    version: str
    data: Literal["kept", "transformed", "restored"]
    export_id: str | None = None
    problems: tuple[str, ...] = ()
