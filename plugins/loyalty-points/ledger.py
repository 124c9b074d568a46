"""The ledger: rows that are only ever added, one sequence for each customer, each row with the balance after it.

Several isolates may serve one tenant at once. The sequence is the lock: whoever adds a row takes the number after the
last one they saw, and `(customer_id, sequence)` is unique. If somebody else was quicker, the insert fails, nothing has
happened, and the next try sees the new balance. So no point is spent twice, and none is lost.
"""

from __future__ import annotations

from typing import Any, Literal

import jackfield_sdk as jf

MAX_TRIES = 20

Row = dict[str, Any]


def balance_of(ctx: jf.Context, customer_id: str) -> int:
    """Points that a customer holds."""
    last = _last(ctx, customer_id)
    return last["balance"] if last else 0


def entries_of(ctx: jf.Context, customer_id: str, limit: int) -> list[Row]:
    """A customer's rows, newest first."""
    return ctx.tables["ledger"].find({"customer_id": customer_id}, order="-sequence", limit=limit)


def earned_with(ctx: jf.Context, sale_id: str) -> Row | None:
    """The row that a sale earned, if it has been booked."""
    found = ctx.tables["ledger"].find({"sale_id": sale_id, "kind": "earned"}, limit=1)
    return found[0] if found else None


def earn(ctx: jf.Context, customer_id: str, points: int, sale_id: str) -> bool:
    """Add the points of a sale; False when they have been added before.

    Raises:
        RetryLaterError: Others were quicker every time.
    """
    for _ in range(MAX_TRIES):
        if earned_with(ctx, sale_id) is not None:
            return False
        if _add(ctx, _last(ctx, customer_id), customer_id, "earned", points, sale_id) is not None:
            return True
    raise jf.RetryLaterError("the customer's ledger is busy", after_s=1)


def spend(ctx: jf.Context, customer_id: str, points: int) -> Row:
    """Take points away; the new row.

    Raises:
        UserError: `balance-too-low`, or `ledger-busy` when others were quicker every time.
    """
    for _ in range(MAX_TRIES):
        last = _last(ctx, customer_id)
        held = last["balance"] if last else 0
        if points > held:
            raise jf.UserError(
                f"there are only {held} points to redeem", code="balance-too-low", hint=f"Redeem up to {held} points."
            )
        row = _add(ctx, last, customer_id, "redeemed", -points, None)
        if row is not None:
            return row
    raise jf.UserError("the customer's ledger is busy", code="ledger-busy", hint="Try again.")


def _last(ctx: jf.Context, customer_id: str) -> Row | None:
    found = entries_of(ctx, customer_id, 1)
    return found[0] if found else None


def _add(
    ctx: jf.Context,
    last: Row | None,
    customer_id: str,
    kind: Literal["earned", "redeemed"],
    change: int,
    sale_id: str | None,
) -> Row | None:
    """The row after `last`; None when somebody else has added one meanwhile."""
    try:
        return ctx.tables["ledger"].insert(
            customer_id=customer_id,
            sale_id=sale_id,
            kind=kind,
            points=abs(change),
            balance=(last["balance"] if last else 0) + change,
            sequence=(last["sequence"] if last else 0) + 1,
            created_at=ctx.now.isoformat(),
        )
    except jf.CapabilityError as error:
        if error.code != "unique-violation":
            raise
        return None
