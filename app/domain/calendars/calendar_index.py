"""Sorted indexes over a calendar's working days and working time, so that a question about years is two bisections.

Each index covers a span of whole years and grows when a question reaches past it. A span is replaced as one value: a
reader in another thread sees the old or the new one, never a half.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import NamedTuple, Protocol, TypeAlias

from app.domain.calendars.errors import OutsideCalendarRange

FIRST_YEAR = 1900
LAST_YEAR = 2200
MICROSECOND = timedelta(microseconds=1)
DAY_MICROS = 86_400_000_000

Period: TypeAlias = tuple[int, int]
"""`[start, end)` in microseconds since 1970-01-01 UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = _EPOCH.toordinal()


class Source(Protocol):
    """What an index reads from its calendar."""

    @property
    def code(self) -> str: ...

    def is_working_day(self, day: date) -> bool: ...

    def open_periods(self, first_year: int, last_year: int) -> list[Period]: ...


class WorkingDays:
    """The working days of a calendar as sorted ordinals."""

    __slots__ = ("_span",)

    def __init__(self) -> None:
        self._span: tuple[int, int, list[int]] | None = None

    def move(self, source: Source, day: date, count: int) -> date:
        """Return the date `count` working days from `day`; zero is the day itself or the next working day."""
        ordinal = day.toordinal()
        first, last, ordinals = self._covering(source, day.year, day.year)
        while True:
            at = (bisect_right(ordinals, ordinal) - 1 if count > 0 else bisect_left(ordinals, ordinal)) + count
            if 0 <= at < len(ordinals):
                return date.fromordinal(ordinals[at])
            if at < 0:
                wider = max(FIRST_YEAR, first - (1 - at // 200)), last
            else:
                wider = first, min(LAST_YEAR, last + 1 + (at - len(ordinals)) // 200)
            if wider == (first, last):
                raise OutsideCalendarRange(
                    f"Calendar {source.code} has no date {count:+d} working days from {day}: calendars cover "
                    f"{FIRST_YEAR} to {LAST_YEAR}. Use a smaller number of days, or check that the calendar ever works."
                )
            first, last, ordinals = self._covering(source, *wider)

    def count(self, source: Source, start: date, end: date) -> int:
        """Count the working days in `[start, end)`, negative where `end` is before `start`."""
        _, _, ordinals = self._covering(source, min(start.year, end.year), max(start.year, end.year))
        return bisect_left(ordinals, end.toordinal()) - bisect_left(ordinals, start.toordinal())

    def _covering(self, source: Source, first: int, last: int) -> tuple[int, int, list[int]]:
        span = self._span
        if span is not None and span[0] <= first and last <= span[1]:
            return span
        _require_years(first, last)
        if span is None:
            span = first, last, _working_ordinals(source, first, last)
        else:
            earlier = _working_ordinals(source, first, span[0] - 1)
            later = _working_ordinals(source, span[1] + 1, last)
            span = min(first, span[0]), max(last, span[1]), [*earlier, *span[2], *later]
        self._span = span
        return span


def _working_ordinals(source: Source, first_year: int, last_year: int) -> list[int]:
    start, end = date(first_year, 1, 1).toordinal(), date(last_year, 12, 31).toordinal()
    return [n for n in range(start, end + 1) if source.is_working_day(date.fromordinal(n))]


class _TimeSpan(NamedTuple):
    first: int
    last: int
    starts: list[int]
    ends: list[int]
    worked: list[int]  # working time from the beginning of the span to the end of each period

    def position(self, at: int) -> int:
        """Return the working time from the beginning of the span to `at`."""
        index = bisect_right(self.starts, at) - 1
        return self.worked[index] - max(0, self.ends[index] - at) if index >= 0 else 0


class OpenTime:
    """The working time of a calendar as sorted periods with running totals."""

    __slots__ = ("_span",)

    def __init__(self) -> None:
        self._span: _TimeSpan | None = None

    def is_open(self, source: Source, at: int) -> bool:
        """Say whether `at` lies in a working period."""
        span = self._covering(source, _year(at), _year(at))
        index = bisect_right(span.starts, at) - 1
        return index >= 0 and at < span.ends[index]

    def between(self, source: Source, start: int, end: int) -> int:
        """Return the working microseconds in `[start, end)`, negative where `end` is before `start`."""
        years = _year(start), _year(end)
        span = self._covering(source, min(years), max(years))
        return span.position(end) - span.position(start)

    def move(self, source: Source, at: int, amount: int) -> int:
        """Return the earliest moment `amount` of working time after `at`, or the latest before it if negative."""
        if amount == 0:
            return at
        span = self._covering(source, _year(at), _year(at))
        while True:
            goal = span.position(at) + amount
            if amount > 0:
                index = bisect_left(span.worked, goal)
                if index < len(span.worked):
                    return span.ends[index] - (span.worked[index] - goal)
                wider = span.first, min(LAST_YEAR, span.last + 1 + span.last - span.first)
            else:
                if goal >= 0:
                    index = bisect_right(span.worked, goal)
                    return span.ends[index] - (span.worked[index] - goal)
                wider = max(FIRST_YEAR, span.first - 1 - span.last + span.first), span.last
            if wider == (span.first, span.last):
                raise OutsideCalendarRange(
                    f"Calendar {source.code} has no moment {amount * MICROSECOND} of working time from "
                    f"{from_micros(at).isoformat()}: calendars cover {FIRST_YEAR} to {LAST_YEAR}. "
                    "Use a shorter time, or check that the calendar is ever open."
                )
            span = self._covering(source, *wider)

    def _covering(self, source: Source, first: int, last: int) -> _TimeSpan:
        span = self._span
        if span is not None:
            if span.first <= first and last <= span.last:
                return span
            first, last = min(first, span.first), max(last, span.last)
        _require_years(first, last)
        periods = source.open_periods(first, last)
        span = _TimeSpan(
            first=first,
            last=last,
            starts=[start for start, _ in periods],
            ends=[end for _, end in periods],
            worked=list(accumulate(end - start for start, end in periods)),
        )
        self._span = span
        return span


def _require_years(first: int, last: int) -> None:
    if first < FIRST_YEAR or last > LAST_YEAR:
        wrong = first if first < FIRST_YEAR else last
        raise OutsideCalendarRange(f"Calendars cover the years {FIRST_YEAR} to {LAST_YEAR}, not {wrong}.")


def micros(instant: datetime) -> int:
    """Return an aware instant as microseconds since 1970-01-01 UTC."""
    return (instant - _EPOCH) // MICROSECOND


def from_micros(at: int) -> datetime:
    """Return microseconds since 1970-01-01 UTC as an aware instant in UTC."""
    return _EPOCH + at * MICROSECOND


def day_micros(ordinal: int) -> int:
    """Return the midnight that begins a date as if its zone were UTC."""
    return (ordinal - _EPOCH_ORDINAL) * DAY_MICROS


def _year(at: int) -> int:
    return from_micros(at).year


def year_bounds(first_year: int, last_year: int) -> Period:
    """Return the period from the start of one UTC year to the end of another."""
    return micros(datetime(first_year, 1, 1, tzinfo=UTC)), micros(datetime(last_year + 1, 1, 1, tzinfo=UTC))


def unite_periods(periods: Iterable[Period]) -> list[Period]:
    """Return the moments in any of the periods, sorted, with periods that touch or overlap made one."""
    united: list[Period] = []
    for start, end in sorted(periods):
        if start >= end:  # a window that lay wholly in an hour which daylight saving removed
            continue
        if united and start <= united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        else:
            united.append((start, end))
    return united


def intersect_periods(left: list[Period], right: list[Period]) -> list[Period]:
    """Return the moments in a period of both sorted lists."""
    shared: list[Period] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            shared.append((start, end))
        if left[i][1] <= right[j][1]:
            i += 1
        else:
            j += 1
    return shared


def clip_periods(periods: list[Period], start: int, end: int) -> list[Period]:
    """Return the moments of sorted periods that lie in `[start, end)`."""
    first = bisect_right(periods, start, key=lambda period: period[1])
    last = bisect_left(periods, end, key=lambda period: period[0])
    clipped = periods[first:last]
    if clipped:
        clipped[0] = max(clipped[0][0], start), clipped[0][1]
        clipped[-1] = clipped[-1][0], min(clipped[-1][1], end)
    return clipped
