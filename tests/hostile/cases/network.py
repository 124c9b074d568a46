"""Sockets of every family, and the ways out that a library might have kept open.

HTTP libraries are led to the broker, which sends nothing that was not granted: here, nothing at all. What it refuses of
what is granted is in `tests/server/egress`.
"""

from __future__ import annotations

from tests.hostile.case import Case, Class, End, denied, raised
from tests.hostile.cases.plugins import PLAIN

__all__ = ["NETWORK"]

_NO_SOCKET = denied("EPERM", "EAFNOSUPPORT")
_UNKNOWN = End("error", "unknown-capability")


def _family(name: str, number: int) -> Case:
    return Case(f"family {name}", f"return kinds({number})", _NO_SOCKET)


_NOT_GRANTED = End("error", "permission-denied")


def _url(name: str, url: str, end: End = _NOT_GRANTED) -> Case:
    source = f"""
        import urllib.request
        return urllib.request.urlopen({url!r}.replace('PORT', str(about['tcp_port'])), timeout=2).status
    """
    return Case(f"url {name}", source, end)


NETWORK = Class("network", PLAIN, [
    Case("TCP to the server", "socket.create_connection(('127.0.0.1', about['tcp_port']), 2)", gentle=True),
    Case("UDP to the server", """
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', about['udp_port']))
    """, gentle=True),
    Case("MPTCP to the server", """
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(('127.0.0.1', about['tcp_port']))
    """, gentle=True),
    Case("SCTP", "return kinds(socket.AF_INET, 132)", _NO_SOCKET),
    Case("ICMP", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)"),
    Case("raw IP", "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)"),
    Case("TCP over IPv6", "socket.socket(socket.AF_INET6, socket.SOCK_STREAM)", _NO_SOCKET),
    Case("listen", "socket.create_server(('127.0.0.1', 0))"),
    Case("an abstract unix socket", """
        socket.socket(socket.AF_UNIX).connect('\\0' + about['abstract'])
    """, gentle=True),
    Case("a unix socket by path", "socket.socket(socket.AF_UNIX).connect(about['socket'])", gentle=True),
    Case("a unix datagram by path", """
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', about['socket'])
    """),
    Case("netlink", "socket.socket(16, socket.SOCK_RAW)", gentle=True),
    _family("packet", 17), _family("algorithms", 38), _family("vsock", 40), _family("bluetooth", 31),
    _family("keys", 15), _family("XDP", 44), _family("CAN", 29), _family("TIPC", 30), _family("RDS", 21),
    _family("NFC", 39), _family("X.25", 9), _family("SMC", 43), _family("QIPCRTR", 42),
    Case("an address on a pair", """
        near, far = socket.socketpair()
        near.sendto(b'x', ('127.0.0.1', about['udp_port']))
    """, denied("EPERM"), raised("TypeError")),
    Case("sendmmsg", "call(307, CHANNEL, None, 0, 0)"),
    Case("accept", "channel().accept()"),
    Case("names", "return socket.getaddrinfo('jackfield.invalid', 80)", raised("gaierror"), _NO_SOCKET),
    Case("own addresses", "return socket.if_nameindex()"),
    Case("http.client", """
        import http.client
        connection = http.client.HTTPConnection('127.0.0.1', about['tcp_port'], timeout=2)
        connection.request('GET', '/')
        connection.getresponse()
    """, _NOT_GRANTED),
    Case("asyncio", """
        import asyncio
        asyncio.run(asyncio.open_connection('127.0.0.1', about['tcp_port']))
    """),
    Case("TLS", """
        import ssl
        return ssl.create_default_context().wrap_bio(None, None)
    """, raised("SSLError")),
    _url("decimal", "http://2130706433:PORT/", End("error", "url-refused")),
    _url("octal", "http://0177.0.0.1:PORT/", End("error", "url-refused")),
    _url("hexadecimal", "http://0x7f000001:PORT/", End("error", "url-refused")),
    _url("mapped", "http://[::ffff:127.0.0.1]:PORT/"),
    _url("nowhere", "http://0.0.0.0:PORT/"),
    _url("metadata", "http://169.254.169.254/latest/meta-data/"),
    Case("url of a file", """
        import urllib.request
        return urllib.request.urlopen('file://' + about['secret']).read().decode()
    """, raised("URLError", "ModuleNotFoundError", "ImportError"), denied("EPERM", "EACCES", "ENOENT")),
    Case("through a proxy", """
        import urllib.request
        proxy = urllib.request.ProxyHandler({'http': f"http://127.0.0.1:{about['tcp_port']}"})
        return urllib.request.build_opener(proxy).open('http://jackfield.invalid/', timeout=2).status
    """, End("error", "request-refused")),
    Case("ask the platform for a page", """
        return host_call(ctx, 'http', 'request', method='GET', url='http://127.0.0.1/')
    """, _NOT_GRANTED),
    Case("ask the platform for a socket", "return host_call(ctx, 'net', 'connect', host='127.0.0.1')", _UNKNOWN),
    Case("ask the platform for a file", "return host_call(ctx, 'files', 'read', path=about['secret'])",
         End("error", "file-path-invalid")),
    Case("ask the platform to run", "return host_call(ctx, 'os', 'system', command='id')", _UNKNOWN),
    Case("ask the platform for its insides", "return host_call(ctx, '__class__', '__init__')", _UNKNOWN),
])  # fmt: skip
