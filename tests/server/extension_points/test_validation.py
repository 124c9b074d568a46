"""What is kept of releases is bounded."""

from __future__ import annotations

from jackfield.extension_points.validation import OncePerRelease


def test_what_is_kept_of_releases_is_bounded() -> None:
    kept: OncePerRelease[int] = OncePerRelease()
    for n in range(10_000):
        assert kept.keep(str(n), n) == n
    assert kept.get("0") is None
    assert kept.get("9999") == 9999
    assert sum(kept.get(str(n)) is not None for n in range(10_000)) == 4096
