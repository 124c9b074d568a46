"""A small internet on loopback: a name server that says what a test tells it to, web servers that say what they were
told, and a canary that must never be reached."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dnslib
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Answer", "Canary", "Dns", "Received", "Web", "certificate", "ok"]

Answer = Sequence[str] | Callable[[], Sequence[str]]
"""Addresses, or `=name` for an alias; or what says so when it is asked."""


class Dns(asyncio.DatagramProtocol):
    """A name server.

    Attributes:
        names: What there is; a name that is not there does not exist.
        asked: Names that were asked for, in order.
    """

    def __init__(self) -> None:
        self.names: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.is_silent = False
        self.truncates = False
        self.address = ""
        self._transport: asyncio.DatagramTransport | None = None
        self._lost = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.is_silent or self._transport is None:
            return
        reply = self.answer(data)
        if self.truncates:
            reply.header.tc = 1
            reply.rr.clear()
        self._transport.sendto(reply.pack(), addr)

    def answer(self, data: bytes) -> dnslib.DNSRecord:
        request = dnslib.DNSRecord.parse(data)
        reply = request.reply()
        name = str(request.q.qname).rstrip(".")
        self.asked.append(name)
        found = self.names.get(name)
        if found is None:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
            return reply
        self._add(reply, name, found() if callable(found) else found, request.q.qtype)
        return reply

    def _add(self, reply: dnslib.DNSRecord, name: str, found: Sequence[str], kind: int) -> None:
        for one in found:
            if one.startswith("="):
                alias = one[1:]
                reply.add_answer(dnslib.RR(name, dnslib.QTYPE.CNAME, rdata=dnslib.CNAME(alias), ttl=0))
                inner = self.names.get(alias)
                if inner is not None and not callable(inner):
                    self._add(reply, alias, inner, kind)
            elif ":" in one and kind == dnslib.QTYPE.AAAA:
                packed = tuple(ipaddress.IPv6Address(one).packed)
                reply.add_answer(dnslib.RR(name, kind, rdata=dnslib.AAAA(packed), ttl=0))
            elif ":" not in one and kind == dnslib.QTYPE.A:
                reply.add_answer(dnslib.RR(name, kind, rdata=dnslib.A(one), ttl=0))

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Dns]:
        transport, server, (host, port) = await self._listen()
        self.address = f"{host}:{port}"
        try:
            yield self
        finally:
            transport.close()
            await self._lost.wait()
            server.close()
            await server.wait_closed()

    async def _listen(self) -> tuple[asyncio.DatagramTransport, asyncio.Server, tuple[str, int]]:
        """One port for UDP and TCP: what is free for one of them may be taken for the other."""
        while True:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: self, local_addr=("127.0.0.1", 0)
            )
            address: tuple[str, int] = transport.get_extra_info("sockname")
            try:
                return transport, await asyncio.start_server(self._over_tcp, *address), address
            except OSError:
                transport.close()
                await self._lost.wait()
                self._lost.clear()

    async def _over_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        data = self.answer(await reader.readexactly(size)).pack()
        writer.write(len(data).to_bytes(2, "big") + data)
        await writer.drain()
        writer.close()


@dataclass
class Received:
    """A request as a server got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


Handler = Callable[[Received], bytes | Awaitable[bytes]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ok(body: bytes = b"hello", *headers: str, status: str = "200 OK", length: bool = True) -> bytes:
    """A response."""
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if length else []), "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class Web:
    """A web server.

    Attributes:
        answers: Path → what it says; `*` for all others.
        raw: Instead of all that: speaks as it likes.
        received: Requests so far.
        connections: Connections so far.
    """

    answers: dict[str, bytes | Handler] = field(default_factory=dict)
    raw: Raw | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    server_names: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Web]:
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: self.server_names.append(name)
        tasks: set[asyncio.Task[Any]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._handle(reader, writer)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                # Asyncio reports a handler that was cancelled as an error.
                pass
            finally:
                tasks.discard(task)
                writer.transport.abort()

        server = await asyncio.start_server(handle, "127.0.0.1", port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        if self.raw is not None:
            await self.raw(reader, writer)
            return
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            first, *lines = head.decode("latin-1").strip().split("\r\n")
            method, path, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            got = Received(method, path, headers, body, number)
            self.received.append(got)
            answer = self.answers.get(path.partition("?")[0], self.answers.get("*", ok(b"", status="404 Not Found")))
            if callable(answer):
                said = answer(got)
                answer = said if isinstance(said, bytes) else await said
            writer.write(answer)
            await writer.drain()


@dataclass
class Canary:
    """Listens on loopback, as a database or a cloud's metadata service would. Nothing may ever come."""

    port: int = 0
    visits: int = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Canary]:
        def visited(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.visits += 1
            writer.close()

        four = await asyncio.start_server(visited, "127.0.0.1", 0)
        self.port = four.sockets[0].getsockname()[1]
        servers = [four]
        with contextlib.suppress(OSError):
            servers.append(await asyncio.start_server(visited, "::1", self.port))
        try:
            yield self
        finally:
            for server in servers:
                server.close()


def certificate(folder: Path, *names: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context for these names, and the file of the authority that vouches for them."""
    key, authority_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])

    def build(subject: x509.Name, public: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    authority = (
        build(issuer, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )  # fmt: skip
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    leaf = (
        build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]), key.public_key())
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    chain, trusted = folder / "server.pem", folder / "authority.pem"
    pem = serialization.Encoding.PEM
    chain.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + leaf.public_bytes(pem)
    )
    trusted.write_bytes(authority.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, trusted
