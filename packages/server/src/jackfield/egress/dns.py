"""A small DNS client (RFC 1035): asks one name server for addresses. Used where the operator names a server.

It believes nothing: an answer must come from where the question went, with its number and the question in it; what is
in it counts only when it belongs to the name that was asked for, or to one that this is an alias of.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import struct
from dataclasses import dataclass

from jackfield.egress.urls import IpAddress

__all__ = ["Answer", "DnsError", "NameServer", "decode_answer", "encode_question"]

_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_A, _CNAME, _AAAA = 1, 5, 28
_IN = 1
_ALIASES = 8
_RECORDS = 64
_TRIES = 2
_ANSWER, _TRUNCATED, _RECURSE = 0x8000, 0x0200, 0x0100


class DnsError(Exception):
    """No usable answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says of one name.

    Attributes:
        alias: The name at the end of its aliases, when that has no address here; None else.
    """

    addresses: tuple[IpAddress, ...]
    alias: str | None = None
    is_truncated: bool = False


class NameServer:
    """Asks one server.

    Args:
        address: `address:port`.
    """

    def __init__(self, address: str, *, try_s: float = 1.0) -> None:
        host, _, port = address.rpartition(":")
        self._server = (str(ipaddress.ip_address(host.strip("[]"))), int(port))
        self._try_s = try_s

    async def addresses(self, host: str) -> tuple[IpAddress, ...]:
        """All addresses of a name.

        Raises:
            DnsError: There are none, or the server does not say.
        """
        four, six = await asyncio.gather(self._ask(host, _A), self._ask(host, _AAAA))
        if not four and not six:
            raise DnsError("the name has no address")
        return four + six

    async def _ask(self, host: str, kind: int) -> tuple[IpAddress, ...]:
        name = host
        for _ in range(_ALIASES):
            answer = await self._exchange(name, kind)
            if answer.alias is None:
                return answer.addresses
            name = answer.alias
        raise DnsError("the name has too many aliases")

    async def _exchange(self, name: str, kind: int) -> Answer:
        for attempt in range(_TRIES):
            number = secrets.randbelow(0x10000)
            question = encode_question(number, name, kind)
            try:
                async with asyncio.timeout(self._try_s * (attempt + 1)):
                    answer = await self._over_udp(question, number, name, kind)
                    return await self._over_tcp(question, number, name, kind) if answer.is_truncated else answer
            except (TimeoutError, OSError):
                continue
        raise DnsError("the name server does not answer")

    async def _over_udp(self, question: bytes, number: int, name: str, kind: int) -> Answer:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self._server[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
            # A connected one takes packets from the server alone.
            await loop.sock_connect(channel, self._server)
            await loop.sock_sendall(channel, question)
            while True:
                data = await loop.sock_recv(channel, 4096)
                try:
                    return decode_answer(data, number, name, kind)
                except ValueError:
                    # Somebody else's guess; the true answer may still come.
                    continue

    async def _over_tcp(self, question: bytes, number: int, name: str, kind: int) -> Answer:
        reader, writer = await asyncio.open_connection(*self._server)
        try:
            writer.write(len(question).to_bytes(2, "big") + question)
            size = int.from_bytes(await reader.readexactly(2), "big")
            return decode_answer(await reader.readexactly(size), number, name, kind)
        except (ValueError, asyncio.IncompleteReadError) as error:
            raise DnsError("the name server's answer makes no sense") from error
        finally:
            writer.close()


def encode_question(number: int, name: str, kind: int) -> bytes:
    """A query for one name and type of record."""
    labels = b"".join(bytes((len(label),)) + label for label in name.encode("ascii").split(b"."))
    return _HEADER.pack(number, _RECURSE, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, _IN)


def decode_answer(data: bytes, number: int, name: str, kind: int) -> Answer:
    """What an answer says.

    Raises:
        ValueError: It is not the answer to this question.
        DnsError: It is, and says that there is none.
    """
    try:
        return _decode(data, number, name, kind)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("damaged") from error


def _decode(data: bytes, number: int, name: str, kind: int) -> Answer:
    got, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if got != number or not flags & _ANSWER or questions != 1:
        raise ValueError("not the answer to this question")
    asked, place = _name(data, _HEADER.size)
    if asked != name or struct.unpack_from("!2H", data, place) != (kind, _IN):
        raise ValueError("not the answer to this question")
    place += 4
    if flags & _TRUNCATED:
        return Answer((), is_truncated=True)
    if flags & 0xF:
        raise DnsError("the name does not exist" if flags & 0xF == 3 else "the name server cannot say")
    aliases: dict[str, str] = {}
    found: dict[str, list[IpAddress]] = {}
    for _ in range(min(answers, _RECORDS)):
        owner, place = _name(data, place)
        type_, class_, _, length = _RECORD.unpack_from(data, place)
        place += _RECORD.size
        content = data[place : place + length]
        if len(content) != length:
            raise ValueError("damaged")
        if class_ == _IN and type_ == kind and length == (4 if kind == _A else 16):
            found.setdefault(owner, []).append(ipaddress.ip_address(content))
        elif class_ == _IN and type_ == _CNAME:
            aliases.setdefault(owner, _name(data, place)[0])
        place += length
    last = name
    for _ in range(_ALIASES):
        if last not in aliases:
            break
        last = aliases[last]
    addresses = tuple(found.get(last, ()))
    return Answer(addresses, None if addresses or last == name else last)


def _name(data: bytes, place: int) -> tuple[str, int]:
    """A name, and where what follows it begins."""
    labels: list[str] = []
    end = -1
    # Each pointer leads back, so this ends.
    while True:
        length = data[place]
        if length & 0xC0 == 0xC0:
            target = ((length & 0x3F) << 8) | data[place + 1]
            end = place + 2 if end < 0 else end
            if target >= place:
                raise ValueError("damaged")
            place = target
        elif length & 0xC0:
            raise ValueError("damaged")
        elif length == 0:
            return ".".join(labels).lower(), place + 1 if end < 0 else end
        else:
            labels.append(data[place + 1 : place + 1 + length].decode("ascii"))
            place += 1 + length
            if len(labels) > 128:
                raise ValueError("damaged")
