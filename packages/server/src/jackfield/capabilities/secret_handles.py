"""Handles of secret configuration fields: what `secrets.ref` gives, and what stands behind it in a request.

A handle is a text that nobody can guess, the same on every node and from call to call, and another one in every
installation. It is good for nothing but requests to the hosts that the manifest names for the secret, and to those only
when they are granted: so it takes no permission.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Protocol

from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import SecretNotBoundError
from jackfield.capabilities.operations import Arguments, Capability, answer, operation
from jackfield.capabilities.vault import Vault
from jackfield.egress import HostPolicy, InjectedSecret, Target
from jackfield.errors import MissingError

__all__ = ["SecretHandles", "SecretValues"]


class SecretValues(Protocol):
    """Knows values of secret fields."""

    async def value(self, context: CapabilityContext, name: str) -> str:
        """One of the installation's, in plain text.

        Raises:
            JackfieldError: It is not set, or cannot be read.
        """
        ...


class _Ref(Arguments, frozen=True):
    name: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]


class SecretHandles:
    """Of fields of the configuration."""

    def __init__(self, vault: Vault, values: SecretValues) -> None:
        self._vault = vault
        self._values = values
        self.operations: Capability = {"ref": operation(_Ref, None, self._ref)}

    async def injected(self, context: CapabilityContext, handle: str) -> InjectedSecret | None:
        """What a handle stands for, to be put into a request; None when it is no handle of this installation's fields.

        Raises:
            JackfieldError: It is one, and has no value, or none that can be read.
        """
        section = context.manifest.config
        if section is None:
            return None
        for name, hosts in section.secret_hosts.items():
            if handle in self._vault.handles(context.tenant_id, context.installation_id, name):
                value = await self._values.value(context, name)
                return InjectedSecret(handle, value, tuple(hosts), f"the secret `{name}`")
        return None

    async def bound_to(
        self, context: CapabilityContext, target: Target, known: Collection[str]
    ) -> list[InjectedSecret]:
        """Secrets that a host may have been given: a plugin can have it keep one, and ask for it later."""
        section = context.manifest.config
        found: list[InjectedSecret] = []
        if section is None:
            return found
        for name, hosts in section.secret_hosts.items():
            if not HostPolicy("", "", tuple(hosts)).allows(target.scheme, target.host, target.port):
                continue
            handles = self._vault.handles(context.tenant_id, context.installation_id, name)
            if not any(handle in known for handle in handles):
                try:
                    value = await self._values.value(context, name)
                except MissingError:
                    continue
                found.append(InjectedSecret(handles[0], value, tuple(hosts), f"the secret `{name}`"))
        return found

    async def _ref(self, context: CapabilityContext, arguments: _Ref) -> bytes:
        section = context.manifest.config
        if section is None or arguments.name not in section.secret_hosts:
            raise SecretNotBoundError(arguments.name)
        return answer(self._vault.handles(context.tenant_id, context.installation_id, arguments.name)[0])
