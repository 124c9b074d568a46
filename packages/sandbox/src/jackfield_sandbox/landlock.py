"""Landlock: every right that this kernel knows is handled, and none is given back.

Source: linux/Documentation/userspace-api/landlock.rst. Rights by ABI: files 1 (13 rights), 2 (+refer), 3 (+truncate),
5 (+ioctl on devices); TCP bind and connect 4; abstract sockets and signals 6.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from jackfield_sandbox.kernel import syscall

__all__ = ["SYS_RESTRICT_SELF", "abi", "create_ruleset"]

_SYS_CREATE_RULESET = 444
SYS_RESTRICT_SELF = 446
"""Enters a new domain under a ruleset; each caller gets its own, so siblings cannot signal each other."""
_CREATE_RULESET_VERSION = 1


def abi() -> int:
    """Version of the kernel's Landlock interface; 0 when there is none."""
    try:
        return syscall(_SYS_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return 0
        raise


def create_ruleset(version: int) -> int:
    """Descriptor of a ruleset without rules, which therefore denies all it handles."""
    file_rights = (1 << 13) - 1
    if version >= 2:
        file_rights |= 1 << 13
    if version >= 3:
        file_rights |= 1 << 14
    if version >= 5:
        file_rights |= 1 << 15
    attributes = struct.pack("<Q", file_rights)
    if version >= 4:
        attributes += struct.pack("<Q", 0b11)
    if version >= 6:
        attributes += struct.pack("<Q", 0b11)
    return syscall(_SYS_CREATE_RULESET, ctypes.c_char_p(attributes), len(attributes), 0)
