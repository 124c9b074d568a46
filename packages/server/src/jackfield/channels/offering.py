"""Functions on a channel: those of the plugins that are assigned to it. Of equal names, the lower priority counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jackfield.channels import repository
from jackfield.channels.errors import ChannelFunctionUnknownError, ChannelMissingError, ChannelNotConnectedError
from jackfield.channels.interfaces import FunctionCalls
from jackfield.channels.models import AssignmentRow, ChannelRow
from jackfield.db import Database
from jackfield.lifecycle import ActiveInstallations
from jackfield_sdk.manifest import Function
from jackfield_sdk.wire import Caller, Execution

__all__ = ["Offered", "Offering"]


@dataclass(frozen=True, slots=True)
class Offered:
    """A function, and whose it is on this channel.

    Attributes:
        hides: Plugins further behind that have one of the same name.
    """

    slug: str
    function: Function
    assignment: AssignmentRow
    hides: tuple[str, ...] = ()


class Offering:
    """Finds functions, and calls them as on the channel."""

    def __init__(self, database: Database, active: ActiveInstallations, functions: FunctionCalls) -> None:
        self._database = database
        self._active = active
        self._functions = functions

    async def functions(self, tenant_id: str, channel_id: str) -> list[Offered]:
        """What is offered on a channel, by name."""
        return (await self._offered(tenant_id, channel_id))[1]

    async def call(
        self,
        tenant_id: str,
        channel_id: str,
        name: str,
        arguments: dict[str, Any],
        caller: Caller,
        *,
        is_member: bool = True,
        locale: str = "en",
    ) -> Any:
        """Call a function as on the channel.

        Args:
            is_member: The caller is a member of the tenant. Somebody on the other end of a line is nobody's admin.

        Raises:
            ChannelFunctionUnknownError, ChannelNotConnectedError, RoleTooLowError, ArgumentsInvalidError: It never ran.
        """
        channel, offered = await self._offered(tenant_id, channel_id)
        if channel.state != "connected":
            raise ChannelNotConnectedError(f"the channel {channel.name!r} is {channel.state}")
        found = next((each for each in offered if each.function.name == name), None)
        if found is None:
            raise ChannelFunctionUnknownError(f"nothing on this channel is called {name[:64]!r}")
        self._functions.check_role(found.function, caller if is_member else None, is_plugin=not is_member)
        settings = found.assignment.settings
        execution = Execution("channel", channel=channel.kind, channel_id=channel.id, settings=settings)
        return await self._functions.call(
            tenant_id, found.slug, name, arguments, caller, locale=locale, execution=execution
        )

    async def _offered(self, tenant_id: str, channel_id: str) -> tuple[ChannelRow, list[Offered]]:
        plugins = await self._active.get(tenant_id)
        slugs = {installation.id: slug for slug, installation in plugins.by_slug.items()}
        async with self._database.read(tenant_id) as session:
            channel = await repository.find(session, channel_id)
            if channel is None:
                raise ChannelMissingError("there is no such channel")
            rows = await repository.assignments(session, channel_id)
            kinds = await repository.connected_kinds(session)
        first: dict[str, Offered] = {}
        hidden: dict[str, list[str]] = {}
        for row in rows:
            installation = plugins.by_id.get(row.installation_id)
            if installation is None or not row.is_enabled or not kinds.issuperset(installation.manifest.gateways):
                continue
            slug = slugs[installation.id]
            for function in installation.manifest.functions:
                if function.name in first:
                    hidden.setdefault(function.name, []).append(slug)
                else:
                    first[function.name] = Offered(slug, function, row)
        offered = [
            Offered(each.slug, each.function, each.assignment, tuple(hidden.get(name, ())))
            for name, each in sorted(first.items())
        ]
        return channel, offered
