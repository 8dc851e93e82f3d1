"""Missing, stale and outlying rates."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import pytest

from app.domain.finance.arithmetic import FinanceInputError
from app.domain.finance.rate_checks import DatedRates, RateCheckPlan, RateFlag, RateLimits, check_rates

TODAY = date(2026, 10, 30)
ALTERNATING = ["1.1000", "1.1011"] * 15  # about 0.1 % up and down


def history_of(values: Sequence[str | None], currency: str = "USD") -> list[DatedRates]:
    first = TODAY - timedelta(days=len(values))
    return [
        DatedRates(first + timedelta(days=index), {} if value is None else {currency: Decimal(value)})
        for index, value in enumerate(values)
    ]


def flags(value: str | None, past: Sequence[str | None], limits: RateLimits | None = None) -> list[RateFlag]:
    today = DatedRates(TODAY, {} if value is None else {"USD": Decimal(value)})
    plan = RateCheckPlan(["USD"], limits or RateLimits())
    return [finding.flag for finding in check_rates(today, history=history_of(past), plan=plan)]


def test_an_ordinary_move_has_no_findings() -> None:
    assert flags("1.1005", ALTERNATING) == []


def test_an_expected_currency_without_a_rate_is_missing_and_shows_its_last_value() -> None:
    (finding,) = check_rates(
        DatedRates(TODAY, {"CHF": Decimal("0.92")}), history=history_of(["1.1", None]), plan=RateCheckPlan(["USD"])
    )
    assert finding.flag is RateFlag.MISSING
    assert finding.previous == Decimal("1.1")
    assert finding.explanation == "No USD rate for 2026-10-30; the last is 1.1 of 2026-10-28."


def test_a_currency_that_nobody_expects_is_not_checked() -> None:
    assert (
        check_rates(DatedRates(TODAY, {"USD": Decimal(9)}), history=[], plan=RateCheckPlan(["CHF"]))[0].currency
        == "CHF"
    )
    assert check_rates(DatedRates(TODAY, {"USD": Decimal(9)}), history=[], plan=RateCheckPlan([])) == ()


@pytest.mark.parametrize(
    ("past", "expected"),
    [
        (["1.2", "1.1", "1.1"], []),
        (["1.1", "1.1", "1.1"], [RateFlag.STALE]),
        (["1.10", "1.1", "1.100"], [RateFlag.STALE]),
        (["1.1", None, "1.1", "1.1"], [RateFlag.STALE]),
        (["1.1", "1.1", "1.11"], []),
    ],
)
def test_a_value_is_stale_when_the_last_three_quotes_are_the_same(
    past: list[str | None], expected: list[RateFlag]
) -> None:
    assert flags("1.1", past) == expected


def test_a_move_is_an_outlier_beyond_the_limit_and_not_at_it() -> None:
    assert flags("1.04", ["1"]) == []
    assert flags("1.0401", ["1"]) == [RateFlag.OUTLIER]
    assert flags("0.9599", ["1"]) == [RateFlag.OUTLIER]


def test_a_move_far_from_its_own_history_is_an_outlier_though_below_the_percentage() -> None:
    (finding,) = check_rates(
        DatedRates(TODAY, {"USD": Decimal("1.1121")}), history=history_of(ALTERNATING), plan=RateCheckPlan(["USD"])
    )
    assert finding.flag is RateFlag.OUTLIER
    assert finding.move_percent == Decimal("0.9990")
    assert finding.z_score is not None
    assert finding.z_score > 4
    assert "rose 1.00 % from 1.1011 on 2026-10-29 to 1.1121" in finding.explanation
    assert "over the limit of 4 %" not in finding.explanation


def test_a_z_score_is_not_judged_on_too_short_a_history_or_too_small_a_move() -> None:
    assert flags("1.1121", ALTERNATING[:20]) == []
    pegged = ["7.4735", "7.4736"] * 15
    assert flags("7.4750", pegged) == []
    assert flags("7.4750", pegged, RateLimits(move_floor_percent=Decimal(0))) == [RateFlag.OUTLIER]


def test_a_currency_can_have_limits_of_its_own() -> None:
    plan = RateCheckPlan(["USD"], by_currency={"USD": RateLimits(move_percent=Decimal(20), window=90)})
    assert check_rates(DatedRates(TODAY, {"USD": Decimal("1.1")}), history=history_of(["1"]), plan=plan) == ()
    assert plan.history_needed == 91


def test_a_history_that_is_out_of_order_or_reaches_today_is_refused() -> None:
    past = history_of(["1", "1.1"])
    today = DatedRates(TODAY, {"USD": Decimal(1)})
    for wrong in (past[::-1], [*past, today], [past[0], past[0]]):
        with pytest.raises(FinanceInputError, match="ascending"):
            check_rates(today, history=wrong, plan=RateCheckPlan(["USD"]))


def test_a_rate_that_is_not_positive_is_refused_by_currency_and_date() -> None:
    with pytest.raises(FinanceInputError, match="USD on 2026-10-30 must be positive"):
        flags("0", ["1"])


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(FinanceInputError, match="window >= min_moves"):
        RateLimits(window=5, min_moves=6)
    with pytest.raises(FinanceInputError, match="move_percent > 0"):
        RateLimits(move_percent=Decimal(0))
