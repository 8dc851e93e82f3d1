"""What the two service levels of declarations come to, worked out from the log by nothing but its events."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

RESPONSE, LARGE, SMALL = timedelta(hours=72), timedelta(hours=336), timedelta(hours=240)
Visits = list[tuple[datetime, str]]  # when, and the state that was reached


def response(visits: Visits, end: datetime) -> datetime | None:
    """When the first decision was first too late; None where it never was."""
    due: datetime | None = None
    breached: datetime | None = None
    for at, state in visits:
        if state == "submitted":
            if due is None:  # a submission that follows another one directly changes nothing
                due = at + RESPONSE
        elif state not in ("new", "saved", "returned") and due is not None:
            breached = breached or (due if at >= due else None)
            due = None
    return breached or (due if due is not None and end >= due else None)


def resolution(visits: Visits, amount: Decimal, end: datetime) -> datetime | None:
    """When the payment was too late, without the time with the employee; None where it was not."""
    target = LARGE if amount > 500 else SMALL
    used, since, due = timedelta(0), None, None
    started = False
    breached: datetime | None = None
    for at, state in visits:
        if not started:
            if state == "submitted":
                started, since, due = True, at, at + target
            continue
        if since is not None:
            now = max(at, since)
            if state == "paid" or state in ("rejected", "returned"):
                breached = breached or (due if due is not None and now >= due else None)
                used, since = used + (now - since), None
        elif state not in ("rejected", "returned", "paid"):
            since = at
            due = at + (target - used) if target > used else due
        if state == "paid":
            return breached
    return breached or (due if since is not None and due is not None and end >= due else None)


def rounded(amount: str) -> Decimal:
    return Decimal(amount).quantize(Decimal("0.01"), ROUND_HALF_EVEN)


def breaches(
    cases: Iterable[tuple[str, Visits, Decimal]], end: datetime
) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """Case -> when its first decision, and when its payment, was too late; only those that were."""
    first: dict[str, datetime] = {}
    paid: dict[str, datetime] = {}
    for case, visits, amount in cases:
        found = response(visits, end), resolution(visits, amount, end)
        for at, kept in zip(found, (first, paid), strict=True):
            if at is not None:
                kept[case] = at
    return first, paid
