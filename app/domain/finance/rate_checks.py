"""Check one day's market data against its own recent past: missing, stale and outlying values.

Pure: the caller reads the rates and their history and stores the findings as quality flags. A finding is advice to the
person who approves the rates; nothing is dropped or replaced here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from app.domain.finance.arithmetic import (
    EXACT,
    FinanceInputError,
    percent_of,
    require_rate,
    z_score,
)


class RateFlag(StrEnum):
    """The quality flags of an observation."""

    MISSING = "missing"
    STALE = "stale"
    OUTLIER = "outlier"


@dataclass(frozen=True, slots=True)
class DatedRates:
    """The rates of one date, ``{currency: units per EUR}``; a currency that was not quoted is absent."""

    business_date: date
    rates: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class RateLimits:
    """When a value is flagged.

    ``stale_after``: equal to the values of this many previous dates. ``move_percent``: absolute day-over-day move.
    ``z_limit``: absolute z-score of the day's move among the moves of the ``window`` dates before it, tested once there
    are ``min_moves`` of them. ``move_floor_percent``: a smaller move is never an outlier by z-score, or a
    pegged currency would often be one.
    """

    stale_after: int = 3
    move_percent: Decimal = Decimal(4)
    z_limit: Decimal = Decimal(4)
    window: int = 60
    min_moves: int = 20
    move_floor_percent: Decimal = Decimal("0.25")

    def __post_init__(self) -> None:
        if self.stale_after < 1 or self.min_moves < 2 or self.window < self.min_moves:
            raise FinanceInputError("Rate limits need stale_after >= 1, min_moves >= 2 and window >= min_moves.")
        if self.move_percent <= 0 or self.z_limit <= 0 or self.move_floor_percent < 0:
            raise FinanceInputError("Rate limits need move_percent > 0, z_limit > 0 and move_floor_percent >= 0.")


@dataclass(frozen=True, slots=True)
class RateFinding:
    """One flag on one currency; ``explanation`` is a sentence for the approver."""

    flag: RateFlag
    currency: str
    value: Decimal | None
    previous: Decimal | None
    previous_date: date | None
    explanation: str
    move_percent: Decimal | None = None
    z_score: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RateCheckPlan:
    """What is expected, and the limits: ``default`` unless the currency has limits of its own."""

    expected: Collection[str]
    default: RateLimits = RateLimits()
    by_currency: Mapping[str, RateLimits] = field(default_factory=dict)

    def limits_of(self, currency: str) -> RateLimits:
        """Return the limits that apply to a currency."""
        return self.by_currency.get(currency, self.default)

    @property
    def history_needed(self) -> int:
        """Return how many dates before the checked one give every check its full window."""
        return max(max(limits.window + 1, limits.stale_after) for limits in [self.default, *self.by_currency.values()])


def check_rates(today: DatedRates, *, history: Sequence[DatedRates], plan: RateCheckPlan) -> tuple[RateFinding, ...]:
    """Return the findings on the expected currencies, ordered by currency, then missing, stale, outlier.

    ``history`` is ascending and ends before ``today``; dates without a quote of a currency are passed over.
    Raises: FinanceInputError when the history is out of order or a rate is not positive.
    """
    dates = [day.business_date for day in history] + [today.business_date]
    if any(later <= earlier for earlier, later in pairwise(dates)):
        raise FinanceInputError("The rate history must be ascending, without repeats, and end before the checked date.")
    findings: list[RateFinding] = []
    for currency in sorted(plan.expected):
        past = [
            (day.business_date, require_rate(f"{currency} on {day.business_date.isoformat()}", day.rates[currency]))
            for day in history
            if currency in day.rates
        ]
        limits = plan.limits_of(currency)
        value = today.rates.get(currency)
        if value is None:
            findings.append(_missing(currency, today.business_date, past))
            continue
        require_rate(f"{currency} on {today.business_date.isoformat()}", value)
        findings.extend(
            finding
            for finding in (_stale(currency, value, past, limits), _outlier(currency, value, past, limits))
            if finding is not None
        )
    return tuple(findings)


def _missing(currency: str, on: date, past: Sequence[tuple[date, Decimal]]) -> RateFinding:
    last_date, last_value = past[-1] if past else (None, None)
    known = f"the last is {last_value} of {last_date.isoformat()}" if last_date else "none is known before it"
    return RateFinding(
        RateFlag.MISSING,
        currency,
        None,
        last_value,
        last_date,
        f"No {currency} rate for {on.isoformat()}; {known}.",
    )


def _stale(
    currency: str, value: Decimal, past: Sequence[tuple[date, Decimal]], limits: RateLimits
) -> RateFinding | None:
    unchanged = 0
    for _, earlier in reversed(past):
        if earlier != value:
            break
        unchanged += 1
    if unchanged < limits.stale_after:
        return None
    since = past[-unchanged][0]
    return RateFinding(
        RateFlag.STALE,
        currency,
        value,
        past[-1][1],
        past[-1][0],
        f"{currency} is {value} and has not changed on {unchanged} previous dates, since {since.isoformat()} "
        f"(limit {limits.stale_after}).",
    )


def _outlier(
    currency: str, value: Decimal, past: Sequence[tuple[date, Decimal]], limits: RateLimits
) -> RateFinding | None:
    if not past:
        return None
    previous_date, previous = past[-1]
    move = _move(previous, value)
    recent = [rate for _, rate in past[-(limits.window + 1) :]]
    moves = [_move(earlier, later) for earlier, later in pairwise(recent)]
    score = z_score(move, moves) if len(moves) >= limits.min_moves else None
    reasons: list[str] = []
    # Cross-multiplied, so that the decision does not hang on how the percentage is rounded.
    change = abs(EXACT.subtract(value, previous))
    if EXACT.multiply(change, Decimal(100)) > EXACT.multiply(limits.move_percent, previous):
        reasons.append(f"over the limit of {limits.move_percent} %")
    over_floor = EXACT.multiply(change, Decimal(100)) > EXACT.multiply(limits.move_floor_percent, previous)
    if score is not None and over_floor and abs(score) > limits.z_limit:
        reasons.append(
            f"{abs(score):.1f} standard deviations from the mean of {len(moves)} daily moves (limit {limits.z_limit})"
        )
    if not reasons:
        return None
    direction = "rose" if value > previous else "fell"
    return RateFinding(
        RateFlag.OUTLIER,
        currency,
        value,
        previous,
        previous_date,
        f"{currency} {direction} {abs(move):.2f} % from {previous} on {previous_date.isoformat()} to {value}: "
        f"{' and '.join(reasons)}.",
        move_percent=move,
        z_score=score,
    )


def _move(earlier: Decimal, later: Decimal) -> Decimal:
    """Return the change in percent of the earlier value, to 4 places."""
    return percent_of(EXACT.subtract(later, earlier), earlier)
