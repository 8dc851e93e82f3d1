"""Limits on PnL figures."""

from decimal import Decimal

import pytest

from app.domain.finance.arithmetic import FinanceInputError, z_score
from app.domain.finance.pnl import Measure
from app.domain.finance.thresholds import Breach, Threshold, ThresholdKind, breach_of, find_breaches, thresholds_of

ABSOLUTE = Threshold("ABS", "FXG10", Measure.ACTUAL, ThresholdKind.ABSOLUTE, Decimal(250_000))
PERCENT = Threshold(
    "PCT", "FXG10", Measure.ACTUAL, ThresholdKind.PERCENT, Decimal(15), reference=Measure.FLASH, floor=Decimal(50_000)
)
DAILY = Threshold("Z", "FXG10", Measure.ACTUAL, ThresholdKind.ZSCORE, Decimal(3), window=20, min_values=5)


def amounts(actual: str, flash: str = "0") -> dict[Measure, Decimal]:
    return {Measure.ACTUAL: Decimal(actual), Measure.FLASH: Decimal(flash)}


@pytest.mark.parametrize(
    ("actual", "breached"), [("250000", False), ("-250000", False), ("250000.01", True), ("-250000.01", True)]
)
def test_an_absolute_limit_is_breached_only_beyond_it_on_either_side(actual: str, breached: bool) -> None:
    assert (breach_of(ABSOLUTE, amounts=amounts(actual)) is not None) is breached


def test_a_breach_says_what_was_found_and_what_the_limit_is() -> None:
    assert breach_of(ABSOLUTE, amounts=amounts("-301226.085")) == Breach(
        threshold="ABS",
        node="FXG10",
        measure=Measure.ACTUAL,
        kind=ThresholdKind.ABSOLUTE,
        value=Decimal("-301226.085"),
        observed=Decimal("301226.085"),
        limit=Decimal(250_000),
        text="FXG10: actual PnL is -301,226.08 EUR, over the limit of 250,000.00 EUR.",
    )


@pytest.mark.parametrize(
    ("actual", "flash", "breached"),
    [
        ("115000", "100000", False),
        ("115000.01", "100000", True),
        ("-84999", "-100000", True),
        ("7500", "0", False),
        ("7500.01", "0", True),
        ("-9000", "1", True),
    ],
)
def test_a_percentage_is_taken_of_the_reference_but_never_of_less_than_the_floor(
    actual: str, flash: str, breached: bool
) -> None:
    assert (breach_of(PERCENT, amounts=amounts(actual, flash)) is not None) is breached


def test_the_text_of_a_percentage_says_when_the_floor_was_used() -> None:
    floored = breach_of(PERCENT, amounts=amounts("9000", "1000"))
    plain = breach_of(PERCENT, amounts=amounts("120000", "100000"))
    assert floored is not None
    assert plain is not None
    assert floored.observed == Decimal(16)
    assert "floor of 50,000.00 EUR" in floored.text
    assert "floor" not in plain.text
    assert "+20.0 % from flash PnL of 100,000.00 EUR; the limit is 15 %." in plain.text


def test_a_z_score_waits_for_enough_history_and_uses_only_its_window() -> None:
    past = [Decimal(value) for value in (1, -1, 1, -1, 1, -1)]
    assert breach_of(DAILY, amounts=amounts("50"), history=past[:4]) is None
    found = breach_of(DAILY, amounts=amounts("50"), history=past)
    assert found is not None
    assert found.observed > 45
    wild = [Decimal(10_000), Decimal(-10_000)]
    assert breach_of(DAILY, amounts=amounts("50"), history=[*wild, *past]) is None
    assert breach_of(DAILY, amounts=amounts("50"), history=[*wild, *(past * 4)]) is not None


def test_a_z_score_of_a_history_without_movement_is_undefined() -> None:
    assert z_score(Decimal(5), [Decimal(1)] * 10) is None
    assert z_score(Decimal(5), [Decimal(1)]) is None


def test_z_score_of_a_known_sample() -> None:
    # mean 5, sample standard deviation sqrt(32 / 7)
    sample = [Decimal(value) for value in (2, 4, 4, 4, 5, 5, 7, 9)]
    assert z_score(Decimal(9), sample) == Decimal("1.870829")
    assert z_score(Decimal(9), reversed(sample)) == Decimal("1.870829")


def test_netting_in_a_desk_does_not_hide_the_breach_of_a_book() -> None:
    book = Threshold("BOOK", "FXG10-LDN-USD", Measure.ACTUAL, ThresholdKind.ABSOLUTE, Decimal(100))
    found = find_breaches(
        [ABSOLUTE, book, Threshold("OTHER", "ELSEWHERE", Measure.ACTUAL, ThresholdKind.ABSOLUTE, Decimal(1))],
        amounts={"FXG10": amounts("0"), "FXG10-LDN-USD": amounts("-101")},
        history={},
    )
    assert [breach.threshold for breach in found] == ["BOOK"]


def test_a_measure_that_was_not_computed_is_an_error_not_a_pass() -> None:
    with pytest.raises(FinanceInputError, match="FXG10 has no flash to test"):
        breach_of(PERCENT, amounts={Measure.ACTUAL: Decimal(1)})


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (ThresholdKind.PERCENT, {"reference": Measure.FLASH}, "floor above 0"),
        (ThresholdKind.PERCENT, {"floor": Decimal(1)}, "reference measure"),
        (ThresholdKind.ABSOLUTE, {"reference": Measure.FLASH}, "only a percentage"),
        (ThresholdKind.ZSCORE, {"window": 3, "min_values": 4}, "min_values <= window"),
    ],
)
def test_a_threshold_that_cannot_be_tested_is_refused(
    kind: ThresholdKind, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(FinanceInputError, match=message):
        Threshold("T", "N", Measure.ACTUAL, kind, Decimal(1), **settings)  # type: ignore[arg-type]


def test_a_node_has_one_threshold_for_each_limit_it_is_given() -> None:
    given = thresholds_of(
        "FXG10",
        Measure.ACTUAL,
        absolute_limit=Decimal(250_000),
        percent_limit=Decimal(15),
        percent_floor=Decimal(50_000),
        zscore_limit=Decimal(3),
    )
    assert [(threshold.code, threshold.limit, threshold.floor) for threshold in given] == [
        ("FXG10:actual:absolute", Decimal(250_000), Decimal(0)),
        ("FXG10:actual:percent", Decimal(15), Decimal(50_000)),
        ("FXG10:actual:zscore", Decimal(3), Decimal(0)),
    ]
    assert thresholds_of("FXG10", Measure.ACTUAL) == ()
    with pytest.raises(FinanceInputError, match="floor above 0"):
        thresholds_of("FXG10", Measure.ACTUAL, percent_limit=Decimal(15))
