"""Looking into other processes, and into what this one was made from."""

from __future__ import annotations

from tests.hostile.case import CRASHED, OK, Case, Class, denied, raised
from tests.hostile.cases.plugins import PLAIN

__all__ = ["INTROSPECTION"]

_NOWHERE = denied("EPERM", "EACCES", "ENOENT")

INTROSPECTION = Class("introspection", PLAIN, [
    Case("trace a neighbour", """
        on_any(lambda pid: (call(101, 16, pid, 0, 0), call(101, 17, pid, 0, 0)))
    """),
    Case("be traced", "call(101, 0, 0, 0, 0)"),
    Case("read a neighbour's memory", """
        buffer = ctypes.create_string_buffer(8)
        vector = (ctypes.c_size_t * 2)(address(buffer), 8)
        on_any(lambda pid: call(310, pid, vector, 1, vector, 1, 0))
    """, gentle=True),
    Case("write a neighbour's memory", """
        buffer = ctypes.create_string_buffer(8)
        vector = (ctypes.c_size_t * 2)(address(buffer), 8)
        on_any(lambda pid: call(311, pid, vector, 1, vector, 0, 0))
    """),
    Case("read a neighbour's memory as a file", """
        on_any(lambda pid: os.open(f'/proc/{pid}/mem', os.O_RDONLY))
    """, _NOWHERE, gentle=True),
    Case("read a neighbour's environment", """
        on_any(lambda pid: open(f'/proc/{pid}/environ', 'rb').read())
    """, _NOWHERE, gentle=True),
    Case("read the server's environment", "return open(f\"/proc/{about['pid']}/environ\").read()", _NOWHERE),
    Case("read the server's command line", "return open(f\"/proc/{about['pid']}/cmdline\").read()", _NOWHERE),
    Case("read own memory map", "return open('/proc/self/maps').read()", _NOWHERE),
    Case("list processes", "return os.listdir('/proc')", _NOWHERE, gentle=True),
    Case("take hold of a neighbour", "on_any(lambda pid: call(434, pid, 0))", gentle=True),
    Case("take a neighbour's descriptors", "call(438, CHANNEL, 0, 0)"),
    Case("compare kernel objects", "on_any(lambda pid: call(312, pid, os.getpid(), 0, 0, 0))"),
    Case("a neighbour's processor time", "return on_any(lambda pid: time.clock_gettime(~pid << 3 | 2))", gentle=True),
    Case("the server's processor time", "return time.clock_gettime(~about['pid'] << 3 | 2)", denied(), gentle=True),
    Case("resolution of a neighbour's clock", """
        return on_any(lambda pid: call(229, ~pid << 3 | 2, ctypes.create_string_buffer(16)))
    """, gentle=True),
    Case("sleep on a neighbour's clock", """
        return on_any(lambda pid: call(230, ~pid << 3 | 2, 0, ctypes.create_string_buffer(16), None))
    """, gentle=True),
    Case("a clock of the kernel's devices", "return call(228, ~CHANNEL << 3 | 3, ctypes.create_string_buffer(16))"),
    Case("own processor time is one's own", "return time.process_time() > 0 and time.thread_time() > 0", OK,
         accepts=lambda value: value is True),
    Case("a neighbour's processors", "return on_any(lambda pid: sorted(os.sched_getaffinity(pid)))", gentle=True),
    Case("own processors are one's own", "return len(os.sched_getaffinity(0)) > 0", OK,
         accepts=lambda value: value is True),
    Case("a neighbour's priority", "return on_any(lambda pid: os.getpriority(os.PRIO_PROCESS, pid))", gentle=True),
    Case("a neighbour's scheduler", "return on_any(lambda pid: os.sched_getscheduler(pid))", gentle=True),
    Case("a neighbour's limits", """
        return on_any(lambda pid: call(302, pid, 7, None, ctypes.create_string_buffer(16)))
    """, gentle=True),
    Case("a neighbour's session", "return on_any(lambda pid: os.getsid(pid))", gentle=True),
    Case("a neighbour's robust list", "call(274, 1, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8))"),
    Case("a neighbour's pages", "call(279, 1, 0, None, None, None, 0)"),
    Case("advise about a neighbour's memory", "call(440, CHANNEL, None, 0, 4, 0)"),
    Case("which pages others have in memory", """
        page = mapping(4096, 3)
        return call(27, page, 4096, ctypes.create_string_buffer(1))
    """, gentle=True),
    Case("count the machine's events", "call(298, ctypes.create_string_buffer(120), 0, -1, -1, 0)"),
    Case("name of the machine", "return os.uname().nodename", gentle=True),
    Case("load of the machine", "return call(99, ctypes.create_string_buffer(256))", gentle=True),
    Case("own capabilities", "call(125, ctypes.create_string_buffer(8), ctypes.create_string_buffer(24))"),
    Case("be dumped", "call(157, 4, 1, 0, 0, 0)"),
    Case("allow core dumps", """
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    """, raised("ValueError"), denied()),
    Case("dump core", "os.abort()", CRASHED),
    Case("the environment it was started with", "return sorted(os.environ)", OK,
         accepts=lambda names: set(names) <= {
             "HOME", "LANG", "LC_CTYPE", "LD_BIND_NOW", "MALLOC_ARENA_MAX", "PYTHONUTF8",
         }),
    Case("the environment on its stack", """
        environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')
        found = []
        while environ[len(found)]:
            found.append(environ[len(found)].decode())
        return found
    """, OK, accepts=lambda values: not any("canary" in value.lower() for value in values)),
    Case("what the collector knows", """
        import gc
        gc.unfreeze()
        needle = about['mark'] + ':'
        found = 0
        for item in gc.get_objects():
            values = list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else ()
            found += sum(needle in value for value in values if type(value) is str)
        return found
    """, OK, accepts=lambda found: found == 0),
    Case("what lies on the heap", """
        # From the end of the break downwards, as long as a harmless call finds pages there.
        end = call(12, 0) & ~4095
        pages = 0
        while pages < 4096:
            try:
                call(14, 0, end - (pages + 1) * 4096, None, 8)
            except OSError:
                break
            pages += 1
        heap = ctypes.string_at(end - pages * 4096, pages * 4096)
        return [pages > 0, (about['mark'] + ':').encode() in heap]
    """, OK, accepts=lambda found: found == [True, False]),
])  # fmt: skip
