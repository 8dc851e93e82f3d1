"""Make the sample positions and trades of the demo: ``python demo/make_sample.py`` rewrites the two CSV files.

The result depends on the seed and on nothing else. Dates are business-day offsets from the last date of the rate file
(0 is that date, -1 the TARGET day before it), and a trade's rate is a spread in basis points over the ECB reference
rate of its day, so that the files fit whatever dates the installed rate file ends on. Quantities are whole lots: no
amount passes through binary floating point.
"""

import csv
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SEED = 20_240_102
FIRST_OFFSET = -74
CUT_OFF_MINUTE = 16 * 60  # trades captured later than 16:00 are late
FOLDER = Path(__file__).parent
POSITION_COLUMNS = ("day_offset", "book", "currency", "quantity")
TRADE_COLUMNS = (
    "trade_ref",
    "day_offset",
    "traded_at",
    "captured_at",
    "book",
    "currency",
    "side",
    "quantity",
    "spread_bp",
    "counterparty",
    "late_reason",
)
LATE_REASONS = (
    "Client confirmed the order after the cut-off",
    "Voice trade entered from the blotter after the cut-off",
    "Give-up from the interdealer broker arrived late",
)
COUNTERPARTIES = (
    "Aldermoor Asset Management",
    "Brightwater Shipping",
    "Cassel Automotive",
    "Delmare Foods",
    "Eastholm Pension Fund",
    "Fjordkraft Energy",
    "Granit Insurance",
    "Hanseatic Commodities",
    "Interdealer market",
    "Juniper Aerospace",
)


@dataclass(frozen=True)
class BookProfile:
    """How a book trades: in lots of ``lot`` units, around ``target`` lots, leaning back to it beyond ``band`` lots."""

    book: str
    currency: str
    lot: int
    target: int
    band: int
    largest: int
    trades_a_day: int
    spread_tenths_bp: int


BOOKS = (
    BookProfile("FXG10-LDN-USD", "USD", 500_000, 76, 30, 24, 8, 160),
    BookProfile("FXG10-LDN-GBP", "GBP", 250_000, -84, 30, 20, 6, 130),
    BookProfile("FXG10-LDN-CHF", "CHF", 250_000, 60, 24, 16, 4, 120),
    BookProfile("FXG10-FRA-USD", "USD", 500_000, -48, 24, 20, 6, 160),
    BookProfile("FXG10-FRA-SEK", "SEK", 2_500_000, 70, 26, 16, 4, 150),
    BookProfile("FXG10-NYC-CAD", "CAD", 500_000, 50, 22, 16, 5, 150),
    BookProfile("FXG10-SGP-JPY", "JPY", 50_000_000, 64, 30, 20, 6, 180),
    BookProfile("FXG10-SGP-AUD", "AUD", 500_000, -40, 20, 16, 4, 170),
    BookProfile("FXEM-LDN-ZAR", "ZAR", 5_000_000, 42, 20, 12, 4, 300),
    BookProfile("FXEM-LDN-TRY", "TRY", 10_000_000, 18, 10, 8, 3, 220),
    BookProfile("FXEM-FRA-PLN", "PLN", 1_000_000, 56, 22, 14, 4, 160),
    BookProfile("FXEM-FRA-HUF", "HUF", 100_000_000, 40, 18, 12, 3, 200),
    BookProfile("FXEM-NYC-BRL", "BRL", 1_000_000, 60, 24, 14, 4, 320),
    BookProfile("FXEM-NYC-MXN", "MXN", 5_000_000, 54, 22, 14, 4, 280),
)

# Client orders that reach the trade capture after the cut-off of the last day: flash and actual part on both desks, so
# that the run of that day has something to comment on, whatever its rates are. (dealt, captured, book, lots, spread)
LATE_ORDERS = (
    (15 * 60 + 52, 16 * 60 + 5, "FXG10-LDN-GBP", 32, 340),
    (15 * 60 + 55, 16 * 60 + 7, "FXG10-LDN-GBP", 28, 360),
    (15 * 60 + 47, 16 * 60 + 9, "FXEM-NYC-BRL", 40, 550),
    (15 * 60 + 57, 16 * 60 + 12, "FXEM-NYC-BRL", 35, 450),
)


class Chance:
    """Draws built on ``random.random`` alone, the one method whose sequence Python promises to keep for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, bound: int) -> int:
        """Return an integer from 0 to ``bound - 1``."""
        return int(self._random.random() * bound)

    def between(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``."""
        return low + self.below(high - low + 1)

    def happens(self, percent: int) -> bool:
        """Return True in ``percent`` of 100 cases."""
        return self.below(100) < percent

    def bell(self, spread: int) -> int:
        """Return an integer around 0 with a standard deviation of about ``spread`` (sum of twelve draws)."""
        return sum(self.between(-spread, spread) for _ in range(12)) // 2


def initial_positions(chance: Chance) -> dict[str, int]:
    """Return the lots each book holds at the close before the first trade day."""
    return {profile.book: profile.target + chance.bell(profile.band // 4) for profile in BOOKS}


def trades(chance: Chance, lots: dict[str, int]) -> Iterator[tuple[str | int, ...]]:
    """Yield the rows of the trades file by day and time of the deal."""
    number = 0
    for offset in range(FIRST_OFFSET, 1):
        heavy_day = chance.happens(8)
        day: list[tuple[int, int, BookProfile, int, int]] = []
        for profile in BOOKS:
            count = max(0, profile.trades_a_day + chance.bell(1 + profile.trades_a_day // 4))
            for _ in range(2 * count if heavy_day else count):
                quantity = _next_quantity(chance, profile, lots[profile.book])
                lots[profile.book] += quantity
                dealt = chance.between(8 * 60, CUT_OFF_MINUTE - 1)
                late = chance.happens(3)
                captured = chance.between(CUT_OFF_MINUTE + 1, CUT_OFF_MINUTE + 24) if late else dealt
                # a client pays the spread: the book buys the currency a little cheaper, so at more units per EUR
                margin = chance.between(0, 20) if quantity > 0 else -chance.between(0, 20)
                day.append((dealt, captured, profile, quantity, margin + chance.bell(profile.spread_tenths_bp)))
        if offset == 0:
            day.extend(
                (dealt, captured, profile, quantity, spread)
                for dealt, captured, book, quantity, spread in LATE_ORDERS
                for profile in BOOKS
                if profile.book == book
            )
        for dealt, captured, profile, quantity, spread in sorted(day, key=lambda deal: (deal[0], deal[2].book)):
            number += 1
            yield (
                f"FXT-{number:06d}",
                offset,
                _clock(dealt),
                _clock(captured),
                profile.book,
                profile.currency,
                "buy" if quantity > 0 else "sell",
                abs(quantity) * profile.lot,
                f"{'-' if spread < 0 else ''}{abs(spread) // 10}.{abs(spread) % 10}",
                COUNTERPARTIES[chance.below(len(COUNTERPARTIES))],
                LATE_REASONS[chance.below(len(LATE_REASONS))] if captured > CUT_OFF_MINUTE else "",
            )


def _next_quantity(chance: Chance, profile: BookProfile, held: int) -> int:
    size = chance.between(1, profile.largest)
    if held > profile.target + profile.band:
        buys = chance.happens(15)
    elif held < profile.target - profile.band:
        buys = chance.happens(85)
    else:
        buys = chance.happens(50)
    return size if buys else -size


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def write(folder: Path) -> None:
    """Write ``positions.csv`` and ``trades.csv`` into ``folder``."""
    chance = Chance(SEED)
    lots = initial_positions(chance)
    opening = [
        (FIRST_OFFSET - 1, profile.book, profile.currency, lots[profile.book] * profile.lot) for profile in BOOKS
    ]
    _write_csv(folder / "positions.csv", POSITION_COLUMNS, opening)
    _write_csv(folder / "trades.csv", TRADE_COLUMNS, list(trades(chance, lots)))


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    write(FOLDER)
