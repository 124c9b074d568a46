"""From a host to the addresses that may be connected to: looked up once, all of them checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from jackfield.egress.addresses import Allowed, is_of_this_machine, is_public
from jackfield.egress.dns import DnsError, NameServer
from jackfield.egress.errors import AddressRefusedError, HostUnreachableError
from jackfield.egress.urls import IpAddress, Target

__all__ = ["Resolver", "SystemResolver", "checked_addresses", "resolver_of"]

_THREADS = 64
_ADDRESSES = 64


class Resolver(Protocol):
    """Looks names up."""

    async def addresses(self, host: str) -> Sequence[IpAddress]:
        """All addresses of a name.

        Raises:
            DnsError: There are none.
        """
        ...


class SystemResolver:
    """The machine's own way, in threads of its own: a name that takes long must not hold up the node's other work."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    async def addresses(self, host: str) -> Sequence[IpAddress]:
        """See `Resolver`."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolver")
        loop = asyncio.get_running_loop()
        try:
            # With the dot at its end it is looked up as it is, and not below the machine's own domains.
            found = await loop.run_in_executor(self._threads, _look_up, f"{host}." if "." in host else host)
        except (OSError, UnicodeError) as error:
            raise DnsError("the name has no address") from error
        return list(dict.fromkeys(found))


def resolver_of(address: str | None) -> Resolver:
    """The name server at an address, or the system's own way."""
    return SystemResolver() if address is None else NameServer(address)


async def checked_addresses(target: Target, resolver: Resolver, allowed: Allowed) -> Sequence[IpAddress]:
    """The addresses of a target, each of which may be connected to.

    One that may not refuses them all: an attacker's name server would mix it among good ones and wait for the day on
    which the good ones do not answer.

    Raises:
        AddressRefusedError: At least one is not public, and not allowed by the operator.
        HostUnreachableError: There is none.
    """
    if target.address is not None:
        found: Sequence[IpAddress] = [target.address]
    else:
        try:
            found = await resolver.addresses(target.host)
        except DnsError as error:
            raise HostUnreachableError(f"`{target.host}` cannot be looked up: {error}") from error
    if not found or len(found) > _ADDRESSES:
        raise HostUnreachableError(f"`{target.host}` has {len(found)} addresses")
    for address in found:
        if allowed.permits(target.host, target.port, address):
            continue
        if not is_public(address) or is_of_this_machine(address):
            raise AddressRefusedError(target.host)
    return found


def _look_up(host: str) -> list[IpAddress]:
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(entry[4][0]) for entry in entries]
