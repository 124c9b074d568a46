"""Descriptors that were left open, too many of them, and descriptors for the server."""

from __future__ import annotations

from tests.hostile.case import CRASHED, MEMORY, OK, VIOLATION, Case, Class, End, denied
from tests.hostile.cases.plugins import PLAIN

__all__ = ["DESCRIPTORS"]

DESCRIPTORS = Class("descriptors", PLAIN, [
    Case("whatever was left open", """
        found = []
        for number in range(4096):
            try:
                os.lseek(number, 0, os.SEEK_CUR)
            except OSError as error:
                # A socket cannot be sought in, a closed descriptor does not exist.
                if error.errno == errno.EBADF:
                    continue
            found.append(number)
        return [number for number in found if number != CHANNEL] + [CHANNEL in found]
    """, OK, accepts=lambda found: found == [True], gentle=True),
    Case("standard output", "os.write(1, b'x')", denied("EBADF"), gentle=True),
    Case("standard error of the interpreter", "sys.__stderr__.write('x'); sys.__stderr__.flush()", denied("EBADF"),
         End("error", "plugin-error")),
    Case("dup", "os.dup(CHANNEL)"),
    Case("dup onto the channel", "os.dup2(CHANNEL, 5)"),
    Case("dup by fcntl", """
        import fcntl
        taken = []
        while len(taken) < 5000:
            taken.append(fcntl.fcntl(CHANNEL, fcntl.F_DUPFD, 0))
    """, denied("EPERM"), gentle=True),
    Case("socket pairs without end", """
        taken = []
        while len(taken) < 5000:
            taken.append(socket.socketpair())
    """, denied("EMFILE"), gentle=True),
    Case("pollers without end", """
        import select
        taken = []
        while len(taken) < 5000:
            taken.append(select.epoll())
    """, denied("EMFILE"), gentle=True),
    Case("more descriptors than are allowed", """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (100_000, 100_000))
    """, End("error", "plugin-error", "ValueError|Errno 1")),
    Case("pollers in pollers", """
        import select
        chain = [select.epoll()]
        for _ in range(30):
            outer = select.epoll()
            outer.register(chain[-1].fileno())
            chain.append(outer)
    """, denied("EINVAL", "ELOOP", "EMFILE")),
    Case("a descriptor for the server", """
        import array
        channel().sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [CHANNEL]))])
    """),
    Case("a descriptor for oneself", """
        near, far = socket.socketpair()
        near.sendmsg([b'x'])
    """),
    Case("a descriptor from the server", "channel().recvmsg(16, 64)"),
    Case("who is at the other end", """
        return channel().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12).hex()
    """, gentle=True),
    Case("name of the other end", "return channel().getpeername()", gentle=True),
    Case("a huge send buffer", """
        channel().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
    """),
    Case("out-of-band data", """
        near, far = socket.socketpair()
        near.send(b'x', socket.MSG_OOB)
    """, gentle=True),
    Case("read out-of-band data", """
        near, far = socket.socketpair()
        far.recv(1, socket.MSG_OOB)
    """),
    Case("send without copying", """
        near, far = socket.socketpair()
        near.send(b'x', 0x4000000)
    """),
    Case("events by descriptor", "os.close(call(290, 0, 0))"),
    Case("timers by descriptor", "os.close(call(283, 0, 0))"),
    Case("data on a pair", """
        near, far = socket.socketpair()
        near.send(b'there')
        return far.recv(5).decode()
    """, OK, accepts=lambda text: text == "there"),
    Case("a datagram pair", "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)"),
    Case("a packet pair", "socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)"),
    Case("turn a pair towards the server", """
        near, far = socket.socketpair()
        near.connect('\\0' + about['abstract'])
    """),
    Case("listen on a pair", """
        near, far = socket.socketpair()
        near.listen()
    """),
    Case("give a pair an address", """
        near, far = socket.socketpair()
        near.bind('\\0hostile')
    """),
    Case("close the channel", "os.close(CHANNEL)", CRASHED),
    Case("end one direction of the channel", "channel().shutdown(socket.SHUT_RDWR)", CRASHED),
    Case("put something else in the channel's place", """
        os.close(CHANNEL)
        pairs = [socket.socketpair() for _ in range(20)]
        return len(pairs)
    """, CRASHED),
    Case("a channel that does not block", """
        os.set_blocking(CHANNEL, False)
        return 'x' * 900_000
    """, OK, CRASHED, VIOLATION, MEMORY, accepts=lambda text: len(text) == 900_000),
])  # fmt: skip
