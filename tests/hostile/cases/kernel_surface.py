"""The rest of the kernel: calls that no plugin needs, each with its number on x86-64."""

from __future__ import annotations

from tests.hostile.case import CRASHED, MEMORY, OK, VIOLATION, Case, Class, denied, raised
from tests.hostile.cases.plugins import KERNEL

__all__ = ["KERNEL_SURFACE"]


def _number(name: str, number: int, arguments: str = "0, 0, 0, 0, 0, 0") -> Case:
    return Case(name, f"call({number}, {arguments})")


_PAGE = "ctypes.create_string_buffer(4096)"

KERNEL_SURFACE = Class("kernel", KERNEL, [
    Case("io_uring", f"os.close(call(425, 4, {_PAGE}))", gentle=True),
    _number("io_uring_enter", 426), _number("io_uring_register", 427),
    Case("userfaultfd", "os.close(call(323, 1))", gentle=True),
    _number("bpf", 321, f"5, {_PAGE}, 128"),
    Case("add_key", "call(248, b'user', b'x', b'x', 1, -3)", gentle=True),
    _number("request_key", 249, "b'user', b'x', None, -3"), _number("keyctl", 250, "0, -3, 1"),
    Case("a user namespace", "call(272, 0x10000000)"),
    _number("setns", 308, "200, 0"), _number("mount", 165, "b'x', b'/', b'tmpfs', 0, None"),
    _number("umount", 166, "b'/', 2"), _number("pivot_root", 155, "b'.', b'.'"), _number("fsopen", 430, "b'proc', 0"),
    _number("open_tree", 428, "-100, b'/', 1"), _number("move_mount", 429), _number("mount_setattr", 442),
    _number("personality", 135, "0x0400000"), _number("modify_ldt", 154, f"0, {_PAGE}, 16"),
    _number("arch_prctl", 158, f"0x1003, {_PAGE}"), _number("iopl", 172, "3"), _number("ioperm", 173, "0, 1, 1"),
    _number("quotactl", 179), _number("syslog", 103, f"3, {_PAGE}, 4096"), _number("swapon", 167, "b'/x', 0"),
    _number("kexec_load", 246), _number("kexec_file_load", 320), _number("init_module", 175),
    _number("finit_module", 313), _number("delete_module", 176, "b'x', 0"), _number("reboot", 169),
    _number("settimeofday", 164), _number("clock_settime", 227), _number("clock_adjtime", 305),
    _number("sethostname", 170, "b'x', 1"), _number("acct", 163, "None"), _number("vhangup", 153),
    _number("setuid", 105, "0"), _number("setgid", 106, "0"), _number("setgroups", 116, "0, None"),
    _number("setresuid", 117, "0, 0, 0"), _number("capset", 126), _number("seccomp", 317, "1, 0, 0"),
    _number("landlock", 444, "None, 0, 1"), _number("membarrier", 324, "0, 0, 0"), _number("mq_open", 240, "b'x', 64"),
    _number("semget", 64, "0, 1, 0o1600"), _number("msgget", 68, "0, 0o1600"), _number("shmat", 30),
    _number("io_setup", 206, f"1, {_PAGE}"), _number("set_mempolicy", 238), _number("mbind", 237),
    _number("migrate_pages", 256), _number("remap_file_pages", 216), _number("pkey_mprotect", 329),
    _number("pkey_alloc", 330), _number("memfd_secret", 447, "0"), _number("process_mrelease", 448),
    _number("futex_waitv", 449), _number("cachestat", 451), _number("map_shadow_stack", 453, "0, 4096, 0"),
    _number("statmount", 457), _number("listmount", 458), _number("lsm_get_self_attr", 459), _number("mseal", 462),
    _number("uselib", 134, "b'x'"), _number("sysfs", 139, "3"), _number("set_tid_address", 218),
    _number("a call of the future", 999), _number("a call that never was", 4095), _number("a negative number", -1),
    Case("priority inheritance by futex", """
        word = ctypes.c_int(0)
        call(202, ctypes.byref(word), 6, 0, None)
    """, denied("ENOSYS"), gentle=True),
    Case("requeue to a futex with priorities", """
        words = (ctypes.c_int * 2)(0, 0)
        call(202, address(words), 12, 1, 1, address(words) + 4, 0)
    """, denied("ENOSYS")),
    Case("rseq again", f"call(334, {_PAGE}, 32, 0, 0)", denied("EPERM", "EINVAL", "EBUSY")),
    _number("x32 getpid", 39 | 0x40000000), _number("x32 ptrace", 521 | 0x40000000),
    Case("type into a terminal", "call(16, CHANNEL, 0x5412, b'x')", denied("ENOTTY"), gentle=True),
    Case("type into a terminal, with a high word", "call(16, CHANNEL, 0x5412 | 1 << 32, b'x')", denied("ENOTTY")),
    Case("a device's control", "call(16, CHANNEL, 0x5452 + 1, b'x')", denied("ENOTTY")),
    Case("executable memory", "return mapping(4096, 7)", gentle=True),
    Case("make memory executable", "return call(10, mapping(4096, 3), 4096, 5)", gentle=True),
    Case("make the stack executable", "return call(10, address(ctypes.create_string_buffer(8)) & ~4095, 4096, 7)"),
    Case("machine code", """
        page = mapping(4096, 3)
        ctypes.memmove(page, b'\\xb8\\x01\\x00\\x00\\x00\\xc3', 6)
        return ctypes.CFUNCTYPE(ctypes.c_int)(page)()
    """, CRASHED),
    Case("a call of the 32-bit kind, in machine code", """
        page = mapping(4096, 3)
        ctypes.memmove(page, b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3', 8)
        call(10, page, 4096, 5)
        return ctypes.CFUNCTYPE(ctypes.c_int)(page)()
    """, denied(), VIOLATION, gentle=True),
    Case("callbacks from C", "return ctypes.CFUNCTYPE(None)(lambda: None) is not None", MEMORY, raised("MemoryError"),
         gentle=True),
    Case("more rights by prctl", "call(157, 38, 0, 0, 0, 0)"),
    Case("loosen the filter", "call(157, 22, 0, 0, 0, 0)"),
    Case("speculation switched off for others", "call(157, 53, 0, 4, 0, 0)"),
    Case("ordinary calls", "return [os.getpid() > 0, os.getuid() >= 0, len(os.urandom(8))]", OK,
         accepts=lambda value: value == [True, True, 8]),
])  # fmt: skip
