"""Version ranges mean what authors expect them to mean."""

from __future__ import annotations

import pytest

from jackfield.resolution import RangeInvalidError, VersionRange, newest

VERSIONS = ["0.9.0", "1.0.0", "1.2.0", "1.2.9", "1.3.0-rc.1", "1.3.0", "2.0.0-alpha", "2.0.0", "10.0.0"]


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("*", ["0.9.0", "1.0.0", "1.2.0", "1.2.9", "1.3.0", "2.0.0", "10.0.0"]),
        ("", ["0.9.0", "1.0.0", "1.2.0", "1.2.9", "1.3.0", "2.0.0", "10.0.0"]),
        (">=1.2,<2", ["1.2.0", "1.2.9", "1.3.0"]),
        (" >=1.2 , <2 ", ["1.2.0", "1.2.9", "1.3.0"]),
        ("^1.2", ["1.2.0", "1.2.9", "1.3.0"]),
        ("~1.2.0", ["1.2.0", "1.2.9"]),
        ("==1.2.0", ["1.2.0"]),
        ("!=1.2.0,<1.3", ["0.9.0", "1.0.0", "1.2.9"]),
        (">2", ["10.0.0"]),
        (">=1.3.0-rc.1,<2", ["1.3.0-rc.1", "1.3.0"]),
        (">=2.0.0-alpha", ["2.0.0-alpha", "2.0.0", "10.0.0"]),
    ],
)
def test_a_range_holds(text: str, inside: list[str]) -> None:
    assert [version for version in VERSIONS if version in VersionRange(text)] == inside


@pytest.mark.parametrize(
    "text", ["latest", ">=1.2 <2", "1.x", "^", ">=1.2,,<2", "1.0.0 || 2.0.0", "=>1", "١.0", ">=1.2;<2"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(RangeInvalidError) as caught:
        VersionRange(text)
    assert caught.value.code == "range-invalid"


def test_the_newest_goes_by_precedence_and_prefers_what_is_finished() -> None:
    assert newest(VERSIONS) == "10.0.0"
    assert newest(["1.9.0", "2.0.0-rc.1"]) == "1.9.0"
    assert newest(["2.0.0-rc.2", "2.0.0-rc.10"]) == "2.0.0-rc.10"
    assert newest([]) is None
