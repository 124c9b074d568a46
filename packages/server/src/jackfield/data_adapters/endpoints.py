"""What plugins did to the host's entities, over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from jackfield.data_adapters.changes import ChangeFilter, Changes
from jackfield.data_adapters.schemas import ChangeOut, EntityOut, RevertedOut, RevertIn
from jackfield.http import AdminCaller, Page, PageParams, problem_responses

__all__ = ["router"]


def router(changes: Changes) -> APIRouter:
    """Endpoints over the change log."""
    routes = APIRouter(prefix="/api/data", tags=["data"])

    @routes.get("/entities", operation_id="listEntities", responses=problem_responses(403))
    async def list_entities(_caller: AdminCaller) -> list[EntityOut]:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """The host's entities with their fields, as plugins know them."""
        return [EntityOut.of(schema) for schema in changes.schemas()]

    @routes.get("/changes", operation_id="listDataChanges", responses=problem_responses(403))
    async def list_changes(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller,
        page: PageParams,
        slug: Annotated[str | None, Query(max_length=128, description="Only of this plugin")] = None,
        user_id: Annotated[str | None, Query(max_length=255, description="Only on behalf of this member")] = None,
        invocation_id: Annotated[str | None, Query(max_length=64, description="Only of this call")] = None,
        entity: Annotated[str | None, Query(max_length=96, description="Only of this entity")] = None,
        key: Annotated[str | None, Query(max_length=255, description="Only of the entity with this key")] = None,
        since: Annotated[AwareDatetime | None, Query(description="From this moment on")] = None,
        until: Annotated[AwareDatetime | None, Query(description="Up to before this moment")] = None,
    ) -> Page[ChangeOut]:
        """What plugins created, changed and deleted, the latest first."""
        wanted = ChangeFilter(slug, None, user_id, invocation_id, entity, key, since, until)
        found = await changes.list(caller.tenant, page, wanted)
        return Page[ChangeOut](items=[ChangeOut.of(item) for item in found.items], next_cursor=found.next_cursor)

    @routes.post(
        "/changes/{number}/revert", operation_id="revertDataChange", responses=problem_responses(403, 404, 409)
    )
    async def revert_change(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, number: Annotated[int, Path(ge=1, le=2**63 - 1)]
    ) -> ChangeOut:
        """Take one change back, if what it wrote is still there. That is a change as well."""
        return ChangeOut.of(await changes.revert(caller.tenant, number, caller.subject))

    @routes.post("/changes/revert", operation_id="revertDataChanges", responses=problem_responses(403))
    async def revert_changes(caller: AdminCaller, wanted: RevertIn) -> RevertedOut:  # pyright: ignore[reportUnusedFunction]
        """Take back all changes of a call, of a plugin or on behalf of a member, the latest first.

        Each one by itself: what was changed again since stays as it is, and is named in the answer.
        """
        return RevertedOut.of(await changes.revert_all(caller.tenant, wanted.filter, caller.subject))

    return routes
