"""`/api/operations/keys`: what secrets are encrypted with. For operators. Keys themselves are in no answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from jackfield.capabilities.rotation import Rotation
from jackfield.http import OperatorCaller, problem_responses

__all__ = ["keys_router"]


class KeyOut(BaseModel):
    """One key of the operator's."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    generation: int = Field(description="Grows with each key that was put in front; 0 for one that never was")
    is_current: bool = Field(description="It encrypts")
    is_here: bool = Field(description="This node has it")
    is_removable: bool = Field(description="Nothing needs it any more")
    data_keys: int = Field(description="Tenants' keys that are wrapped with it")
    old_secrets: int = Field(description="Secrets that it encrypts itself, from before tenants had keys")
    since: datetime | None
    retired_at: datetime | None


class KeyStatusOut(BaseModel):
    """All keys, and what is still to be wrapped anew."""

    model_config = ConfigDict(from_attributes=True)

    keys: list[KeyOut]
    tenants: int = Field(description="Tenants that have a key of their own")
    remaining: int = Field(description="Keys and secrets that are still to be encrypted anew; 0 when all is done")
    unreadable: int = Field(description="Of these: what no key here opens")


class RenewRequest(BaseModel):
    """Whose key is to be replaced."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: str = Field(min_length=1, max_length=64)


KeyId = Annotated[str, Path(max_length=32)]


def keys_router(rotation: Rotation, wake: Callable[[], None]) -> APIRouter:
    """Endpoints over keys.

    Args:
        wake: Have somebody begin to wrap anew.
    """
    routes = APIRouter(prefix="/api/operations/keys", tags=["operations"], responses=problem_responses(403))

    @routes.get("", operation_id="getKeys")
    async def get_keys(_caller: OperatorCaller) -> KeyStatusOut:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Keys by id, what each is needed for, and how far a rotation has come."""
        return KeyStatusOut.model_validate(await rotation.status())

    @routes.post("/rotate", operation_id="rotateKeys", status_code=202, responses=problem_responses(409))
    async def rotate(caller: OperatorCaller) -> KeyStatusOut:  # pyright: ignore[reportUnusedFunction]
        """Put a new key in front; everything is wrapped anew in the background, see `remaining`."""
        status = await rotation.rotate(caller.subject)
        wake()
        return KeyStatusOut.model_validate(status)

    @routes.post("/renew", operation_id="renewTenantKey", status_code=202)
    async def renew(caller: OperatorCaller, body: RenewRequest) -> KeyStatusOut:  # pyright: ignore[reportUnusedFunction]
        """Give one tenant another key of its own; its secrets are encrypted anew in the background."""
        await rotation.renew(body.tenant_id, caller.subject)
        wake()
        return KeyStatusOut.model_validate(await rotation.status())

    @routes.delete("/{key_id}", operation_id="forgetKey", responses=problem_responses(404, 409))
    async def forget(caller: OperatorCaller, key_id: KeyId) -> KeyStatusOut:  # pyright: ignore[reportUnusedFunction]
        """Take an old key out of use for good; refused while anything needs it."""
        await rotation.forget(key_id, caller.subject)
        return KeyStatusOut.model_validate(await rotation.status())

    return routes
