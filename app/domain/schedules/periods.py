"""Periods of time as dates: days, months, quarters, years, and the 4-4-5 months of retail calendars.

A retail year has whole weeks. It ends on the last weekday of its kind in a month, or on the one nearest to the month's
end; what would drift becomes a 53rd week, which the year's last month takes.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from app.domain.schedules.errors import InvalidRecurrence

_DAY = timedelta(days=1)
_WEEK = timedelta(weeks=1)


class PeriodKind(StrEnum):
    """What a schedule happens once in."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    RETAIL_MONTH = "retail_month"
    RETAIL_QUARTER = "retail_quarter"
    RETAIL_YEAR = "retail_year"
    CRON = "cron"


RETAIL = frozenset({PeriodKind.RETAIL_MONTH, PeriodKind.RETAIL_QUARTER, PeriodKind.RETAIL_YEAR})
_MONTHS = {PeriodKind.MONTH: 1, PeriodKind.QUARTER: 3, PeriodKind.YEAR: 12}


class Weekday(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


WEEKDAYS: tuple[Weekday, ...] = tuple(Weekday)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """From `first` to `last`, both in it."""

    first: date
    last: date
    label: str


def single_day(day: date) -> Period:
    return Period(day, day, day.isoformat())


def calendar_periods(
    kind: PeriodKind, start: date, end: date, *, year_begins: int, every: int, phase: date
) -> Iterator[Period]:
    """Months, quarters or years that touch `[start, end]`, in order; every n-th from the one that `phase` is in."""
    length = _MONTHS[kind]
    shift = year_begins - 1

    def number(day: date) -> int:
        return (day.year * 12 + day.month - 1 - shift) // length

    origin = number(phase)
    for n in range(number(start), number(end) + 1):
        if (n - origin) % every:
            continue
        month = n * length + shift
        if month < 12 or month + length >= 12 * 9999:
            continue
        first = date(month // 12, month % 12 + 1, 1)
        closing = month + length - 1
        last_month = date(closing // 12, closing % 12 + 1, 1)
        last = last_month.replace(day=monthrange(last_month.year, last_month.month)[1])
        yield Period(first, last, _label(kind, first, last, shift))


def _label(kind: PeriodKind, first: date, last: date, shift: int) -> str:
    if kind is PeriodKind.MONTH:
        return f"{first:%Y-%m}"
    year = last.year if shift else first.year  # a fiscal year is named for the calendar year in which it ends
    if kind is PeriodKind.YEAR:
        return f"{year}"
    quarter = (first.month - 1 - shift) % 12 // 3 + 1
    begins = first.month - 1 - (quarter - 1) * 3
    year_start = first.year if begins >= 0 else first.year - 1
    return f"{year_start + (1 if shift else 0)}-Q{quarter}"


class RetailPattern(StrEnum):
    """Weeks of the three months of a quarter."""

    P445 = "445"
    P454 = "454"
    P544 = "544"


class RetailRule(StrEnum):
    LAST = "last"
    NEAREST = "nearest"


@dataclass(frozen=True, slots=True)
class RetailYears:
    """Years of whole weeks that end on `weekday` (Monday is 0) in or near the end of `month`."""

    pattern: RetailPattern
    rule: RetailRule
    month: int
    weekday: int

    @classmethod
    def from_start(cls, pattern: RetailPattern, rule: RetailRule, start: date) -> "RetailYears":
        """The years of which one begins on `start`.

        Raises:
            InvalidRecurrence: by this rule no year begins there; the message names a date on which one does.
        """
        closing = start - _DAY
        before = (closing.replace(day=1) - _DAY).month
        month = before if rule is RetailRule.NEAREST and closing.day <= 3 else closing.month
        years = cls(pattern, rule, month, closing.weekday())
        if start not in years._starts_around(start):
            near = [*years._starts_around(start), *cls(pattern, rule, before, closing.weekday())._starts_around(start)]
            nearest = min(near, key=lambda day: abs((day - start).days))
            raise InvalidRecurrence(
                "retail_year_start",
                f"By this rule no year begins on {start}; the nearest year begins on {nearest}.",
            )
        return years

    def end_of(self, year: int) -> date:
        """The last day of the retail year that ends in, or at the turn of, this calendar year's `month`."""
        closing = date(year, self.month, monthrange(year, self.month)[1])
        back = (closing.weekday() - self.weekday) % 7
        if self.rule is RetailRule.NEAREST and back > 3:
            return closing + timedelta(days=7 - back)
        return closing - timedelta(days=back)

    def start_of(self, year: int) -> date:
        return self.end_of(year - 1) + _DAY

    def _starts_around(self, day: date) -> list[date]:
        return [self.start_of(year) for year in (day.year - 1, day.year, day.year + 1)]

    def weeks_of(self, year: int) -> int:
        """52 or 53."""
        return (self.end_of(year) - self.end_of(year - 1)).days // 7

    def months_of(self, year: int) -> list[Period]:
        """The twelve months of the year; the last one takes a 53rd week."""
        weeks = [int(digit) for digit in self.pattern.value] * 4
        weeks[-1] += self.weeks_of(year) - 52
        months: list[Period] = []
        first = self.start_of(year)
        for number, count in enumerate(weeks, start=1):
            following = first + count * _WEEK
            months.append(Period(first, following - _DAY, f"{self._named(year)}-P{number:02d}"))
            first = following
        return months

    def _named(self, year: int) -> int:
        """A year is named for the calendar year in which most of it lies."""
        return year if self.month >= 7 else year - 1

    def periods(self, kind: PeriodKind, start: date, end: date) -> Iterator[Period]:
        """Retail months, quarters or years that touch `[start, end]`, in order."""
        size = {PeriodKind.RETAIL_MONTH: 1, PeriodKind.RETAIL_QUARTER: 3, PeriodKind.RETAIL_YEAR: 12}[kind]
        for year in range(start.year - 1, end.year + 3):
            months = self.months_of(year)
            for at in range(0, 12, size):
                first, last = months[at], months[at + size - 1]
                if last.last < start or first.first > end:
                    continue
                name = self._named(year)
                label = {1: first.label, 3: f"{name}-Q{at // 3 + 1}", 12: f"{name}"}[size]
                yield Period(first.first, last.last, label)
