"""`/api/channels`: for owners and admins, but for functions, which members call."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Response

from jackfield.capabilities.plain import NotPlainError, check_plain
from jackfield.channels.errors import ChannelInvalidError
from jackfield.channels.offering import Offering
from jackfield.channels.schemas import (
    AssignmentIn,
    AssignmentOut,
    CallIn,
    ChannelChange,
    ChannelIn,
    ChannelMadeOut,
    ChannelOut,
    OfferedOut,
    TestOut,
    TokenOut,
    assignment_out,
    channel_out,
    offered_out,
)
from jackfield.channels.service import Assignment, Channels
from jackfield.http import AdminCaller, MemberCaller, Page, problem_responses
from jackfield.lifecycle import Lifecycle, Plugin
from jackfield_sdk.wire import Caller

__all__ = ["Id", "router"]

Id = Annotated[str, Path(max_length=64, description="The channel's id")]


def router(channels: Channels, offering: Offering, lifecycle: Lifecycle) -> APIRouter:
    """Endpoints over the service."""
    routes = APIRouter(prefix="/api/channels", tags=["channels"])

    @routes.get("", operation_id="listChannels", responses=problem_responses(403))
    async def list_channels(caller: AdminCaller) -> Page[ChannelOut]:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """All channels, the oldest first."""
        return Page[ChannelOut](items=[channel_out(row) for row in await channels.list(caller.tenant)])

    @routes.post("", status_code=201, operation_id="addChannel", responses=problem_responses(403, 409))
    async def add(caller: AdminCaller, body: ChannelIn, response: Response) -> ChannelMadeOut:  # pyright: ignore[reportUnusedFunction]
        """Make a channel and connect it. One that does not work is kept as `broken`, and says why."""
        response.headers["Cache-Control"] = "no-store"
        made = await channels.add(
            caller.tenant, body.kind, body.name, body.settings, body.secret, actor=caller.subject
        )  # fmt: skip
        return ChannelMadeOut(**channel_out(made.row).model_dump(), token=made.token)

    @routes.get("/{channel_id}", operation_id="getChannel", responses=problem_responses(403, 404))
    async def get(caller: AdminCaller, channel_id: Id) -> ChannelOut:  # pyright: ignore[reportUnusedFunction]
        """One channel."""
        return channel_out(await channels.get(caller.tenant, channel_id))

    @routes.patch("/{channel_id}", operation_id="changeChannel", responses=problem_responses(403, 404, 409))
    async def change(caller: AdminCaller, channel_id: Id, body: ChannelChange) -> ChannelOut:  # pyright: ignore[reportUnusedFunction]
        """Change name, settings or secret; it is connected anew when one of the latter changes."""
        return channel_out(
            await channels.change(
                caller.tenant, channel_id, name=body.name, settings=body.settings, secret=body.secret,
                actor=caller.subject,
            )
        )  # fmt: skip

    @routes.delete(
        "/{channel_id}", status_code=204, operation_id="deleteChannel", responses=problem_responses(403, 404)
    )
    async def remove(caller: AdminCaller, channel_id: Id) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Remove it, with its assignments and what was kept of its messages."""
        await channels.remove(caller.tenant, channel_id, actor=caller.subject)
        return Response(status_code=204)

    @routes.post("/{channel_id}/test", operation_id="testChannel", responses=problem_responses(403, 404))
    async def test(caller: AdminCaller, channel_id: Id) -> TestOut:  # pyright: ignore[reportUnusedFunction]
        """Try its credentials."""
        is_ok, message = await channels.test(caller.tenant, channel_id)
        return TestOut(ok=is_ok, message=message)

    @routes.post("/{channel_id}/connect", operation_id="connectChannel", responses=problem_responses(403, 404))
    async def connect(caller: AdminCaller, channel_id: Id) -> ChannelOut:  # pyright: ignore[reportUnusedFunction]
        """Connect it, or connect it anew."""
        return channel_out(await channels.connect(caller.tenant, channel_id, actor=caller.subject))

    @routes.post("/{channel_id}/disconnect", operation_id="disconnectChannel", responses=problem_responses(403, 404))
    async def disconnect(caller: AdminCaller, channel_id: Id) -> ChannelOut:  # pyright: ignore[reportUnusedFunction]
        """Nothing comes in and nothing goes out any more; settings and assignments stay."""
        return channel_out(await channels.disconnect(caller.tenant, channel_id, actor=caller.subject))

    @routes.post("/{channel_id}/token", operation_id="newChannelToken", responses=problem_responses(403, 404))
    async def token(caller: AdminCaller, channel_id: Id, response: Response) -> TokenOut:  # pyright: ignore[reportUnusedFunction]
        """Another token for whoever calls by HTTP or as a voice agent. The old one is void."""
        response.headers["Cache-Control"] = "no-store"
        return TokenOut(token=await channels.new_token(caller.tenant, channel_id, actor=caller.subject))

    @routes.get("/{channel_id}/plugins", operation_id="listChannelPlugins", responses=problem_responses(403, 404))
    async def plugins(caller: AdminCaller, channel_id: Id) -> Page[AssignmentOut]:  # pyright: ignore[reportUnusedFunction]
        """Plugins on the channel, the first to be asked first."""
        found = await channels.assignments(caller.tenant, channel_id)
        return Page[AssignmentOut](items=[assignment_out(each) for each in found])

    @routes.put(
        "/{channel_id}/plugins/{slug}", operation_id="assignPlugin", responses=problem_responses(403, 404)
    )  # fmt: skip
    async def assign(  # pyright: ignore[reportUnusedFunction]
        caller: AdminCaller, channel_id: Id, plugin: Plugin, body: AssignmentIn | None = None
    ) -> AssignmentOut:
        """Put a plugin on the channel, or change how it is there."""
        given = body or AssignmentIn()
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        row = await channels.assign(
            caller.tenant, channel_id, installed.id, priority=given.priority, is_enabled=given.enabled,
            settings=given.settings, actor=caller.subject,
        )  # fmt: skip
        slug = plugin.slug if plugin.instance == "default" else f"{plugin.slug}@{plugin.instance}"
        return assignment_out(Assignment(row, slug))

    @routes.delete(
        "/{channel_id}/plugins/{slug}", status_code=204, operation_id="unassignPlugin",
        responses=problem_responses(403, 404),
    )  # fmt: skip
    async def unassign(caller: AdminCaller, channel_id: Id, plugin: Plugin) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Take a plugin off the channel."""
        installed = await lifecycle.get(caller.tenant, plugin.slug, instance=plugin.instance)
        await channels.unassign(caller.tenant, channel_id, installed.id, actor=caller.subject)
        return Response(status_code=204)

    @routes.get("/{channel_id}/functions", operation_id="listChannelFunctions", responses=problem_responses(403, 404))
    async def functions(caller: MemberCaller, channel_id: Id) -> Page[OfferedOut]:  # pyright: ignore[reportUnusedFunction]
        """What is offered on the channel. Of functions with the same name, that of the lower priority is."""
        found = await offering.functions(caller.tenant, channel_id)
        return Page[OfferedOut](items=[offered_out(each) for each in found])

    @routes.post(
        "/{channel_id}/functions/{name}", operation_id="callChannelFunction",
        responses=problem_responses(403, 404, 503),
    )  # fmt: skip
    async def call(  # pyright: ignore[reportUnusedFunction]
        caller: MemberCaller,
        channel_id: Id,
        name: Annotated[str, Path(max_length=64)],
        body: CallIn,
    ) -> Response:
        """Call a function as on this channel; answers as `callFunction` does."""
        check_arguments(body.arguments)
        acting = Caller(caller.member_id or caller.subject, caller.role)
        locale = caller.locale or caller.tenant_locale or "en"
        result = await offering.call(caller.tenant, channel_id, name, body.arguments, acting, locale=locale)
        return Response(msgspec.json.encode(result), media_type="application/json")

    return routes


def check_arguments(arguments: dict[str, object]) -> None:
    """Refuse what JSON lets in and nothing behind us can carry.

    Raises:
        ChannelInvalidError: Such a thing.
    """
    try:
        check_plain(msgspec.msgpack.encode(arguments), allow_nul=True)
    except (NotPlainError, UnicodeEncodeError, OverflowError, RecursionError, ValueError) as error:
        raise ChannelInvalidError("the arguments are not what JSON can carry") from error
