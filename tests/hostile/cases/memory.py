"""More memory than was asked for, in every form that the kernel gives it."""

from __future__ import annotations

from tests.hostile.case import CPU, CRASHED, MEMORY, OK, STRICT, TIMEOUT, Case, Class, End, denied, raised
from tests.hostile.cases.plugins import SMALL

__all__ = ["MEMORY_HOGS"]

MEMORY_HOGS = Class("memory", SMALL, [
    Case("ten gigabytes at once", "return len(bytearray(10 << 30))", MEMORY),
    Case("small objects without end", """
        hoard = []
        while True:
            hoard.append([len(hoard)])
    """, MEMORY),
    Case("touch every page", """
        hoard = []
        while True:
            hoard.append(bytearray(b'x') * (1 << 20))
    """, MEMORY),
    Case("map 600 MB", """
        import mmap
        return len(mmap.mmap(-1, 600 << 20))
    """, denied("ENOMEM"), gentle=True),
    Case("map without reserving", "return mapping(100 << 30, 3, 0x4022)", denied("ENOMEM"), gentle=True),
    Case("huge pages", "return mapping(64 << 21, 3, 0x40022)", denied("EPERM"), gentle=True),
    Case("have equal pages merged", "return call(28, mapping(4096, 3), 4096, 12)", gentle=True),
    Case("have pages paged out", "return call(28, mapping(4096, 3), 4096, 21)", gentle=True),
    Case("lock memory", "return mapping(1 << 20, 3, 0x2022)", denied("EAGAIN", "EPERM")),
    Case("lock all memory", "call(151, 3)"),
    Case("memory shared with others, System V", "return call(31, call(29, 0, 1 << 20, 0o1600), 0, 0)",
         gentle=True),
    Case("memory shared with others, POSIX", "return os.open('/dev/shm/hostile', os.O_CREAT | os.O_RDWR)"),
    Case("memory in a file without a name", "return os.memfd_create('hoard')", gentle=True),
    Case("memory in pipes", "return os.pipe()", gentle=True),
    Case("memory in socket buffers", """
        pairs, held = [], 0
        try:
            while True:
                near, far = socket.socketpair()
                near.setblocking(False)
                pairs.append((near, far))
                try:
                    while True:
                        held += near.send(bytes(65536))
                except BlockingIOError:
                    pass
        except OSError as error:
            assert error.errno == errno.EMFILE, error
        return held >> 20
    """, OK, MEMORY, accepts=lambda megabytes: megabytes < 64),
    Case("memory in socket buffers, beside all of its own", """
        own = mapping(56 << 20, 3)
        ctypes.memset(own, 1, 56 << 20)
        pairs = []
        for _ in range(28):
            pairs.append(socket.socketpair())
            for near in pairs[-1]:
                near.setblocking(False)
                try:
                    while True:
                        near.send(bytes(65536))
                except BlockingIOError:
                    pass
        return len(pairs)
    """, MEMORY, levels=STRICT, gentle=True),
    Case("raise the limit", """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    """, raised("ValueError"), denied(), gentle=True),
    Case("raise a neighbour's limit", """
        on_any(lambda pid: call(302, pid, 9, 0, ctypes.create_string_buffer(16)))
    """, gentle=True),
    Case("recursion", """
        def deeper():
            return deeper()
        return deeper()
    """, raised("RecursionError")),
    Case("recursion without a limit", """
        sys.setrecursionlimit(1 << 30)
        def deeper(n):
            return [deeper(n + 1)]
        return deeper(0)
    """, MEMORY, CRASHED, raised("SystemError")),
    Case("recursion in C", """
        sys.setrecursionlimit(1 << 30)
        class Deep:
            def __getattr__(self, name):
                return getattr(self, name + 'x')
        return Deep().a
    """, MEMORY, CRASHED),
    Case("nested source", "return eval('(' * 100_000 + ')' * 100_000)", MEMORY, raised("MemoryError", "SyntaxError")),
    Case("a bomb of zeros", """
        import zlib
        packer = zlib.compressobj(1)
        bomb = b''.join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
        return len(zlib.decompress(bomb))
    """, MEMORY),
    Case("a text without end", "return len('x' * (10 << 30))", MEMORY),
    Case("a list without end", """
        import itertools
        return list(itertools.count())
    """, MEMORY),
    Case("a number without end", "return (1 << (1 << 36)).bit_length()", MEMORY, raised("OverflowError")),
    Case("never give up asking", """
        hoard = []
        while True:
            try:
                hoard.append(bytearray(1 << 20))
            except MemoryError:
                pass
    """, CPU, TIMEOUT, MEMORY),
    Case("catch the end of memory and go on", """
        try:
            bytearray(10 << 30)
        except MemoryError:
            return 'alive'
    """, OK, accepts=lambda value: value == "alive"),
    Case("fill the storage", """
        for number in range(900):
            ctx.storage.set(f'k{number}', 'x' * 200_000)
        return number
    """, End("error", "storage-full")),
])  # fmt: skip
