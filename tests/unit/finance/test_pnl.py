"""The PnL figures against a second computation in fractions."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.finance.arithmetic import EXACT, STORAGE_UNIT, FinanceInputError, Ratio, display_amount, exact_sum
from app.domain.finance.pnl import (
    EXPLAIN_COMPONENTS,
    Measure,
    PositionKey,
    PositionPnl,
    Trade,
    compute_pnl,
    market_move,
    new_trade_pnl,
    positions_after,
    positions_at_open,
    rate_with_spread,
    total_by_book,
    total_by_currency,
    total_of,
    value_eur,
)
from tests.unit.finance.exact import eighteen_places

DAY = date(2026, 10, 30)
BEFORE = date(2026, 10, 29)
USD = PositionKey("LDN", "USD")

quantities = st.decimals(min_value=-(10**13), max_value=10**13, places=2)
rates = st.decimals(min_value="0.0001", max_value=400_000, places=4)
late = st.booleans()


def dollar_trade(ref: str, quantity: str, rate: str, *, on: date = DAY, captured_late: bool = False) -> Trade:
    return Trade(ref, on, "LDN", "USD", Decimal(quantity), Decimal(rate), captured_late)


def one_position(
    opening: Decimal,
    trades: Sequence[Trade] = (),
    *,
    rate: str = "1.1172",
    previous: str = "1.1130",
    closing: Mapping[PositionKey, Decimal] | None = None,
) -> PositionPnl:
    (result,) = compute_pnl(
        opening={USD: opening},
        trades=trades,
        rates={"USD": Decimal(rate)},
        previous_rates={"USD": Decimal(previous)},
        closing=closing,
    )
    return result


@given(quantities, rates)
def test_value_is_the_exact_quotient_rounded_once(quantity: Decimal, rate: Decimal) -> None:
    assert value_eur(quantity, rate) == eighteen_places(Fraction(quantity) / Fraction(rate))


@given(quantities, rates, rates)
def test_market_move_is_the_exact_difference_of_values_rounded_once(
    quantity: Decimal, previous: Decimal, rate: Decimal
) -> None:
    exact = Fraction(quantity) * (1 / Fraction(rate) - 1 / Fraction(previous))
    assert market_move(quantity, previous_rate=previous, rate=rate) == eighteen_places(exact)


@given(
    quantities,
    rates,
    rates,
    st.lists(st.tuples(quantities, rates, late), max_size=12),
)
def test_every_figure_of_a_position_equals_its_fraction(
    opening: Decimal, previous: Decimal, rate: Decimal, deals: list[tuple[Decimal, Decimal, bool]]
) -> None:
    trades = [Trade(f"T{i:02d}", DAY, "LDN", "USD", q, t, is_late) for i, (q, t, is_late) in enumerate(deals)]
    (result,) = compute_pnl(
        opening={USD: opening}, trades=trades, rates={"USD": rate}, previous_rates={"USD": previous}
    )
    held = Fraction(opening) * (1 / Fraction(rate) - 1 / Fraction(previous))
    per_trade = [Fraction(q) * (1 / Fraction(rate) - 1 / Fraction(t)) for q, t, _ in deals]
    on_time = sum((pnl for pnl, (_, _, is_late) in zip(per_trade, deals, strict=True) if not is_late), Fraction())
    assert result.actual == eighteen_places(held + sum(per_trade, Fraction()))
    assert result.flash == eighteen_places(held + on_time)
    assert result.market_move == eighteen_places(held)
    assert [trade.amount for trade in result.trades] == [eighteen_places(pnl) for pnl in per_trade]
    assert Fraction(result.new_trades) == sum((Fraction(trade.amount) for trade in result.trades), Fraction())
    assert Fraction(result.unexplained) == Fraction(result.actual) - Fraction(result.market_move) - Fraction(
        result.new_trades
    )
    assert result.is_rounding_only


@given(quantities, rates, rates, st.integers(min_value=1, max_value=60))
def test_figures_do_not_depend_on_the_precision_of_the_calling_thread(
    quantity: Decimal, previous: Decimal, rate: Decimal, precision: int
) -> None:
    expected = one_position(quantity, rate=str(rate), previous=str(previous)).measures()
    with localcontext() as context:
        context.prec = precision
        assert one_position(quantity, rate=str(rate), previous=str(previous)).measures() == expected


def test_rounding_is_half_to_even_at_the_eighteenth_place() -> None:
    assert Ratio(Decimal("1E-18"), Decimal(2)).stored() == Decimal(0)
    assert Ratio(Decimal("3E-18"), Decimal(2)).stored() == Decimal("2E-18")


def test_a_quotient_just_above_a_tie_is_not_rounded_twice() -> None:
    # 0.5E-18 + 1E-100: rounding it to 76 digits first, half to even, would make it a tie and then 0
    barely_more = Ratio(EXACT.add(Decimal("0.5E-18"), Decimal("1E-100")), Decimal(1))
    assert barely_more.stored() == STORAGE_UNIT


def test_terms_that_cancel_leave_exactly_zero_and_never_a_negative_zero() -> None:
    result = one_position(Decimal(0), [dollar_trade("A", "3", "0.7"), dollar_trade("B", "-3", "0.7")])
    assert result.actual == 0
    assert not result.actual.is_signed()
    assert not display_amount(Decimal("-0.004")).is_signed()


def test_a_known_day_is_computed_as_on_paper() -> None:
    result = one_position(
        Decimal(1_000_000),
        [dollar_trade("A", "500000", "1.1150"), dollar_trade("B", "-250000", "1.12", captured_late=True)],
    )
    assert display_amount(result.opening_value) == Decimal("898472.60")
    assert display_amount(result.market_move) == Decimal("-3377.72")
    assert [display_amount(trade.amount) for trade in result.trades] == [Decimal("-883.05"), Decimal("-559.43")]
    assert display_amount(result.flash) == Decimal("-4260.77")
    assert display_amount(result.actual) == Decimal("-4820.20")
    assert result.closing_quantity == Decimal(1_250_000)


def test_a_position_break_is_unexplained_in_full() -> None:
    matched = one_position(Decimal(1_000_000))
    broken = one_position(Decimal(1_000_000), closing={USD: Decimal(1_100_000)})
    assert broken.unexplained - matched.unexplained == value_eur(Decimal(100_000), Decimal("1.1172"))
    assert broken.market_move == matched.market_move
    assert not broken.is_rounding_only


def test_a_position_that_only_the_ledger_knows_is_computed_too() -> None:
    closing = {PositionKey("LDN", "CHF"): Decimal(90), USD: Decimal(10)}
    results = compute_pnl(
        opening={USD: Decimal(10)},
        trades=[],
        rates={"USD": Decimal(1), "CHF": Decimal("0.9")},
        previous_rates={"USD": Decimal(1), "CHF": Decimal("0.8")},
        closing=closing,
    )
    assert [(row.currency, row.actual, row.unexplained) for row in results] == [
        ("CHF", Decimal(100), Decimal(100)),
        ("USD", Decimal(0), Decimal(0)),
    ]


def test_euro_positions_need_no_rate_and_make_no_pnl() -> None:
    (result,) = compute_pnl(
        opening={PositionKey("LDN", "EUR"): Decimal("12.34")}, trades=[], rates={}, previous_rates={}
    )
    assert result.actual == 0
    assert result.closing_value == Decimal("12.34")


def test_totals_by_book_and_by_currency_are_the_same_exact_sum() -> None:
    keys = [PositionKey(book, currency) for book in ("A", "B") for currency in ("CHF", "USD")]
    results = compute_pnl(
        opening={key: Decimal(1_000_003 * (index + 1)) for index, key in enumerate(keys)},
        trades=[Trade("T1", DAY, "B", "USD", Decimal(7), Decimal("1.3"))],
        rates={"CHF": Decimal("0.9194"), "USD": Decimal("1.1172")},
        previous_rates={"CHF": Decimal("0.9222"), "USD": Decimal("1.113")},
    )
    total = total_of(results)
    for measure in Measure:
        for split in (total_by_book(results), total_by_currency(results)):
            assert exact_sum(part.amounts[measure] for part in split.values()) == total.amounts[measure]
    assert list(total_by_book(results)) == ["A", "B"]
    assert list(total_by_currency(results)) == ["CHF", "USD"]
    assert total.positions == 4
    assert exact_sum(total.market_move_by_currency.values()) == total.amounts[Measure.MARKET_MOVE]
    explained = exact_sum(total.amounts[component] for component in EXPLAIN_COMPONENTS)
    assert total.unexplained == total.amounts[Measure.ACTUAL] - explained


def test_positions_open_with_every_trade_dated_before_and_close_with_those_of_the_day() -> None:
    trades = [dollar_trade("A", "5", "1.1", on=BEFORE), dollar_trade("B", "-2", "1.1", on=DAY)]
    opening = positions_at_open({USD: Decimal(10)}, trades, business_date=DAY)
    assert opening == {USD: Decimal(15)}
    assert positions_after(opening, [trades[1]]) == {USD: Decimal(13)}


def test_a_spread_moves_the_reference_rate_by_basis_points() -> None:
    assert rate_with_spread(Decimal("1.1172"), Decimal(25)) == Decimal("1.119993")
    assert rate_with_spread(Decimal("20275.17"), Decimal("-10.5")) == Decimal("20253.881072")  # ...0715 to even


@pytest.mark.parametrize(
    ("rates_given", "message"),
    [
        ({}, "Book LDN holds USD, which has no rate on the business date"),
        ({"USD": Decimal(0)}, "must be positive"),
        ({"USD": Decimal("-1.1")}, "must be positive"),
        ({"USD": Decimal("NaN")}, "finite"),
    ],
)
def test_an_unusable_rate_is_refused_by_name(rates_given: dict[str, Decimal], message: str) -> None:
    with pytest.raises(FinanceInputError, match=message):
        compute_pnl(opening={USD: Decimal(1)}, trades=[], rates=rates_given, previous_rates={"USD": Decimal("1.1")})


def test_a_missing_previous_rate_is_refused_even_for_a_position_opened_today() -> None:
    with pytest.raises(FinanceInputError, match="no rate on the previous business date"):
        compute_pnl(
            opening={}, trades=[dollar_trade("A", "1", "1.1")], rates={"USD": Decimal("1.1")}, previous_rates={}
        )


def test_a_trade_given_twice_or_of_another_date_is_refused() -> None:
    twice = [dollar_trade("A", "1", "1.1"), dollar_trade("A", "1", "1.1")]
    with pytest.raises(FinanceInputError, match="Trade A appears twice"):
        one_position(Decimal(1), twice)
    with pytest.raises(FinanceInputError, match="one business date"):
        one_position(Decimal(1), [dollar_trade("A", "1", "1.1"), dollar_trade("B", "1", "1.1", on=BEFORE)])


@pytest.mark.parametrize("quantity", ["Infinity", "1E+21", "1E-19"])
def test_a_quantity_that_storage_cannot_hold_is_refused(quantity: str) -> None:
    with pytest.raises(FinanceInputError, match="quantity of trade A"):
        dollar_trade("A", quantity, "1.1")


def test_a_figure_beyond_the_storage_range_is_refused_not_truncated() -> None:
    with pytest.raises(FinanceInputError, match="does not fit numeric"):
        value_eur(Decimal("9E+19"), Decimal("0.0001"))


def test_a_trade_of_the_day_makes_the_same_pnl_as_a_holding_from_its_rate() -> None:
    arguments = {"rate": Decimal("1.1172")}
    assert new_trade_pnl(Decimal(7), trade_rate=Decimal("1.1"), **arguments) == market_move(
        Decimal(7), previous_rate=Decimal("1.1"), **arguments
    )
