"""Files, by every name and way that there is; and files of its own, to fill the disk with."""

from __future__ import annotations

from tests.hostile.case import Case, Class, denied, raised
from tests.hostile.cases.plugins import PLAIN

__all__ = ["FILES"]

_NOWHERE = denied("EPERM", "EACCES", "ENOENT")

FILES = Class("files", PLAIN, [
    Case("a secret by its path", "return open(about['secret']).read()", _NOWHERE, gentle=True),
    Case("a secret by a path upwards", "return open('../../../../..' + about['secret']).read()", _NOWHERE,
         gentle=True),
    Case("a file that everybody may read", "return open('/etc/passwd').read()", _NOWHERE, gentle=True),
    Case("data about a file", "return os.stat('/etc/shadow').st_mode", _NOWHERE, gentle=True),
    Case("whether a file is there", "return call(21, b'/etc/passwd', 0)", _NOWHERE, gentle=True),
    Case("list the root directory", "os.close(os.open('/', os.O_RDONLY | os.O_DIRECTORY))", _NOWHERE, gentle=True),
    Case("list the working directory", "return os.listdir('.')", _NOWHERE),
    Case("name of the working directory", "return os.getcwd()", _NOWHERE, gentle=True),
    Case("change directory", "os.chdir('/')", _NOWHERE, gentle=True),
    Case("change root", "call(161, b'/')", _NOWHERE),
    Case("hold a path without opening it", "return os.open('/etc/passwd', os.O_PATH)", _NOWHERE),
    Case("open relative to a descriptor", "return os.open('etc/passwd', os.O_RDONLY, dir_fd=CHANNEL)",
         denied("EPERM", "ENOTDIR")),
    Case("openat2", "call(437, -100, b'/etc/passwd', ctypes.create_string_buffer(24), 24)", _NOWHERE),
    Case("handle of a file", """
        call(303, -100, b'/etc/passwd', ctypes.create_string_buffer(64), ctypes.create_string_buffer(4), 0)
    """, _NOWHERE),
    Case("open by handle", "call(304, CHANNEL, ctypes.create_string_buffer(64), 0)"),
    Case("through own descriptors", "return os.open(f'/proc/self/fd/{CHANNEL}', os.O_RDWR)", _NOWHERE, gentle=True),
    Case("through the root of a process", "return open('/proc/self/root/etc/passwd').read()", _NOWHERE, gentle=True),
    Case("through the root of another", "return open('/proc/1/root/etc/passwd').read()", _NOWHERE, gentle=True),
    Case("write where everybody may", "open(about['folder'] + '/written', 'w').write('x')", _NOWHERE, gentle=True),
    Case("make a folder", "os.mkdir(about['folder'] + '/made')", _NOWHERE, gentle=True),
    Case("symbolic link", "os.symlink('/etc/passwd', about['folder'] + '/link')", _NOWHERE, gentle=True),
    Case("hard link", "os.link(about['secret'], about['folder'] + '/hard')", _NOWHERE),
    Case("rename a file", "os.rename(about['secret'], about['folder'] + '/renamed')", _NOWHERE),
    Case("remove a file", "os.unlink(about['secret'])", _NOWHERE),
    Case("cut a file", "os.truncate(about['secret'], 0)", _NOWHERE),
    Case("touch a file", "os.utime(about['secret'], (0, 0))", _NOWHERE),
    Case("a device", "os.mknod(about['folder'] + '/null', 0o20666, os.makedev(1, 3))", _NOWHERE),
    Case("a named pipe", "os.mkfifo(about['folder'] + '/pipe')", _NOWHERE),
    Case("set the setuid bit", "os.chmod(about['secret'], 0o4755)", _NOWHERE),
    Case("give a file away", "os.chown(about['secret'], 1234, 1234)", _NOWHERE),
    Case("attributes of a file", "return os.listxattr('/')", _NOWHERE),
    Case("watch files, inotify", "os.close(call(294, 0))", gentle=True),
    Case("watch files, fanotify", "call(300, 0, 0)"),
    Case("fill the disk", """
        descriptor = os.open(about['folder'] + '/large', os.O_CREAT | os.O_WRONLY)
        os.posix_fallocate(descriptor, 0, 20 << 20)
    """, _NOWHERE),
    Case("a sparse file of a tebibyte", """
        descriptor = os.open(about['folder'] + '/sparse', os.O_CREAT | os.O_WRONLY)
        os.ftruncate(descriptor, 1 << 40)
    """, _NOWHERE),
    Case("files without number", """
        for number in range(1000):
            open(f"{about['folder']}/{number}", 'w').close()
    """, _NOWHERE),
    Case("lock a descriptor", """
        import fcntl
        fcntl.flock(CHANNEL, fcntl.LOCK_EX)
    """),
    Case("lock a range", """
        import fcntl
        fcntl.lockf(CHANNEL, fcntl.LOCK_EX)
    """),
    Case("a temporary file", """
        import tempfile
        return tempfile.mkstemp()
    """, raised("FileNotFoundError"), _NOWHERE),
    Case("a name with NUL", "return open('/etc/passwd\\0.txt').read()", raised("ValueError")),
    Case("a name that is no text", "return open('/etc/\\udcff').read()", _NOWHERE, raised("UnicodeEncodeError")),
    Case("import from a folder", """
        sys.path.append(about['folder'])
        import planted
        return planted.VALUE
    """, raised("ModuleNotFoundError")),
    Case("load source by its path", """
        import importlib.machinery
        return importlib.machinery.SourceFileLoader('planted', about['folder'] + '/planted.py').load_module().VALUE
    """, _NOWHERE),
    Case("load a library", "return ctypes.CDLL('libresolv.so.2')._handle", raised("OSError")),
    Case("the host's terminal", "return os.open('/dev/tty', os.O_RDWR)", denied("EPERM", "EACCES", "ENOENT", "ENXIO")),
    Case("the machine's memory", "return os.open('/dev/mem', os.O_RDONLY)", _NOWHERE),
    Case("the kernel's messages", "return os.open('/dev/kmsg', os.O_RDONLY)", _NOWHERE),
    Case("write everything to disk", "call(162)"),
    Case("send a file to oneself", "call(40, CHANNEL, CHANNEL, None, 1)"),
    Case("splice", "call(275, CHANNEL, None, CHANNEL, None, 1, 0)"),
])  # fmt: skip
