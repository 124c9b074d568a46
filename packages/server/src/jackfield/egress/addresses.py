"""Which addresses are on the public internet, and which others the operator allows. Pure.

Written out rather than left to `ipaddress.is_global`, whose answer differs between versions of Python; both must agree.
Addresses that have another one inside (IPv4-mapped, 6to4, NAT64, Teredo) are none of ours: what is inside decides where
they lead, and a network may translate them however it likes.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from jackfield.egress.urls import IpAddress

__all__ = ["Allowed", "is_of_this_machine", "is_public"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SPECIAL_4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        ),
    )
)  # fmt: skip
"""The registry of special-purpose addresses (RFC 6890 and its successors), and multicast."""

_UNICAST_6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_6 = tuple(
    map(
        ipaddress.IPv6Network,
        ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)

_NAMED = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"),
    )
)
"""What a name that the operator allows may stand for."""
_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254", "fd20:ce::254")))
"""Where clouds keep their machines' credentials, within the above."""

_HOST_AND_PORT = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([1-9][0-9]{0,4}))?\Z")


def is_public(address: IpAddress) -> bool:
    """Whether an address is one of the public internet's."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _SPECIAL_4)
    if address not in _UNICAST_6 or address.scope_id is not None:
        return False
    return address.is_global and not any(address in network for network in _SPECIAL_6)


def is_of_this_machine(address: IpAddress) -> bool:
    """Whether a public address is the node's own: behind it are ports that are open to nobody else.

    Asks the kernel for the way there; nothing is sent.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return bool(probe.getsockname()[0] == str(address))
    except OSError:
        # No way there at all: the connection will say so.
        return False


class Allowed:
    """What the operator allows beyond the public internet.

    Args:
        entries: Networks, addresses and names, the last two with a port or without.

    Raises:
        ValueError: An entry is none of these.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._networks: list[tuple[_Network, int | None]] = []
        self._names: set[tuple[str, int | None]] = set()
        for entry in entries:
            self._add(entry.strip().lower())

    def names(self, host: str, port: int, address: IpAddress | None) -> bool:
        """Whether a host is allowed as it is written, before it is looked up."""
        if address is not None:
            return self._has(address, port)
        return (host, None) in self._names or (host, port) in self._names

    def permits(self, host: str, port: int, address: IpAddress) -> bool:
        """Whether a host may be reached at an address that is not public."""
        if self._has(address, port):
            return True
        if address in _METADATA or not any(address in network for network in _NAMED):
            return False
        return (host, None) in self._names or (host, port) in self._names

    def _has(self, address: IpAddress, port: int) -> bool:
        return any(address in network and given in (None, port) for network, given in self._networks)

    def _add(self, entry: str) -> None:
        try:
            self._networks.append((ipaddress.ip_network(entry), None))
            return
        except ValueError:
            match = _HOST_AND_PORT.match(entry)
        if match is None or "/" in entry:
            raise ValueError(f"JACKFIELD_EGRESS_ALLOWED: `{entry}` is no network, address or host")
        host, port = match[1].strip("[]"), int(match[2]) if match[2] else None
        try:
            self._networks.append((ipaddress.ip_network(host), port))
        except ValueError:
            self._names.add((host, port))
