"""FX PnL of cash positions in EUR, at rates quoted as currency per 1 EUR (ECB).

A book holds a cash position N in currency c. With r(d) the rate of the business date, r(p) that of the previous TARGET
date and t the rate of a trade of the day:

    opening value   N_open / r(p)                       closing value  N_close / r(d)
    market move     N_open / r(d) - N_open / r(p)       new trade      q / r(d) - q / t
    actual          closing value - opening value - sum(q / t)
    flash           the same, of the trades captured by the cut-off, without those captured late
    unexplained     actual - market move - sum(new trades)

Every figure above is stored under the rule of ``arithmetic``: exact, rounded once to 18 places. ``actual`` is computed
from values and not from its components, and ``unexplained`` is the exact difference of the stored figures: it shows a
position that its trades do not account for, and otherwise nothing but the rounding of the figures in it, at most half
a unit of the 18th place each (``is_rounding_only``). EUR positions have rate 1 and no PnL.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from app.domain.finance.arithmetic import (
    EXACT,
    STORAGE_UNIT,
    FinanceInputError,
    Ratio,
    exact_sum,
    ratio_of,
    require_number,
    require_rate,
    round_to,
)

TRADE_RATE_UNIT = Decimal("0.000001")
BASIS_POINT = Decimal("0.0001")


class Measure(StrEnum):
    """What a PnL fact measures; amounts are in EUR."""

    OPENING_VALUE = "opening_value"
    CLOSING_VALUE = "closing_value"
    FLASH = "flash"
    ACTUAL = "actual"
    MARKET_MOVE = "market_move"
    NEW_TRADES = "new_trades"
    UNEXPLAINED = "unexplained"


EXPLAIN_COMPONENTS = (Measure.MARKET_MOVE, Measure.NEW_TRADES)


class PositionKey(NamedTuple):
    """The grain of a position: a book (its node code) and a currency."""

    book: str
    currency: str


@dataclass(frozen=True, slots=True)
class Trade:
    """Cash of ``currency`` bought (quantity > 0) or sold (< 0) against EUR at ``rate``, in currency per 1 EUR."""

    trade_ref: str
    business_date: date
    book: str
    currency: str
    quantity: Decimal
    rate: Decimal
    captured_late: bool = False

    def __post_init__(self) -> None:
        require_number(f"The quantity of trade {self.trade_ref}", self.quantity)
        require_rate(f"The rate of trade {self.trade_ref}", self.rate)

    @property
    def key(self) -> PositionKey:
        """Return the position that the trade changes."""
        return PositionKey(self.book, self.currency)


@dataclass(frozen=True, slots=True)
class TradePnl:
    """The PnL of one new trade from its own rate to the rate of the day."""

    trade_ref: str
    quantity: Decimal
    rate: Decimal
    captured_late: bool
    amount: Decimal


@dataclass(frozen=True, slots=True)
class PositionPnl:
    """One business date's PnL of one book and currency, explained; amounts in EUR at storage scale."""

    book: str
    currency: str
    opening_quantity: Decimal
    closing_quantity: Decimal
    previous_rate: Decimal
    rate: Decimal
    opening_value: Decimal
    closing_value: Decimal
    flash: Decimal
    actual: Decimal
    market_move: Decimal
    trades: tuple[TradePnl, ...]

    @property
    def new_trades(self) -> Decimal:
        """Return the exact sum of the stored figures of the trades."""
        return exact_sum(trade.amount for trade in self.trades)

    @property
    def unexplained(self) -> Decimal:
        """Return actual - market move - new trades, exactly."""
        return EXACT.subtract(self.actual, exact_sum([self.market_move, self.new_trades]))

    @property
    def is_rounding_only(self) -> bool:
        """Return whether the unexplained amount can come from rounding the stored figures alone."""
        figures = 2 + len(self.trades)
        return EXACT.multiply(Decimal(2), self.unexplained.copy_abs()) <= figures * STORAGE_UNIT

    def measures(self) -> dict[Measure, Decimal]:
        """Return the amount of every measure."""
        return {measure: getattr(self, measure.value) for measure in Measure}


@dataclass(frozen=True, slots=True)
class PnlTotal:
    """Exact sums of stored figures over positions."""

    amounts: Mapping[Measure, Decimal]
    market_move_by_currency: Mapping[str, Decimal]
    positions: int

    @property
    def unexplained(self) -> Decimal:
        """Return actual - sum of the components, exactly."""
        return self.amounts[Measure.UNEXPLAINED]


def value_eur(quantity: Decimal, rate: Decimal) -> Decimal:
    """Return ``quantity / rate`` in EUR at storage scale; ``rate`` is in currency per 1 EUR."""
    require_number("The quantity", quantity)
    return Ratio(quantity, require_rate("The rate", rate)).stored()


def market_move(opening: Decimal, *, previous_rate: Decimal, rate: Decimal) -> Decimal:
    """Return the EUR PnL of holding ``opening`` from the previous rate to the rate of the day."""
    require_number("The opening position", opening)
    require_rate("The rate", rate)
    require_rate("The previous rate", previous_rate)
    return Ratio(opening, rate).plus(EXACT.minus(opening), previous_rate).stored()


def new_trade_pnl(quantity: Decimal, *, trade_rate: Decimal, rate: Decimal) -> Decimal:
    """Return the EUR PnL of a trade of the day from its own rate to the rate of the day."""
    return market_move(quantity, previous_rate=trade_rate, rate=rate)


def rate_with_spread(reference: Decimal, spread_bp: Decimal) -> Decimal:
    """Return ``reference`` moved by a spread in basis points, half to even to 6 decimals."""
    require_rate("The reference rate", reference)
    factor = EXACT.add(Decimal(1), EXACT.multiply(spread_bp, BASIS_POINT))
    dealt = EXACT.multiply(reference, factor)
    return require_rate("The dealt rate", round_to(dealt, TRADE_RATE_UNIT))


def positions_after(opening: Mapping[PositionKey, Decimal], trades: Iterable[Trade]) -> dict[PositionKey, Decimal]:
    """Return the opening positions changed by the trades, exactly; a position that becomes flat stays, at 0."""
    positions = dict(opening)
    for trade in trades:
        positions[trade.key] = EXACT.add(positions.get(trade.key, Decimal(0)), trade.quantity)
    return positions


def positions_at_open(
    initial: Mapping[PositionKey, Decimal], trades: Iterable[Trade], *, business_date: date
) -> dict[PositionKey, Decimal]:
    """Return the positions with which a business date opens: the initial ones and every trade dated before it."""
    return positions_after(initial, (trade for trade in trades if trade.business_date < business_date))


def compute_pnl(
    *,
    opening: Mapping[PositionKey, Decimal],
    trades: Sequence[Trade],
    rates: Mapping[str, Decimal],
    previous_rates: Mapping[str, Decimal],
    closing: Mapping[PositionKey, Decimal] | None = None,
) -> tuple[PositionPnl, ...]:
    """Return the explained PnL of every position, ordered by book and currency.

    ``trades`` are those of one business date. ``closing`` holds the closing positions of record where they come from
    elsewhere than the trades (a ledger, a correction): what they contain beyond the trades is unexplained. Without it
    a position closes at its opening quantity plus its trades.
    Raises: FinanceInputError when a rate is absent, a trade appears twice or trades have several dates.
    """
    if len({trade.business_date for trade in trades}) > 1:
        raise FinanceInputError("The trades of one PnL computation must have one business date.")
    by_position: dict[PositionKey, list[Trade]] = defaultdict(list)
    seen: set[str] = set()
    for trade in trades:
        if trade.trade_ref in seen:
            raise FinanceInputError(f"Trade {trade.trade_ref} appears twice; remove one of them.")
        seen.add(trade.trade_ref)
        by_position[trade.key].append(trade)
    implied = positions_after(opening, trades)
    recorded = implied if closing is None else closing
    return tuple(
        _position_pnl(
            key,
            opening=opening.get(key, Decimal(0)),
            closing=recorded.get(key, Decimal(0)),
            trades=sorted(by_position[key], key=lambda trade: trade.trade_ref),
            rate=_rate_of(key, rates, "the business date"),
            previous_rate=_rate_of(key, previous_rates, "the previous business date"),
        )
        for key in sorted({*implied, *recorded})
    )


def total_by_book(positions: Iterable[PositionPnl]) -> dict[str, PnlTotal]:
    """Return exact totals by book."""
    return _grouped((position.book, position) for position in positions)


def total_by_currency(positions: Iterable[PositionPnl]) -> dict[str, PnlTotal]:
    """Return exact totals by currency of the position (the amounts are in EUR)."""
    return _grouped((position.currency, position) for position in positions)


def total_of(positions: Iterable[PositionPnl]) -> PnlTotal:
    """Return the exact total over positions, for example those under one node."""
    rows = list(positions)
    by_currency: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        by_currency[row.currency] = EXACT.add(by_currency[row.currency], row.market_move)
    columns = [row.measures() for row in rows]
    return PnlTotal(
        amounts={measure: exact_sum(column[measure] for column in columns) for measure in Measure},
        market_move_by_currency=dict(sorted(by_currency.items())),
        positions=len(rows),
    )


def _grouped(keyed: Iterable[tuple[str, PositionPnl]]) -> dict[str, PnlTotal]:
    groups: dict[str, list[PositionPnl]] = defaultdict(list)
    for key, position in keyed:
        groups[key].append(position)
    return {key: total_of(groups[key]) for key in sorted(groups)}


def _rate_of(key: PositionKey, rates: Mapping[str, Decimal], when: str) -> Decimal:
    if key.currency == "EUR":
        return Decimal(1)
    if key.currency not in rates:
        raise FinanceInputError(
            f"Book {key.book} holds {key.currency}, which has no rate on {when}: load or override the rate first."
        )
    return require_rate(f"The {key.currency} rate of {when}", rates[key.currency])


def _position_pnl(
    key: PositionKey,
    *,
    opening: Decimal,
    closing: Decimal,
    trades: Sequence[Trade],
    rate: Decimal,
    previous_rate: Decimal,
) -> PositionPnl:
    for name, quantity in (("opening", opening), ("closing", closing)):
        require_number(f"The {name} {key.currency} position of {key.book}", quantity)
    early = [trade for trade in trades if not trade.captured_late]
    early_close = EXACT.add(opening, exact_sum(trade.quantity for trade in early))
    return PositionPnl(
        book=key.book,
        currency=key.currency,
        opening_quantity=opening,
        closing_quantity=closing,
        previous_rate=previous_rate,
        rate=rate,
        opening_value=value_eur(opening, previous_rate),
        closing_value=value_eur(closing, rate),
        flash=_value_change(opening, early_close, early, rate=rate, previous_rate=previous_rate),
        actual=_value_change(opening, closing, trades, rate=rate, previous_rate=previous_rate),
        market_move=market_move(opening, previous_rate=previous_rate, rate=rate),
        trades=tuple(
            TradePnl(
                trade_ref=trade.trade_ref,
                quantity=trade.quantity,
                rate=trade.rate,
                captured_late=trade.captured_late,
                amount=new_trade_pnl(trade.quantity, trade_rate=trade.rate, rate=rate),
            )
            for trade in trades
        ),
    )


def _value_change(
    opening: Decimal, closing: Decimal, trades: Sequence[Trade], *, rate: Decimal, previous_rate: Decimal
) -> Decimal:
    """Return closing value - opening value - EUR paid for the trades, exact and rounded once."""
    terms: dict[Decimal, Decimal] = defaultdict(Decimal)
    terms[rate] = EXACT.add(terms[rate], closing)
    terms[previous_rate] = EXACT.subtract(terms[previous_rate], opening)
    for trade in trades:
        terms[trade.rate] = EXACT.subtract(terms[trade.rate], trade.quantity)
    return ratio_of(terms).stored()
