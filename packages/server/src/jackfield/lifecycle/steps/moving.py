"""Moving an installation's data to another release: a copy, the plugin's own migrations on it, and its entries.

The installation itself is at work all the while; only writing waits. Until the copy is put in its place nothing that
counts has changed, so the way back from anything is to drop the copy. The copy is made anew by whoever goes on after a
crash, so a migration always begins with what the one before it left, and need not know how far it came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities import staging
from jackfield.capabilities.declared import Declared
from jackfield.invocation import ActiveInstallation
from jackfield.lifecycle.errors import MigrationFailedError
from jackfield.lifecycle.hooks import run_handler
from jackfield.lifecycle.operations import Effect, Run
from jackfield.lifecycle.steps.base import Tools
from jackfield_sdk.manifest import Manifest

__all__ = ["Move"]


class Move:
    """The steps that an update and a rollback have in common.

    Args:
        handlers: Migration → the handler that is to run, in order.
        tried: Makes the installation as its code is to see it, on the copy.
        tolerates: A failure is put up with; whoever comes after looks at `Run.failures`.
    """

    def __init__(
        self,
        tools: Tools,
        copy_id: str,
        handlers: Sequence[tuple[str, str]],
        tried: Callable[[Run], Awaitable[ActiveInstallation]],
        *,
        label: str,
        tolerates: bool = False,
    ) -> None:
        self._tools = tools
        self._copy_id = copy_id
        self._handlers = handlers
        self._tried = tried
        self._label = label
        self._tolerates = tolerates
        # How far this process has brought the copy; of what another one did, it knows only what it has finished.
        self._done = -1

    def steps(self) -> list[Effect]:
        """A copy, then each migration."""
        found = [Effect("copy", self._copy, self._drop, is_repeatable=True, is_undone_unfinished=True)]
        for number, (name, _) in enumerate(self._handlers):
            found.append(
                Effect(f"{self._label}:{name}", self._step(number), is_repeatable=True, is_tolerated=self._tolerates)
            )
        return found

    async def close(self, session: AsyncSession, run: Run) -> None:
        """Nobody writes from now on."""
        await staging.close_writes(session, run.tenant_id, run.order.installation_id, run.id)

    async def open(self, session: AsyncSession, run: Run, manifest: Manifest | None = None) -> None:
        """Everybody may write again; with a manifest, releases of its layout alone."""
        layout = None if manifest is None else Declared(manifest).layout
        await staging.open_writes(session, run.tenant_id, run.order.installation_id, run.id, layout)

    async def prepare(self, run: Run, manifest: Manifest, known: Manifest, copy_id: str | None = None) -> None:
        """Have the copy fit a release.

        Raises:
            UniquenessLackingError, ReferencesDanglingError: It does not.
        """
        stage = self._stage(run, copy_id or self._copy_id)
        await stage.prepare(Declared(manifest), Declared(known))

    async def strip(self, run: Run, copy_id: str | None) -> None:
        """Take back `prepare`."""
        if copy_id is not None:
            await self._stage(run, copy_id).strip()

    def _stage(self, run: Run, copy_id: str) -> staging.Stage:
        return staging.Stage(self._tools.database, run.tenant_id, run.order.installation_id, copy_id)

    async def _copy(self, run: Run) -> dict[str, Any]:
        amount = await self._stage(run, self._copy_id).copy()
        self._done = 0
        return dict(amount)

    async def _drop(self, run: Run) -> None:
        await self._stage(run, self._copy_id).drop()

    def _step(self, number: int) -> Callable[[Run], Awaitable[None]]:
        async def do(run: Run) -> None:
            if self._done != number:
                await self._copy(run)
                for earlier in range(number):
                    await self._call(run, earlier)
            await self._call(run, number)

        return do

    async def _call(self, run: Run, number: int) -> None:
        name, handler = self._handlers[number]
        self._done = -1
        installation = await self._tried(run)
        timeouts = {one.name: one.timeout_ms for one in installation.manifest.migrations}
        await run_handler(
            self._tools.runner, installation, f"{self._label} {name}", handler, run.order.actor, MigrationFailedError,
            timeout_ms=timeouts.get(name),
        )  # fmt: skip
        self._done = number + 1
