"""Recurrence rules: on which dates a workflow runs, for which business date, and at which instant its run is created.

    period -> anchor (its beginning or end) -> offset -> roll = the date; the business date follows from it by a rule of
    its own; the run is created on the date, or some days in advance, when the clocks of the zone show the time.

Working days are counted from the edge of the period, so that WD+1 of an end is the first working day after it and WD-1
the last one on or before it; of a beginning WD+1 is the first working day on or after it. Two occurrences never have
the same run: of those with one business date the one that was not moved has it, else the first; the other is omitted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from cronsim import CronSim, CronSimError

from app.domain.calendars.calendar_index import FIRST_YEAR, LAST_YEAR
from app.domain.calendars.calendars import Calendar, Combination, CombinedCalendar, Roll, WorkingCalendar
from app.domain.calendars.errors import OutsideCalendarRange, UnknownZone
from app.domain.calendars.wall_time import Occurrence as Fold
from app.domain.calendars.wall_time import wall_to_utc, zone_info
from app.domain.schedules.errors import InvalidRecurrence
from app.domain.schedules.periods import (
    RETAIL,
    WEEKDAYS,
    Period,
    PeriodKind,
    RetailYears,
    Weekday,
    calendar_periods,
    single_day,
)

MAX_OFFSET = 366
MAX_ADVANCE = 366
MAX_EVERY = 99
# Occurrences that may meet on one business date lie no further apart than this, holidays of the longest kind included.
_NEIGHBOURS = timedelta(days=45)
_NEIGHBOURS_OF_CRON = timedelta(days=10)
_SEARCH = (timedelta(days=3), timedelta(days=45), timedelta(days=400), timedelta(days=3_700))
_DAY = timedelta(days=1)
_OFFSET = re.compile(r"(WD|CD)\s*([+-][0-9]{1,3})", re.IGNORECASE | re.ASCII)
_NO_PHASE = date(2001, 1, 1)


class Anchor(StrEnum):
    START = "start"
    END = "end"


class Unit(StrEnum):
    CALENDAR = "calendar"
    WORKING = "working"


class BusinessDateRule(StrEnum):
    OCCURRENCE = "occurrence"
    PREVIOUS_WORKING_DAY = "previous_working_day"
    PERIOD_START = "period_start"
    PERIOD_END = "period_end"
    LAST_WORKING_DAY = "last_working_day"


@dataclass(frozen=True, slots=True)
class Offset:
    """So many days after (or, if negative, before) the anchor; zero is the anchor itself."""

    count: int = 0
    unit: Unit = Unit.CALENDAR

    def __str__(self) -> str:
        return f"{'WD' if self.unit is Unit.WORKING else 'CD'}{self.count:+d}" if self.count else "0"


def parse_offset(text: str) -> Offset:
    """Read `WD+3`, `WD-1`, `CD-2` or `0`.

    Raises:
        InvalidRecurrence: it is none of these.
    """
    written = text.strip()
    if written in ("", "0", "+0", "-0"):
        return Offset()
    match = _OFFSET.fullmatch(written)
    if match is None:
        raise InvalidRecurrence(
            "offset", f"Write WD+3 or WD-1 (working days), CD+3 or CD-1 (calendar days) or 0 instead of {written!r}."
        )
    unit, count = Unit.WORKING if match[1].upper() == "WD" else Unit.CALENDAR, int(match[2])
    if count == 0:
        if unit is Unit.WORKING:
            raise InvalidRecurrence(
                "offset", "There is no WD+0: WD+1 is the first working day after the end of the period, WD-1 the last "
                "one on or before it. Write 0 for the day itself."
            )  # fmt: skip
        return Offset()
    if abs(count) > MAX_OFFSET:
        raise InvalidRecurrence("offset", f"At most {MAX_OFFSET} days.")
    return Offset(count, unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """A checked rule; see the module for what its parts mean.

    Raises InvalidRecurrence where parts are missing or contradict each other.
    """

    period: PeriodKind
    zone: str
    at: time | None = None
    every: int = 1
    weekdays: frozenset[Weekday] = frozenset()
    cron: str | None = None
    year_begins: int = 1
    retail: RetailYears | None = None
    anchor: Anchor = Anchor.END
    offset: Offset = Offset()
    roll: Roll = Roll.FOLLOWING
    business_date: BusinessDateRule = BusinessDateRule.OCCURRENCE
    advance: int = 0
    advance_unit: Unit = Unit.CALENDAR
    valid_from: date | None = None
    valid_until: date | None = None
    # Whether the variant of the run carries the time, so that several runs of one date do not meet.
    by_time: bool = False

    def __post_init__(self) -> None:
        try:
            zone_info(self.zone)
        except UnknownZone as error:
            raise InvalidRecurrence("zone", error.detail) from None
        if self.period is PeriodKind.CRON:
            _check_cron(self.cron)
        elif self.at is None:
            raise InvalidRecurrence("at", "Give the time of day at which the run is created.")
        if self.period is PeriodKind.WEEKLY and not self.weekdays:
            raise InvalidRecurrence("weekdays", "Choose at least one day of the week.")
        if self.period in RETAIL and self.retail is None:
            raise InvalidRecurrence("retail_year_start", "Give the first day of any one year.")
        if not 1 <= self.every <= MAX_EVERY:
            raise InvalidRecurrence("every", f"1 to {MAX_EVERY}.")
        if self.every > 1 and self.period not in _EVERY_OTHER:
            raise InvalidRecurrence("every", "Only weeks, months, quarters and years can be left out; write 1.")
        if self.every > 1 and self.valid_from is None:
            raise InvalidRecurrence("valid_from", "Say from when, so that it is clear which ones are left out.")
        if not 1 <= self.year_begins <= 12:
            raise InvalidRecurrence("year_begins", "1 to 12.")
        if not 0 <= self.advance <= MAX_ADVANCE:
            raise InvalidRecurrence("advance", f"0 to {MAX_ADVANCE} days.")
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            raise InvalidRecurrence("valid_until", "The schedule ends before it begins.")


_EVERY_OTHER = frozenset({PeriodKind.WEEKLY, PeriodKind.MONTH, PeriodKind.QUARTER, PeriodKind.YEAR})


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One occurrence: `nominal` is the date before it was rolled, `day` after. `due_at` in UTC.

    `taken_by` is the occurrence that has the run of this business date; then this one is omitted, and stands on the
    date on which it would have been.
    """

    period: Period
    anchor_date: date
    nominal: date
    day: date
    business_date: date
    due_at: datetime
    taken_by: "Occurrence | None" = None

    @property
    def moved(self) -> bool:
        return self.day != self.nominal

    def local_time(self, zone: str) -> time:
        return self.due_at.astimezone(zone_info(zone)).time()


def ordinary_weekdays(calendar: Calendar) -> frozenset[int]:
    """The weekdays (Monday is 0) on which the calendar works unless there is a holiday."""
    if isinstance(calendar, WorkingCalendar):
        return frozenset(calendar.week)
    if isinstance(calendar, CombinedCalendar):
        parts = [ordinary_weekdays(part) for part in calendar.parts]
        first = parts[0]
        return first.intersection(*parts) if calendar.combination is Combination.ALL else first.union(*parts)
    return frozenset(range(7))


def occurrences(rule: Recurrence, calendar: Calendar, start: datetime, end: datetime) -> list[Occurrence]:
    """The occurrences due in `[start, end)`, omitted ones included, in order of their instants.

    Raises:
        OutsideCalendarRange: the calendar has not that many working days.
    """
    if start >= end:
        return []
    found = _settle(rule, calendar, _candidates(rule, calendar, *_span(rule, calendar, start, end)))
    return sorted((o for o in found if start <= o.due_at < end), key=lambda o: (o.due_at, o.business_date))


def next_after(rule: Recurrence, calendar: Calendar, moment: datetime) -> Occurrence | None:
    """The first occurrence due later than `moment`, omitted or not; None where there is none within ten years."""
    begin = moment + timedelta(microseconds=1)
    if rule.valid_from is not None:
        # A rule that begins in years is not searched through the years before it.
        earliest = datetime.combine(max(rule.valid_from, date(FIRST_YEAR + 1, 1, 1)), time(), UTC)
        begin = max(begin, earliest - timedelta(days=3 * (rule.advance + 15)))
    for length in _SEARCH:
        found = occurrences(rule, calendar, begin, begin + length)
        if found:
            return found[0]
    return None


def _span(rule: Recurrence, calendar: Calendar, start: datetime, end: datetime) -> tuple[date, date]:
    """The anchor dates that can lead to an instant in the span, and their neighbours."""
    around = _NEIGHBOURS_OF_CRON if rule.period is PeriodKind.CRON else _NEIGHBOURS
    working = (abs(rule.offset.count) if rule.offset.unit is Unit.WORKING else 0) + (
        rule.advance if rule.advance_unit is Unit.WORKING else 0
    )
    days = (abs(rule.offset.count) if rule.offset.unit is Unit.CALENDAR else 0) + (
        rule.advance if rule.advance_unit is Unit.CALENDAR else 0
    )
    low, high = start.astimezone(UTC).date() - _DAY, end.astimezone(UTC).date() + _DAY
    if working:
        low, high = calendar.add_working_days(low, -working), calendar.add_working_days(high, working)
    low, high = low - timedelta(days=days) - around, high + timedelta(days=days) + around
    return max(low, date(FIRST_YEAR + 1, 1, 1)), min(high, date(LAST_YEAR - 1, 12, 31))


def _candidates(rule: Recurrence, calendar: Calendar, low: date, high: date) -> Iterator[Occurrence]:
    if rule.period is PeriodKind.CRON:
        for instant in _cron_instants(rule, low, high):
            day = instant.astimezone(zone_info(rule.zone)).date()
            yield from _place(rule, calendar, single_day(day), instant)
        return
    for period in _periods(rule, calendar, low, high):
        yield from _place(rule, calendar, period, None)


def _periods(rule: Recurrence, calendar: Calendar, low: date, high: date) -> Iterator[Period]:
    phase = rule.valid_from or _NO_PHASE
    match rule.period:
        case PeriodKind.DAILY:
            days = ordinary_weekdays(calendar)
            for n in range(low.toordinal(), high.toordinal() + 1):
                if (n + 6) % 7 in days:
                    yield single_day(date.fromordinal(n))
        case PeriodKind.WEEKLY:
            wanted = {WEEKDAYS.index(day) for day in rule.weekdays}
            origin = (phase.toordinal() - 1) // 7
            for n in range(low.toordinal(), high.toordinal() + 1):
                if (n + 6) % 7 in wanted and not ((n - 1) // 7 - origin) % rule.every:
                    yield single_day(date.fromordinal(n))
        case PeriodKind.MONTH | PeriodKind.QUARTER | PeriodKind.YEAR as kind:
            yield from calendar_periods(kind, low, high, year_begins=rule.year_begins, every=rule.every, phase=phase)
        case _:
            assert rule.retail is not None
            yield from rule.retail.periods(rule.period, low, high)


def _place(rule: Recurrence, calendar: Calendar, period: Period, instant: datetime | None) -> Iterator[Occurrence]:
    """The occurrence of a period; none outside the dates in which the rule is valid."""
    anchor = period.first if rule.anchor is Anchor.START else period.last
    nominal = _shifted(rule, calendar, anchor)
    try:
        day = calendar.roll(nominal, rule.roll)
    except OutsideCalendarRange:
        if rule.roll is not Roll.END_OF_MONTH:
            raise
        day = calendar.roll(nominal, Roll.PRECEDING)  # a month without a working day ends before it begins
    if (rule.valid_from and day < rule.valid_from) or (rule.valid_until and day > rule.valid_until):
        return
    due_at = _due_at(rule, calendar, day, instant)
    yield Occurrence(period, anchor, nominal, day, _business_date(rule, calendar, period, day), due_at)


def _shifted(rule: Recurrence, calendar: Calendar, anchor: date) -> date:
    count = rule.offset.count
    if rule.offset.unit is Unit.CALENDAR:
        return anchor + timedelta(days=count)
    # From the edge of the period: a beginning is the end of the day before it.
    edge = anchor if rule.anchor is Anchor.END else anchor - _DAY
    return calendar.add_working_days(edge if count > 0 else edge + _DAY, count)


def _business_date(rule: Recurrence, calendar: Calendar, period: Period, day: date) -> date:
    match rule.business_date:
        case BusinessDateRule.OCCURRENCE:
            return day
        case BusinessDateRule.PREVIOUS_WORKING_DAY:
            return calendar.previous_working_day(day)
        case BusinessDateRule.PERIOD_START:
            return period.first
        case BusinessDateRule.PERIOD_END:
            return period.last
        case BusinessDateRule.LAST_WORKING_DAY:
            return calendar.add_working_days(period.last + _DAY, -1)


def _due_at(rule: Recurrence, calendar: Calendar, day: date, instant: datetime | None) -> datetime:
    if rule.advance:
        working = rule.advance_unit is Unit.WORKING
        earlier = calendar.add_working_days(day, -rule.advance) if working else day - timedelta(days=rule.advance)
    else:
        earlier = day
    if instant is not None and earlier == day:  # cron itself says when; a date that was rolled changes no instant
        return instant
    zone = zone_info(rule.zone)
    at = rule.at if instant is None else instant.astimezone(zone).time()
    assert at is not None
    return wall_to_utc(earlier, at, zone, occurrence=Fold.FIRST)


def _settle(rule: Recurrence, calendar: Calendar, candidates: Iterator[Occurrence]) -> Iterator[Occurrence]:
    """Give each business date to one occurrence; the others are omitted."""
    groups: dict[tuple[date, time | None], list[Occurrence]] = {}
    for found in candidates:
        key = found.business_date, found.local_time(rule.zone) if rule.by_time else None
        groups.setdefault(key, []).append(found)
    for group in groups.values():
        if len(group) == 1:
            yield group[0]
            continue
        winner = next((o for o in group if not o.moved), group[0])
        for found in group:
            yield found if found is winner else _omitted(rule, calendar, found, winner)


def _omitted(rule: Recurrence, calendar: Calendar, found: Occurrence, winner: Occurrence) -> Occurrence:
    shown = found.nominal if found.nominal != winner.day else found.anchor_date
    due_at = found.due_at
    if rule.period is not PeriodKind.CRON:
        due_at = _due_at(rule, calendar, shown, None)
        return replace(found, business_date=shown, due_at=due_at, taken_by=winner)
    return replace(found, business_date=shown if found.moved else found.business_date, taken_by=winner)


# -- cron --------------------------------------------------------------------------------------------------------------


def _check_cron(expression: str | None) -> None:
    if not expression or not expression.strip():
        raise InvalidRecurrence("cron", "Write a cron expression such as 0 7 * * 1-5.")
    if len(expression.split()) != 5:
        raise InvalidRecurrence(
            "cron", "A cron expression has five parts: minute, hour, day of month, month, weekday; such as 0 7 * * 1-5."
        )
    try:
        CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        part = str(error).removeprefix("Bad ")
        raise InvalidRecurrence("cron", f"The part “{part}” of the expression cannot be read or never comes.") from None


def _cron_instants(rule: Recurrence, low: date, high: date) -> Iterator[datetime]:
    """Times that daylight saving skips come at the first valid instant after; a fixed time that it repeats, once."""
    zone = zone_info(rule.zone)
    begin = datetime.combine(low, time(), zone) - timedelta(minutes=1)
    for moment in CronSim(rule.cron or "", begin):
        if moment.date() > high:
            return
        yield moment.astimezone(UTC)
