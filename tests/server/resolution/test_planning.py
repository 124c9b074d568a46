"""A plan holds for everybody, or says in sentences why there is none."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.errors import JackfieldError
from jackfield.resolution import (
    Candidate,
    Dependency,
    DependencyConflictError,
    DependencyCycleError,
    DependencyMissingError,
    HasDependantsError,
    Install,
    Plan,
    RangeInvalidError,
    Uninstall,
    VersionRange,
    candidate_of,
    plan,
)
from jackfield_sdk.manifest import Manifest, PluginDependency


def release(name: str, *needs: str, **more: Any) -> Candidate:
    """`release("booking 1.0.0", "calendar ^1", "mail? *")`: a question mark makes a need optional."""
    slug, version = name.split()
    requires = [need.partition(" ") for need in needs]
    return Candidate(
        slug, version, tuple(Dependency(s.rstrip("?"), v or "*", s.endswith("?")) for s, _, v in requires), **more
    )


def catalogue(*releases: Candidate) -> dict[str, list[Candidate]]:
    found: dict[str, list[Candidate]] = {}
    for one in releases:
        found.setdefault(one.slug, []).append(one)
    return found


def planned(want: Any, have: Iterable[Candidate], *offers: Candidate, platform: str = "1.0.0") -> Plan:
    return plan(want if isinstance(want, list) else [want], have, catalogue(*offers), platform=platform)


def steps(found: Plan) -> list[str]:
    """As `install calendar 1.0.0` and `update calendar 1.0.0→2.0.0`."""
    return [
        f"{s.action} {s.slug} " + (f"{s.from_version}→{s.version}" if s.from_version else s.version)
        for s in found.steps
    ]


# -- install ---------------------------------------------------------------------------------------------------------


def test_the_newest_release_is_chosen() -> None:
    offers = [release("a 1.0.0"), release("a 1.10.0"), release("a 1.9.0"), release("a 2.0.0-rc.1")]
    assert steps(planned(Install("a"), [], *offers)) == ["install a 1.10.0"]


def test_the_newest_in_the_range_is_chosen() -> None:
    offers = [release("a 1.0.0"), release("a 1.4.0"), release("a 2.0.0")]
    assert steps(planned(Install("a", "^1.2"), [], *offers)) == ["install a 1.4.0"]


def test_what_is_needed_comes_first() -> None:
    found = planned(
        Install("shop"),
        [],
        release("shop 1.0.0", "booking ^1", "mail ^1"),
        release("booking 1.0.0", "calendar ^1"),
        release("calendar 1.0.0"),
        release("mail 1.0.0", "calendar ^1"),
    )
    assert steps(found) == [
        "install calendar 1.0.0",
        "install booking 1.0.0",
        "install mail 1.0.0",
        "install shop 1.0.0",
    ]
    assert found.steps[0].because == "booking 1.0.0 needs calendar ^1; mail 1.0.0 needs calendar ^1."
    assert found.steps[3].because == "You asked for it."
    assert found.needs["shop"] == ("booking", "mail")


def test_what_is_installed_and_fits_is_left_alone() -> None:
    have = [release("calendar 1.0.0")]
    found = planned(
        Install("booking"),
        have,
        release("booking 1.0.0", "calendar ^1"),
        release("calendar 1.0.0"),
        release("calendar 1.5.0"),
    )
    assert steps(found) == ["install booking 1.0.0"]
    assert found.needs == {"booking": ("calendar",), "calendar": ()}


def test_what_is_installed_and_does_not_fit_is_updated() -> None:
    found = planned(
        Install("booking"),
        [release("calendar 1.0.0")],
        release("booking 1.0.0", "calendar ^2"),
        release("calendar 2.0.0"),
        release("calendar 2.1.0"),
        release("calendar 3.0.0"),
    )
    assert steps(found) == ["update calendar 1.0.0→2.1.0", "install booking 1.0.0"]
    assert found.steps[0].because == "booking 1.0.0 needs calendar ^2."


def test_an_older_release_is_taken_when_the_newest_would_break_what_is_installed() -> None:
    found = planned(
        Install("booking"),
        [release("calendar 1.0.0"), release("mail 1.0.0", "calendar <2")],
        release("booking 2.0.0", "calendar ^2"),
        release("booking 1.0.0", "calendar ^1"),
        release("calendar 2.0.0"),
    )
    assert steps(found) == ["install booking 1.0.0"]


def test_nothing_goes_back_behind_what_is_installed_unless_it_is_named() -> None:
    offers = [release("booking 1.0.0", "calendar ^1"), release("calendar 1.0.0"), release("calendar 2.0.0")]
    have = [release("calendar 2.0.0")]
    with pytest.raises(DependencyConflictError, match=r"calendar 1\.0\.0 is older than the installed 2\.0\.0"):
        planned(Install("booking"), have, *offers)
    found = planned([Install("booking"), Install("calendar", "^1")], have, *offers)
    assert steps(found) == ["update calendar 2.0.0→1.0.0", "install booking 1.0.0"]


def test_asking_for_what_is_installed_asks_for_its_newest_release() -> None:
    offers = [release("a 1.0.0"), release("a 1.1.0")]
    assert steps(planned(Install("a"), [release("a 1.0.0")], *offers)) == ["update a 1.0.0→1.1.0"]
    assert steps(planned(Install("a", "==1.0.0"), [release("a 1.0.0")], *offers)) == []


def test_several_wishes_are_one_plan() -> None:
    found = planned(
        [Install("a"), Install("b")], [], release("a 2.0.0", "c ^2"), release("a 1.0.0"), release("b 1.0.0", "c ^1"),
        release("c 1.0.0"), release("c 2.0.0"),
    )  # fmt: skip
    assert steps(found) == ["install a 1.0.0", "install c 1.0.0", "install b 1.0.0"]


def test_a_withdrawn_release_is_not_chosen_and_not_thrown_out() -> None:
    offers = [release("a 1.0.0"), release("a 1.1.0", is_yanked=True), release("b 1.0.0", "a ^1")]
    assert steps(planned(Install("b"), [], *offers)) == ["install a 1.0.0", "install b 1.0.0"]
    assert steps(planned(Install("b"), [release("a 1.1.0", is_yanked=True)], *offers)) == ["install b 1.0.0"]
    with pytest.raises(DependencyConflictError, match=r"a 1\.1\.0 was withdrawn"):
        planned(Install("a", "==1.1.0"), [], *offers)


def test_a_release_for_another_platform_is_not_chosen() -> None:
    offers = [release("a 1.0.0", platform=">=1"), release("a 2.0.0", platform=">=2")]
    assert steps(planned(Install("a"), [], *offers)) == ["install a 1.0.0"]
    with pytest.raises(DependencyConflictError, match=r"a 2\.0\.0 runs on platform >=2; this is 1\.0\.0"):
        planned(Install("a", "^2"), [], *offers)


def test_a_pre_release_must_be_named_and_stays_where_it_is_installed() -> None:
    offers = [release("a 1.0.0-beta"), release("b 1.0.0", "a >=0.9")]
    with pytest.raises(DependencyConflictError, match="pre-release"):
        planned(Install("a"), [], *offers)
    assert steps(planned(Install("a", ">=1.0.0-alpha"), [], *offers)) == ["install a 1.0.0-beta"]
    assert steps(planned(Install("b"), [release("a 1.0.0-beta")], *offers)) == ["install b 1.0.0"]


# -- optional needs --------------------------------------------------------------------------------------------------


def test_an_optional_need_brings_nothing_in() -> None:
    assert steps(planned(Install("a"), [], release("a 1.0.0", "mail? ^1"), release("mail 1.0.0"))) == [
        "install a 1.0.0"
    ]


def test_an_optional_need_must_fit_what_is_there() -> None:
    offers = [release("a 1.0.0", "mail? ^2"), release("mail 2.0.0")]
    found = planned(Install("a"), [release("mail 1.0.0")], *offers)
    assert steps(found) == ["update mail 1.0.0→2.0.0", "install a 1.0.0"]
    with pytest.raises(DependencyConflictError):
        planned(Install("a"), [release("mail 1.0.0")], offers[0])


def test_an_optional_need_must_fit_what_comes_in_by_another_way() -> None:
    found = planned(
        Install("a"), [], release("a 1.0.0", "mail? <2", "shop *"), release("shop 1.0.0", "mail *"),
        release("mail 1.0.0"), release("mail 2.0.0"),
    )  # fmt: skip
    assert steps(found) == ["install mail 1.0.0", "install shop 1.0.0", "install a 1.0.0"]


def test_an_optional_need_that_drives_out_what_brought_its_plugin_brings_it_in_no_more() -> None:
    found = planned(
        Install("a"), [], release("a 1.0.0", "mail? <2", "shop *"), release("shop 2.0.0", "mail >=2"),
        release("shop 1.0.0"), release("mail 1.0.0"), release("mail 2.0.0"),
    )  # fmt: skip
    assert steps(found) == ["install shop 1.0.0", "install a 1.0.0"]


def test_optional_needs_may_run_in_a_circle() -> None:
    offers = [release("a 1.0.0", "b? *"), release("b 1.0.0", "a *")]
    assert steps(planned([Install("a"), Install("b")], [], *offers)) == ["install a 1.0.0", "install b 1.0.0"]


# -- why not ---------------------------------------------------------------------------------------------------------


def test_a_conflict_is_told_in_sentences() -> None:
    with pytest.raises(DependencyConflictError) as caught:
        planned(
            Install("booking"),
            [release("calendar 1.0.0"), release("loyalty 1.1.0", "calendar <2")],
            release("booking 2.0.0", "calendar >=2"),
            release("calendar 2.0.0"),
        )
    assert caught.value.code == "dependency-conflict"
    assert caught.value.data["plugin"] == "calendar"
    assert caught.value.data["explanation"] == [
        "calendar must be there: it is installed.",
        "booking 2.0.0 needs calendar >=2.",
        "loyalty 1.1.0 needs calendar <2.",
        "To choose from: calendar 2.0.0, 1.0.0.",
    ]


def test_a_plugin_that_does_not_exist_is_named() -> None:
    with pytest.raises(DependencyMissingError) as caught:
        planned(Install("booking"), [], release("booking 1.0.0", "calendar ^1"))
    assert caught.value.data["explanation"] == [
        "booking 1.0.0 needs calendar ^1.",
        "There is no plugin calendar.",
    ]
    with pytest.raises(DependencyMissingError, match="There is no plugin ghost"):
        planned(Install("ghost"), [])


def test_an_older_release_without_the_missing_plugin_is_taken() -> None:
    offers = [release("booking 2.0.0", "ghost *"), release("booking 1.0.0")]
    assert steps(planned(Install("booking"), [], *offers)) == ["install booking 1.0.0"]


def test_a_circle_is_told_the_same_way_wherever_one_starts() -> None:
    offers = [
        release("a 1.0.0", "b *"),
        release("b 1.0.0", "c *"),
        release("c 1.0.0", "a *"),
        release("d 1.0.0", "c *"),
    ]
    for slug in "abcd":
        with pytest.raises(DependencyCycleError) as caught:
            planned(Install(slug), [], *offers)
        assert caught.value.data["cycle"] == ["a", "b", "c", "a"]
        assert str(caught.value) == "These plugins need one another in a circle: a → b → c → a."


def test_a_gap_in_what_is_installed_is_not_this_plans_business() -> None:
    have = [release("old 1.0.0", "gone ^1")]
    assert steps(planned(Install("a"), have, release("a 1.0.0"))) == ["install a 1.0.0"]
    with pytest.raises(DependencyConflictError):
        planned(Install("gone", "^2"), have, release("gone 2.0.0"))


@pytest.mark.parametrize(
    "offer", [release("a 1.0.0", "b nonsense"), release("a 1.0.0", platform="nonsense"), release("a one")]
)
def test_what_cannot_be_read_is_refused(offer: Candidate) -> None:
    with pytest.raises(RangeInvalidError):
        planned(Install("a"), [], offer, release("b 1.0.0"))


def test_a_manifest_is_a_candidate() -> None:
    manifest = Manifest(
        slug="a", version="1.0.0", name="A", platform=">=0.1",
        requires=[PluginDependency(slug="b", versions="^1"), PluginDependency(slug="c", versions="*", optional=True)],
    )  # fmt: skip
    assert candidate_of(manifest, is_yanked=True) == release(
        "a 1.0.0", "b ^1", "c? *", platform=">=0.1", is_yanked=True
    )


# -- uninstall -------------------------------------------------------------------------------------------------------

SHOP = [release("shop 1.0.0", "booking *"), release("booking 1.0.0", "calendar *"), release("calendar 1.0.0")]


def test_what_nobody_needs_is_removed() -> None:
    assert steps(planned(Uninstall("shop"), SHOP)) == ["uninstall shop 1.0.0"]
    assert planned(Uninstall("shop"), SHOP).needs == {"booking": ("calendar",), "calendar": ()}
    assert steps(planned(Uninstall("ghost"), SHOP)) == []


def test_what_is_needed_is_not_removed_without_its_dependants() -> None:
    with pytest.raises(HasDependantsError) as caught:
        planned(Uninstall("calendar"), SHOP)
    assert caught.value.data["dependants"] == {"calendar": ["booking"]}
    assert str(caught.value) == "calendar is needed by booking."


def test_with_its_dependants_it_goes_after_them() -> None:
    found = planned(Uninstall("calendar", with_dependants=True), SHOP)
    assert steps(found) == ["uninstall shop 1.0.0", "uninstall booking 1.0.0", "uninstall calendar 1.0.0"]
    assert [step.because for step in found.steps] == ["It needs booking.", "It needs calendar.", "You asked for it."]


def test_asking_for_all_of_them_needs_no_permission() -> None:
    wishes = [Uninstall("calendar"), Uninstall("booking"), Uninstall("shop")]
    assert len(planned(wishes, SHOP).steps) == 3


def test_an_optional_need_holds_nothing_back() -> None:
    have = [release("a 1.0.0", "mail? *"), release("mail 1.0.0")]
    assert steps(planned(Uninstall("mail"), have)) == ["uninstall mail 1.0.0"]


def test_a_circle_that_is_installed_can_be_removed() -> None:
    have = [release("a 1.0.0", "b *"), release("b 1.0.0", "a *")]
    assert len(planned(Uninstall("a", with_dependants=True), have).steps) == 2


def test_one_plugin_may_take_the_place_of_another() -> None:
    have = [release("calendar 1.0.0"), release("mail 1.0.0", "calendar <2")]
    offers = [release("booking 1.0.0", "calendar ^2"), release("calendar 2.0.0")]
    found = planned([Uninstall("mail"), Install("booking")], have, *offers)
    assert steps(found) == ["uninstall mail 1.0.0", "update calendar 1.0.0→2.0.0", "install booking 1.0.0"]


# -- cases that other resolvers are tried with: the examples by which PubGrub is explained -----------------------------


@pytest.mark.parametrize(
    ("wishes", "offers", "expected"),
    [
        pytest.param(
            ["foo ^1.0.0"],
            [release("foo 1.0.0", "bar ^1.0.0"), release("bar 1.0.0"), release("bar 2.0.0")],
            {"foo": "1.0.0", "bar": "1.0.0"},
            id="no conflict",
        ),
        pytest.param(
            ["foo ^1.0.0", "bar ^1.0.0"],
            [release("foo 1.1.0", "bar ^2.0.0"), release("foo 1.0.0"), release("bar 1.0.0"), release("bar 1.1.0"),
             release("bar 2.0.0")],
            {"foo": "1.0.0", "bar": "1.1.0"},
            id="conflict avoided while deciding",
        ),
        pytest.param(
            ["foo >=1.0.0"],
            [release("foo 2.0.0", "bar ^1.0.0"), release("foo 1.0.0"), release("bar 1.0.0", "foo ^1.0.0")],
            {"foo": "1.0.0"},
            id="conflict resolved",
        ),
        pytest.param(
            ["foo ^1.0.0", "target ^2.0.0"],
            [release("foo 1.1.0", "left ^1.0.0", "right ^1.0.0"), release("foo 1.0.0"),
             release("left 1.0.0", "shared >=1.0.0"), release("right 1.0.0", "shared <2.0.0"), release("shared 2.0.0"),
             release("shared 1.0.0", "target ^1.0.0"), release("target 2.0.0"), release("target 1.0.0")],
            {"foo": "1.0.0", "target": "2.0.0"},
            id="partial satisfier",
        ),
        pytest.param(
            ["foo ^1.0.0", "baz ^1.0.0"],
            [release("foo 1.0.0", "bar ^2.0.0"), release("bar 2.0.0", "baz ^3.0.0"), release("baz 1.0.0"),
             release("baz 3.0.0")],
            None,
            id="linear error",
        ),
        pytest.param(
            ["foo ^1.0.0"],
            [release("foo 1.0.0", "a ^1.0.0", "b ^1.0.0"), release("foo 1.1.0", "x ^1.0.0", "y ^1.0.0"),
             release("a 1.0.0", "b ^2.0.0"), release("b 1.0.0"), release("b 2.0.0"), release("x 1.0.0", "y ^2.0.0"),
             release("y 1.0.0"), release("y 2.0.0")],
            None,
            id="branching error",
        ),
    ],
)  # fmt: skip
def test_pubgrubs_examples(wishes: list[str], offers: list[Candidate], expected: dict[str, str] | None) -> None:
    want = [Install(*wish.split(" ", 1)) for wish in wishes]
    if expected is None:
        with pytest.raises(DependencyConflictError):
            planned(want, [], *offers)
    else:
        assert {step.slug: step.version for step in planned(want, [], *offers).steps} == expected


# -- against trying everything -----------------------------------------------------------------------------------------

SLUGS = ("a", "b", "c", "d")
RANGES = ("*", "^1", "^2", ">=2", "<2", "==1.0.0")

needs = st.lists(
    st.builds(Dependency, st.sampled_from(SLUGS), st.sampled_from(RANGES), st.booleans()),
    max_size=2,
    unique_by=lambda need: need.slug,
)


@st.composite
def universes(draw: st.DrawFn) -> dict[str, list[Candidate]]:
    return {
        slug: [
            Candidate(slug, version, tuple(need for need in draw(needs) if need.slug != slug))
            for version in draw(st.lists(st.sampled_from(["1.0.0", "1.1.0", "2.0.0"]), max_size=3, unique=True))
        ]
        for slug in SLUGS
    }


def holds(chosen: Mapping[str, Candidate]) -> bool:
    return all(
        need.is_optional if need.slug not in chosen else chosen[need.slug].version in VersionRange(need.versions)
        for candidate in chosen.values()
        for need in candidate.requires
    )


def is_possible(want: Install, universe: Mapping[str, list[Candidate]]) -> bool:
    options = [[None, *universe[slug]] for slug in SLUGS]
    return any(
        want.slug in chosen and chosen[want.slug].version in VersionRange(want.versions) and holds(chosen)
        for combination in itertools.product(*options)
        if (chosen := {candidate.slug: candidate for candidate in combination if candidate})
    )


@settings(max_examples=300, deadline=None)
@given(universes(), st.sampled_from(RANGES))
def test_there_is_a_plan_exactly_when_trying_everything_finds_one(
    universe: dict[str, list[Candidate]], wish: str
) -> None:
    want = Install("a", wish)
    try:
        found = plan([want], [], universe, platform="1.0.0")
    except DependencyCycleError:
        assert is_possible(want, universe)
        return
    except JackfieldError:
        assert not is_possible(want, universe)
        return
    chosen = {step.slug: next(c for c in universe[step.slug] if c.version == step.version) for step in found.steps}
    assert holds(chosen)
    assert "a" in chosen
    order = [step.slug for step in found.steps]
    for slug, names in found.needs.items():
        assert all(order.index(name) < order.index(slug) for name in names)
    assert set(found.needs) == set(chosen)
    assert steps(found) == steps(plan([want], [], {s: universe[s][::-1] for s in reversed(SLUGS)}, platform="1.0.0"))
