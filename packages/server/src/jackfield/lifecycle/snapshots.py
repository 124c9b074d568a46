"""Installations as the runtime sees them, made from rows, releases and the names of stored secrets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import select

from jackfield.capabilities import secret_names
from jackfield.capabilities.context import Staging
from jackfield.db import Database
from jackfield.errors import MissingError
from jackfield.invocation import ActiveInstallation
from jackfield.lifecycle.configuration import effective
from jackfield.lifecycle.interfaces import Catalogue
from jackfield.lifecycle.models import InstallationRow
from jackfield.lifecycle.states import State
from jackfield.registry import Release

__all__ = ["Resting", "Snapshots", "snapshot"]

_log = structlog.get_logger(__name__)
_RELEASES = 2_000


@dataclass(frozen=True, slots=True)
class Resting:
    """What an installation holds that is not at work."""

    grants: frozenset[str]
    grant_filters: Mapping[str, Any]


def snapshot(
    row: InstallationRow,
    release: Release,
    secrets: Iterable[str],
    *,
    id: str | None = None,
    config: Mapping[str, Any] | None = None,
    grants: Iterable[str] | None = None,
    grant_filters: Mapping[str, Any] | None = None,
    revision: int | None = None,
    staging: Staging | None = None,
) -> ActiveInstallation:
    """One installation; what is given stands in for the row's own while a configuration or release is tried."""
    return ActiveInstallation(
        id=row.id if id is None else id,
        tenant_id=row.tenant_id,
        slug=row.slug,
        version=release.version,
        digest=release.digest,
        image_path=release.image_path,
        manifest=release.manifest,
        grants=frozenset(row.grants if grants is None else grants),
        config=effective(release.manifest, row.config if config is None else config),
        secret_names=tuple(sorted(secrets)),
        revision=row.revision if revision is None else revision,
        grant_filters=row.grant_filters if grant_filters is None else grant_filters,
        staging=staging,
    )


class Snapshots:
    """Loads them. Releases never change, so the last few thousand are kept, one copy for all tenants."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue
        self._releases: OrderedDict[tuple[str, str], Release] = OrderedDict()

    async def release(self, slug: str, version: str) -> Release:
        """The release that an installation is pinned to, yanked or not.

        Raises:
            MissingError: The registry does not have it any more.
        """
        key = (slug, version)
        release = self._releases.get(key)
        if release is None:
            release = self._releases[key] = await self._catalogue.release(slug, version)
            if len(self._releases) > _RELEASES:
                self._releases.popitem(last=False)
        else:
            self._releases.move_to_end(key)
        return release

    async def of(self, row: InstallationRow, **instead: Any) -> ActiveInstallation:
        """One installation in whatever state it is; `instead` as in `snapshot`."""
        release = await self.release(row.slug, row.version)
        return snapshot(row, release, await self.secrets(row, release), **instead)

    async def secrets(self, row: InstallationRow, release: Release) -> list[str]:
        """Names of the secrets that have a value."""
        if release.manifest.config is None or not release.manifest.config.secrets:
            return []
        async with self._database.read(row.tenant_id) as session:
            return sorted(await secret_names(session, row.id))

    async def active(
        self, tenant_id: str
    ) -> tuple[list[tuple[str, ActiveInstallation]], list[ActiveInstallation], dict[str, Resting]]:
        """Everything active in a tenant, with the names of instances; what is quarantined, for which events wait; and
        what all others hold that are installed.

        One that is being activated out of quarantine still has its reason, and events still wait for it.
        """
        query = select(InstallationRow).where(
            InstallationRow.state.in_([state.value for state in State if state.is_listed])
        )
        async with self._database.read(tenant_id) as session:
            rows = list(await session.scalars(query))
        found: list[tuple[str, ActiveInstallation]] = []
        held: list[ActiveInstallation] = []
        resting: dict[str, Resting] = {}
        for row in rows:
            try:
                if State(row.state) is State.ACTIVE:
                    found.append((row.instance, await self.of(row)))
                elif State(row.state) is State.QUARANTINED or (
                    State(row.state) is State.ACTIVATING and row.reason_code is not None
                ):
                    held.append(await self.of(row))
                else:
                    resting[row.id] = Resting(frozenset(row.grants), row.grant_filters)
            except MissingError as error:
                # One lost release must not silence the tenant's other plugins.
                _log.error(
                    "lifecycle.release_lost", tenant=tenant_id, slug=row.slug, version=row.version, error=str(error)
                )
        return found, held, resting
