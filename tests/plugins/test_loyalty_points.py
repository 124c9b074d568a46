"""Loyalty points: each sale earns once, no point is spent twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jackfield_sdk as jf
from jackfield_sdk.testing import FakePlatform, load_plugin
from tools.committed import ROOT

PLUGIN = load_plugin(ROOT / "plugins" / "loyalty-points")


def start(**config: Any) -> FakePlatform:
    return FakePlatform(PLUGIN, config=config, entities={"customers": [{"id": "c1", "name": "Ada"}]}).start()


@pytest.fixture
def platform() -> FakePlatform:
    return start()


def sell(
    platform: FakePlatform, total: float, *, sale_id: str = "s1", customer_id: str = "c1", attempts: int = 1
) -> None:
    sale = jf.hooks.Sale(id=sale_id, total=total, customer_id=customer_id)
    platform.emit("sale.created", sale, attempts=attempts)


def balance(platform: FakePlatform, customer_id: str = "c1") -> int:
    return platform.call("balance", customer_id=customer_id)


# -- earning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "rate", "points"),
    [(10.0, 1, 10), (10.99, 1, 10), (4.35, 100, 435), (0.29, 100, 29), (0.5, 1, 0), (10, 0, 0), (3, 2.5, 7)],
)
def test_a_sale_earns_whole_points_rounded_down(total: float, rate: float, points: int) -> None:
    platform = start(points_per_dollar=rate)
    sell(platform, total)
    assert balance(platform) == points


def test_a_sale_earns_once_however_often_it_is_delivered(platform: FakePlatform) -> None:
    sell(platform, 10, attempts=3)
    sell(platform, 10)
    sell(platform, 10, sale_id="s2")
    assert balance(platform) == 20
    assert len(platform.rows("ledger")) == 2


def test_a_delivery_that_broke_off_after_its_work_earns_once(platform: FakePlatform) -> None:
    platform.grants.discard("log")
    sell(platform, 10, attempts=2)
    assert balance(platform) == 10


@pytest.mark.parametrize("sale", [{"total": 0.0}, {"total": -5.0}, {"total": 5.0, "customer_id": None}])
def test_a_sale_without_money_or_customer_does_not_even_wake_it(platform: FakePlatform, sale: dict[str, Any]) -> None:
    assert platform.emit("sale.created", {"id": "s1", "customer_id": "c1", **sale}) == []
    assert platform.rows("ledger") == []


def test_each_customer_has_a_ledger_of_their_own(platform: FakePlatform) -> None:
    sell(platform, 10)
    sell(platform, 7, sale_id="s2", customer_id="c2")
    assert (balance(platform), balance(platform, "c2"), balance(platform, "c3")) == (10, 7, 0)


# -- redeeming -------------------------------------------------------------------------------------------------------


def test_points_are_redeemed_for_a_discount(platform: FakePlatform) -> None:
    sell(platform, 250)
    assert platform.call("redeem", customer_id="c1", points=150) == {
        "customer_id": "c1", "points": 150, "value": 1.5, "balance": 100,
    }  # fmt: skip
    assert balance(platform) == 100


@pytest.mark.parametrize(("points", "rate", "value"), [(199, 100.0, 1.99), (1, 3.0, 0.33), (200, 3.0, 66.66)])
def test_a_discount_is_rounded_down_to_a_cent(points: int, rate: float, value: float) -> None:
    platform = start(redemption_rate=rate)
    sell(platform, points)
    assert platform.call("redeem", customer_id="c1", points=points)["value"] == value


def test_nobody_redeems_more_than_they_hold(platform: FakePlatform) -> None:
    sell(platform, 10)
    for customer_id, points in (("c1", 11), ("c2", 1)):
        with pytest.raises(jf.UserError) as caught:
            platform.call("redeem", customer_id=customer_id, points=points)
        assert caught.value.code == "balance-too-low"
    assert balance(platform) == 10
    platform.call("redeem", customer_id="c1", points=10)
    assert balance(platform) == 0


def test_nobody_redeems_less_than_the_minimum() -> None:
    platform = start(minimum_redeem=50)
    sell(platform, 100)
    with pytest.raises(jf.UserError) as caught:
        platform.call("redeem", customer_id="c1", points=49)
    assert caught.value.code == "below-minimum"
    platform.call("redeem", customer_id="c1", points=50)


@pytest.mark.parametrize("points", [0, -5, 1.5, "10", 10**10])
def test_points_are_a_whole_number(platform: FakePlatform, points: Any) -> None:
    with pytest.raises(jf.PluginError) as caught:
        platform.call("redeem", customer_id="c1", points=points)
    assert caught.value.code == "arguments-invalid"


def test_two_at_once_cannot_spend_the_same_points(platform: FakePlatform) -> None:
    """The second comes between the first's look at the balance and its entry, as on another isolate."""
    sell(platform, 100)
    platform.before("tables.insert", lambda: platform.call("redeem", customer_id="c1", points=100))
    with pytest.raises(jf.UserError) as caught:
        platform.call("redeem", customer_id="c1", points=100)
    assert caught.value.code == "balance-too-low"
    assert balance(platform) == 0
    assert [row["points"] for row in platform.rows("ledger")] == [100, 100]


def test_two_at_once_may_both_spend_what_is_there_for_both(platform: FakePlatform) -> None:
    sell(platform, 100)
    platform.before("tables.insert", lambda: platform.call("redeem", customer_id="c1", points=30))
    assert platform.call("redeem", customer_id="c1", points=50)["balance"] == 20
    assert balance(platform) == 20


def test_a_sale_in_the_midst_of_a_redemption_is_not_lost(platform: FakePlatform) -> None:
    sell(platform, 100)
    platform.before("tables.insert", lambda: sell(platform, 40, sale_id="s2"))
    assert platform.call("redeem", customer_id="c1", points=100)["balance"] == 40


def test_one_sale_delivered_to_two_at_once_earns_once(platform: FakePlatform) -> None:
    platform.before("tables.insert", lambda: sell(platform, 10))
    sell(platform, 10)
    assert balance(platform) == 10


def test_who_is_never_quick_enough_is_asked_to_try_again(platform: FakePlatform) -> None:
    sell(platform, 1)
    numbers = iter(range(100))

    def hurry() -> None:
        sell(platform, 1, sale_id=f"quick-{next(numbers)}")

    interrupt(platform, hurry)
    with pytest.raises(jf.UserError) as caught:
        platform.call("redeem", customer_id="c1", points=1)
    assert caught.value.code == "ledger-busy"
    interrupt(platform, hurry)
    with pytest.raises(jf.RetryLaterError):
        sell(platform, 5, sale_id="slow")
    sell(platform, 5, sale_id="slow")
    assert balance(platform) == sum(row["points"] for row in platform.rows("ledger"))


def interrupt(platform: FakePlatform, action: Any) -> None:
    """Let an action go first at each of the next tries; its own inserts pass."""
    for _ in range(20):
        platform.before("tables.insert", action)
        platform.before("tables.insert", lambda: None)


def test_another_failure_of_the_ledger_is_not_taken_for_a_clash(platform: FakePlatform) -> None:
    sell(platform, 10)
    platform.fail("tables.insert", code="storage-full")
    with pytest.raises(jf.PluginError) as caught:
        platform.call("redeem", customer_id="c1", points=5)
    assert caught.value.code == "storage-full"
    assert balance(platform) == 10


STEPS = st.lists(st.tuples(st.sampled_from(["sell", "redeem"]), st.sampled_from("ab"), st.integers(1, 40)), max_size=25)


@settings(max_examples=30)
@given(STEPS)
def test_the_ledger_adds_up_whatever_happens(steps: list[tuple[str, str, int]]) -> None:
    platform = start()
    expected = {"a": 0, "b": 0}
    for number, (step, customer_id, points) in enumerate(steps):
        if step == "sell":
            sell(platform, points, sale_id=f"s{number % 7}", customer_id=customer_id)
        else:
            try:
                platform.call("redeem", customer_id=customer_id, points=points)
            except jf.UserError:
                assert points > expected[customer_id]
        rows = [row for row in platform.rows("ledger") if row["customer_id"] == customer_id]
        signed = [row["points"] if row["kind"] == "earned" else -row["points"] for row in rows]
        expected[customer_id] = sum(signed)
        assert balance(platform, customer_id) == expected[customer_id] >= 0
        assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
        assert [row["balance"] for row in rows] == [sum(signed[: index + 1]) for index in range(len(rows))]


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_history_is_newest_first(platform: FakePlatform) -> None:
    sell(platform, 100)
    platform.call("redeem", customer_id="c1", points=40)
    entries = platform.call("history", customer_id="c1")
    assert [(e["kind"], e["points"], e["balance"], e["sale_id"]) for e in entries] == [
        ("redeemed", 40, 60, None),
        ("earned", 100, 100, "s1"),
    ]
    assert len(platform.call("history", customer_id="c1", limit=1)) == 1
    assert platform.call("history", customer_id="nobody") == []


def test_points_are_shown_with_the_customers_name(platform: FakePlatform) -> None:
    sell(platform, 250)
    assert platform.route("GET", "/points/c1").body == {
        "customer_id": "c1", "name": "Ada", "balance": 250, "value": 2.5,
    }  # fmt: skip
    assert platform.route("GET", "/points/nobody").body["name"] is None


def test_points_are_redeemed_over_http(platform: FakePlatform) -> None:
    sell(platform, 250)
    answer = platform.route("POST", "/points/c1/redeem", body={"points": 100})
    assert (answer.status, answer.body["value"], answer.body["balance"]) == (200, 1.0, 150)


@pytest.mark.parametrize("body", [None, {}, [], {"points": "5"}, {"points": 0}, {"points": 1, "more": 1}, b"{"])
def test_a_body_that_is_no_redemption_is_the_callers_mistake(platform: FakePlatform, body: Any) -> None:
    with pytest.raises(jf.UserError) as caught:
        platform.route("POST", "/points/c1/redeem", body=body, headers={"content-type": "application/json"})
    assert caught.value.code in {"body-invalid", "body-not-json"}


def test_nobody_uses_the_routes_without_signing_in(platform: FakePlatform) -> None:
    with platform.acting_as(None):
        for method, path in (("GET", "/points/c1"), ("POST", "/points/c1/redeem")):
            with pytest.raises(jf.PluginError) as caught:
                platform.route(method, path)
            assert caught.value.code == "role-too-low"


def stats(tree: dict[str, Any] | None) -> dict[str, Any]:
    assert tree is not None
    return {stat["id"]: stat["value"] for stat in tree["children"][0]["children"]}


def test_the_receipt_shows_what_is_earned_before_and_after_it_is_booked(platform: FakePlatform) -> None:
    sell(platform, 100, sale_id="s0")
    sale = jf.hooks.Sale(id="s1", total=20.5, customer_id="c1")
    before = stats(platform.widget("POS.AfterCheckout", sale))
    platform.emit("sale.created", sale)
    assert before == stats(platform.widget("POS.AfterCheckout", sale)) == {"earned": 20, "balance": 120}


def test_the_receipt_of_nobody_shows_nothing(platform: FakePlatform) -> None:
    assert platform.widget("POS.AfterCheckout", jf.hooks.Sale(id="s1", total=20.5)) is None


def test_the_profile_shows_points_and_the_last_entries(platform: FakePlatform) -> None:
    for number in range(12):
        sell(platform, 100, sale_id=f"s{number}")
    platform.call("redeem", customer_id="c1", points=200)
    tree = platform.widget("Customer.Profile", jf.hooks.Customer(id="c1", name="Ada"))
    assert stats(tree) == {"balance": 1000, "worth": "10.00"}
    assert tree is not None
    rows = tree["children"][1]["rows"]
    assert len(rows) == 10
    assert (rows[0]["kind"], rows[0]["points"], rows[1]["points"]) == ("Redeemed", "−200", "+100")


def test_the_profile_of_a_new_customer_is_empty(platform: FakePlatform) -> None:
    tree = platform.widget("Customer.Profile", jf.hooks.Customer(id="new", name="Eve"))
    assert stats(tree) == {"balance": 0, "worth": "0.00"}


# -- configuration, consent, health ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"points_per_dollar": -1}, "config-invalid"),
        ({"redemption_rate": 0}, "config-invalid"),
        ({"minimum_redeem": 0}, "config-invalid"),
        ({"minimum_redeem": 5, "redemption_rate": 1000}, "minimum-worthless"),
    ],
)
def test_settings_that_make_no_sense_are_refused(platform: FakePlatform, values: dict[str, Any], code: str) -> None:
    with pytest.raises(jf.UserError) as caught:
        platform.configure(**values)
    assert caught.value.code == code


def test_it_asks_to_read_customers_and_says_why() -> None:
    manifest = PLUGIN.manifest()
    assert manifest.permissions == ["customers:read"]
    assert manifest.permission_reasons.keys() == {"customers:read"}


def test_it_is_well_while_it_reaches_its_ledger(platform: FakePlatform) -> None:
    assert platform.health().ok
    platform.fail("tables.count")
    assert not platform.health().ok
