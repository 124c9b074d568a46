"""`/api/nodes`, for operators."""

from __future__ import annotations

from fastapi import APIRouter

from jackfield.http import OperatorCaller, problem_responses
from jackfield.nodes.schemas import NodeOut
from jackfield.nodes.service import Nodes

__all__ = ["router"]


def router(nodes: Nodes) -> APIRouter:
    """Endpoints over nodes."""
    routes = APIRouter(prefix="/api/nodes", tags=["operations"])

    @routes.get("", operation_id="listNodes", responses=problem_responses(403))
    async def list_nodes(_caller: OperatorCaller) -> list[NodeOut]:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Nodes that work on this database, and those that ended within the last day. For operators."""
        return [NodeOut.model_validate(node) for node in await nodes.every()]

    return routes
