"""Loyalty points: customers earn them with what they buy and pay with them."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Annotated, Any, Literal

import msgspec
from ledger import balance_of, earn, earned_with, entries_of, spend

import jackfield_sdk as jf

CustomerId = Annotated[str, jf.Meta(min_length=1, max_length=200)]
Points = Annotated[int, jf.Meta(ge=1, le=1_000_000_000)]

plugin = jf.Plugin(
    "loyalty-points",
    version="1.0.0",
    name="Loyalty points",
    summary="Customers earn points with what they buy and pay with them.",
    category="loyalty",
    tags=["customers", "discounts", "point-of-sale"],
    licence="MIT",
    author="Jackfield",
    permissions=["customers:read"],
    permission_reasons={"customers:read": "Shows a customer's name beside their points."},
)


@plugin.config
class Config:
    points_per_dollar: Annotated[
        float, jf.Meta(ge=0, le=10_000, title="Points per dollar", description="Earned with each dollar of a sale")
    ] = 1.0
    redemption_rate: Annotated[
        float, jf.Meta(gt=0, le=1_000_000, title="Redemption rate", description="Points that are worth one dollar")
    ] = 100.0
    minimum_redeem: Annotated[
        int, jf.Meta(ge=1, title="Minimum to redeem", description="Fewest points that can be redeemed at once")
    ] = 1


@plugin.table("ledger", unique=[["sale_id", "kind"], ["customer_id", "sequence"]], indexes=[["customer_id"]])
class Entry:
    customer_id: str
    kind: Literal["earned", "redeemed"]
    points: int
    balance: int
    sequence: int
    created_at: str
    sale_id: str | None = None


class Redemption(jf.Struct, frozen=True):
    """Points that were redeemed, what they are worth in the tenant's currency, and what is left."""

    customer_id: str
    points: int
    value: float
    balance: int


class HistoryEntry(jf.Struct, frozen=True):
    """One line of a customer's history."""

    kind: Literal["earned", "redeemed"]
    points: int
    balance: int
    created_at: str
    sale_id: str | None = None


class RedeemBody(jf.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /points/{customer_id}/redeem`."""

    points: Points


# -- earning ---------------------------------------------------------------------------------------------------------


@plugin.on("sale.created", when="sale.total > 0.0 && sale.customer_id != null")
def award(ctx: jf.Context, sale: jf.hooks.Sale) -> None:
    """Add the points of a sale, once, however often the event arrives."""
    points = _points_for(ctx, sale)
    if sale.customer_id is not None and points > 0 and earn(ctx, sale.customer_id, points, sale.id):
        ctx.log.info("points earned", customer_id=sale.customer_id, sale_id=sale.id, points=points)


# -- functions -------------------------------------------------------------------------------------------------------


@plugin.function(read_only=True, idempotent=True, public=True)
def balance(ctx: jf.Context, customer_id: CustomerId) -> int:
    """Points that a customer holds."""
    return balance_of(ctx, customer_id)


@plugin.function(public=True, examples=[{"customer_id": "c1", "points": 100}])
def redeem(ctx: jf.Context, customer_id: CustomerId, points: Points) -> Redemption:
    """Take points from a customer; what they are worth as a discount."""
    minimum = ctx.config.minimum_redeem
    if points < minimum:
        raise jf.UserError(f"at least {minimum} points can be redeemed at once", code="below-minimum")
    row = spend(ctx, customer_id, points)
    ctx.log.info("points redeemed", customer_id=customer_id, points=points)
    return Redemption(customer_id, points, _worth(ctx, points), row["balance"])


@plugin.function(read_only=True, idempotent=True)
def history(
    ctx: jf.Context, customer_id: CustomerId, limit: Annotated[int, jf.Meta(ge=1, le=200)] = 20
) -> list[HistoryEntry]:
    """What a customer earned and redeemed, newest first."""
    return [_entry(row) for row in entries_of(ctx, customer_id, limit)]


# -- routes ----------------------------------------------------------------------------------------------------------


@plugin.route("GET", "/points/{customer_id}")
def show_points(ctx: jf.Context, request: jf.Request) -> dict[str, Any]:
    """A customer's points, and what they are worth."""
    customer_id = request.params["customer_id"]
    customer = ctx.data["customers"].get(customer_id)
    held = balance_of(ctx, customer_id)
    return {
        "customer_id": customer_id,
        "name": customer["name"] if customer else None,
        "balance": held,
        "value": _worth(ctx, held),
    }


@plugin.route("POST", "/points/{customer_id}/redeem")
def redeem_points(ctx: jf.Context, request: jf.Request) -> Redemption:
    """Redeem points: `{"points": 100}`."""
    try:
        body = msgspec.convert(request.json(), RedeemBody)
    except msgspec.ValidationError as error:
        raise jf.UserError(f"not a redemption: {error}", code="body-invalid", hint='Send {"points": 100}.') from error
    return redeem(ctx, request.params["customer_id"], body.points)


# -- widgets ---------------------------------------------------------------------------------------------------------


@plugin.widget("POS.AfterCheckout", title="Loyalty points")
def after_checkout(ctx: jf.Context, sale: jf.hooks.Sale) -> jf.ui.Card | None:
    """What this sale earned, and the new balance; nothing for a sale without a customer."""
    if sale.customer_id is None:
        return None
    held = balance_of(ctx, sale.customer_id)
    booked = earned_with(ctx, sale.id)
    if booked is not None:
        points = booked["points"]
    else:
        # The receipt may be shown before the event has been delivered: count what is on its way.
        points = _points_for(ctx, sale)
        held += points
    return jf.ui.Card(
        title="Loyalty points",
        children=[
            jf.ui.Grid(
                [
                    jf.ui.Stat("Earned with this sale", points, id="earned", tone="success"),
                    jf.ui.Stat("Balance", held, id="balance"),
                ]
            )
        ],
    )


@plugin.widget("Customer.Profile", title="Loyalty points")
def profile(ctx: jf.Context, customer: jf.hooks.Customer) -> jf.ui.Card:
    """What a customer holds, and how they came by it."""
    entries = entries_of(ctx, customer.id, 10)
    held = entries[0]["balance"] if entries else 0
    return jf.ui.Card(
        title="Loyalty points",
        children=[
            jf.ui.Grid(
                [
                    jf.ui.Stat("Points", held, id="balance"),
                    jf.ui.Stat("Worth", f"{_worth(ctx, held):.2f}", id="worth"),
                ]
            ),
            jf.ui.Table(
                columns=[
                    jf.ui.TableColumn("date", "Date"),
                    jf.ui.TableColumn("kind", "What"),
                    jf.ui.TableColumn("points", "Points", align="end"),
                    jf.ui.TableColumn("balance", "Balance", align="end"),
                ],
                rows=[_line(row) for row in entries],
                caption="The last entries",
                empty="Nothing earned yet.",
            ),
        ],
    )


# -- configuration and health ----------------------------------------------------------------------------------------


@plugin.config_check
def check(ctx: jf.Context) -> None:
    """Refuse settings by which a redemption could be worth nothing."""
    if _worth(ctx, ctx.config.minimum_redeem) < 0.01:
        raise jf.UserError(
            "the fewest points that can be redeemed are worth less than a cent",
            code="minimum-worthless",
            hint="Raise the minimum to redeem, or lower the redemption rate.",
        )


@plugin.health
def healthy(ctx: jf.Context) -> jf.Health:
    """Well when it can reach its ledger."""
    return jf.Health(True, f"{ctx.tables['ledger'].count()} entries")


def _points_for(ctx: jf.Context, sale: jf.hooks.Sale) -> int:
    """Whole points, rounded down. Decimal, because 4.35 × 100 is 434.99… in binary."""
    return max(0, int(Decimal(str(sale.total)) * Decimal(str(ctx.config.points_per_dollar))))


def _worth(ctx: jf.Context, points: int) -> float:
    """What points are worth, rounded down to a hundredth."""
    worth = Decimal(points) / Decimal(str(ctx.config.redemption_rate))
    return float(worth.quantize(Decimal("0.01"), ROUND_DOWN))


def _entry(row: dict[str, Any]) -> HistoryEntry:
    return HistoryEntry(row["kind"], row["points"], row["balance"], row["created_at"], row.get("sale_id"))


def _line(row: dict[str, Any]) -> dict[str, str | int | float | bool | None]:
    sign = "+" if row["kind"] == "earned" else "−"
    return {
        "date": row["created_at"][:10],
        "kind": "Earned" if row["kind"] == "earned" else "Redeemed",
        "points": f"{sign}{row['points']}",
        "balance": row["balance"],
    }
