"""No committed file names a package registry's host, or a place on a developer's machine."""

from __future__ import annotations

import re

from tools.committed import ROOT, committed_files

# In pieces, so that this file does not hold what it forbids.
HOSTS = [
    ("py", "pi.org"),
    ("python", "hosted.org"),
    ("npm", "js.org"),
    ("npm", "js.com"),
    ("yarn", "pkg.com"),
    ("deb.", "debian.org"),
    ("crates", ".io"),
    ("proxy.", "golang.org"),
]
HOMES = ["work", "root", "farm", "Users"]

FORBIDDEN = re.compile(
    "|".join(
        [
            *(re.escape("".join(pieces)) for pieces in HOSTS),
            # An absolute path only: `benchmarks/work/` and `$HOME/root/` are somebody's relative folders.
            rf"(?<![\w.}}-])/(?:{'|'.join(HOMES)})/",
        ]
    ).encode()
)


def test_no_registry_host_and_no_machine_path_is_committed() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in committed_files()
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        if FORBIDDEN.search(line)
    ]
    assert not found


def test_the_search_would_find_them() -> None:
    for pieces in HOSTS:
        assert FORBIDDEN.search(f"https://{''.join(pieces)}/simple".encode())
    for home in HOMES:
        assert FORBIDDEN.search(f'"/{home}/somebody'.encode())
