"""Thirty years of schedules against QuantLib: its calendars, conventions and date arithmetic, on its own holidays too.

The convention logic is compared on calendars built from QuantLib's own holiday lists, and again on the holidays that
we import. Known differences between the two lists: none between 2000 and 2029 for TARGET, London and New York.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

import pytest
import QuantLib as ql  # noqa: N813 - the abbreviation of its own documentation

from app.domain.calendars.calendars import FULL_DAY, Roll, WorkingCalendar
from app.domain.calendars.holiday_import import holidays_for
from app.domain.calendars.wall_time import zone_info
from app.domain.schedules.calendar_expression import combine, parse_calendars
from app.domain.schedules.periods import PeriodKind, Weekday
from app.domain.schedules.recurrence import Anchor, Recurrence, occurrences, parse_offset

FIRST, LAST = date(2000, 1, 1), date(2029, 12, 31)
MARGIN = timedelta(days=500)
SOURCES = {
    "TARGET": ("Europe/Berlin", ql.TARGET()),
    "LONDON": ("Europe/London", ql.UnitedKingdom(ql.UnitedKingdom.Settlement)),
    "NEWYORK": ("America/New_York", ql.UnitedStates(ql.UnitedStates.FederalReserve)),
}
KNOWN_DIFFERENCES: dict[str, frozenset[date]] = {source: frozenset() for source in SOURCES}
ROLLS = {
    Roll.NONE: ql.Unadjusted,
    Roll.FOLLOWING: ql.Following,
    Roll.MODIFIED_FOLLOWING: ql.ModifiedFollowing,
    Roll.PRECEDING: ql.Preceding,
    Roll.MODIFIED_PRECEDING: ql.ModifiedPreceding,
}


def to_ql(day: date) -> Any:
    return ql.Date(day.toordinal() - date(1899, 12, 30).toordinal())


def from_ql(day: Any) -> date:
    return date.fromordinal(day.serialNumber() + date(1899, 12, 30).toordinal())


@cache
def of_quantlib(source: str) -> WorkingCalendar:
    """Our calendar with QuantLib's holidays."""
    zone, reference = SOURCES[source]
    listed = reference.holidayList(to_ql(FIRST - MARGIN), to_ql(LAST + MARGIN))
    return _calendar(source, zone, frozenset(map(from_ql, listed)))


@cache
def imported(source: str) -> WorkingCalendar:
    zone, _ = SOURCES[source]
    return _calendar(source, zone, frozenset(day for day, _ in holidays_for(source, range(1999, 2033))))


def _calendar(source: str, zone: str, holidays: frozenset[date]) -> WorkingCalendar:
    return WorkingCalendar(
        code=source, version=1, zone=zone, week=dict.fromkeys(range(5), (FULL_DAY,)), holidays=holidays
    )


def created(rule: Recurrence, calendar: Any) -> list[tuple[date, date]]:
    """(anchor, date) of thirty years, those included that another occurrence takes over, as the rule places them."""
    begin = datetime.combine(FIRST, time(), UTC) - timedelta(days=60)
    found = occurrences(rule, calendar, begin, datetime.combine(LAST, time(), UTC) + timedelta(days=60))
    return [(o.anchor_date, o.taken_by.day if o.taken_by else o.day) for o in found if FIRST <= o.anchor_date <= LAST]


@pytest.mark.parametrize("source", SOURCES)
def test_the_lists_of_holidays_agree_but_for_the_known_differences(source: str) -> None:
    theirs, ours = of_quantlib(source), imported(source)
    days = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
    differ = {day for day in days if theirs.is_working_day(day) != ours.is_working_day(day)}
    assert differ == KNOWN_DIFFERENCES[source]


@pytest.mark.parametrize("make", [of_quantlib, imported])
@pytest.mark.parametrize("roll", ROLLS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_month_end_of_thirty_years_is_where_quantlib_adjusts_it(source: str, roll: Roll, make: Any) -> None:
    zone, reference = SOURCES[source]
    rule = Recurrence(period=PeriodKind.MONTH, zone=zone, at=time(7), roll=roll)
    expected = []
    for month in range(360):
        end = ql.Date.endOfMonth(ql.Date(1, month % 12 + 1, 2000 + month // 12))
        expected.append((from_ql(end), from_ql(reference.adjust(end, ROLLS[roll]))))
    assert created(rule, make(source)) == expected


@pytest.mark.parametrize("roll", ROLLS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_day_of_the_month_of_thirty_years_is_where_quantlib_adjusts_it(source: str, roll: Roll) -> None:
    zone, reference = SOURCES[source]
    for shift in (0, 4, 14, 24):
        rule = Recurrence(
            period=PeriodKind.MONTH, zone=zone, at=time(7), roll=roll, anchor=Anchor.START,
            offset=parse_offset(f"CD+{shift}"),
        )  # fmt: skip
        found = dict(created(rule, of_quantlib(source)))
        for first, day in found.items():
            assert to_ql(day) == reference.adjust(to_ql(first + timedelta(days=shift)), ROLLS[roll])
        assert len(found) == 360


@pytest.mark.parametrize("source", SOURCES)
def test_the_last_working_day_of_every_month_is_quantlib_s_end_of_month(source: str) -> None:
    zone, reference = SOURCES[source]
    minus_one = Recurrence(period=PeriodKind.MONTH, zone=zone, at=time(7), offset=parse_offset("WD-1"))
    rolled = Recurrence(period=PeriodKind.MONTH, zone=zone, at=time(7), roll=Roll.END_OF_MONTH)
    for rule in (minus_one, rolled):
        found = created(rule, of_quantlib(source))
        assert [to_ql(day) for _, day in found] == [reference.endOfMonth(to_ql(end)) for end, _ in found]
        assert len(found) == 360


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 22, -1, -2, -5, -22])
@pytest.mark.parametrize("source", SOURCES)
def test_every_working_day_after_or_before_a_quarter_is_where_quantlib_advances_to(source: str, count: int) -> None:
    zone, reference = SOURCES[source]
    rule = Recurrence(period=PeriodKind.QUARTER, zone=zone, at=time(7), offset=parse_offset(f"WD{count:+d}"))
    found = created(rule, of_quantlib(source))
    for end, day in found:
        edge = to_ql(end) if count > 0 else to_ql(end + timedelta(days=1))
        # QuantLib first adjusts a date that is no business day: counted from there a holiday would count twice.
        begin = reference.adjust(edge, ql.Preceding if count > 0 else ql.Following)
        assert to_ql(day) == reference.advance(begin, count, ql.Days)
    assert len(found) == 120


@pytest.mark.parametrize("source", SOURCES)
def test_a_daily_schedule_creates_each_business_day_of_thirty_years_once_and_no_other(source: str) -> None:
    zone, reference = SOURCES[source]
    begin, end = datetime.combine(FIRST, time(), UTC), datetime.combine(LAST, time(), UTC) + timedelta(hours=30)
    for roll in ROLLS:
        rule = Recurrence(period=PeriodKind.DAILY, zone=zone, at=time(7), roll=roll)
        found = occurrences(rule, of_quantlib(source), begin, end)
        runs = [o.business_date for o in found if o.taken_by is None]
        assert len(runs) == len(set(runs))
        if roll is not Roll.NONE:
            listed = reference.businessDayList(to_ql(FIRST), to_ql(LAST))
            assert runs == [from_ql(day) for day in listed]
        omitted = [o.business_date for o in found if o.taken_by is not None]
        holidays = {from_ql(day) for day in reference.holidayList(to_ql(FIRST), to_ql(LAST))}
        assert set(omitted) == (set() if roll is Roll.NONE else holidays)


def test_a_joint_calendar_is_that_of_the_expression() -> None:
    calendars = {source: of_quantlib(source) for source in SOURCES}
    parts = [reference for _, reference in SOURCES.values()]
    for text, kind in (
        ("TARGET & LONDON & NEWYORK", ql.JoinHolidays),
        ("TARGET | LONDON | NEWYORK", ql.JoinBusinessDays),
    ):
        reference = ql.JointCalendar(*parts, kind)
        rule = Recurrence(period=PeriodKind.MONTH, zone="UTC", at=time(7), roll=Roll.MODIFIED_FOLLOWING)
        found = created(rule, combine(parse_calendars(text), calendars))
        for end, day in found:
            assert to_ql(day) == reference.adjust(to_ql(end), ql.ModifiedFollowing)
        assert len(found) == 360


@pytest.mark.parametrize("source", SOURCES)
def test_the_wall_clock_shows_the_time_on_every_date_of_thirty_years(source: str) -> None:
    """Daylight saving included: 60 changes, on which a time that is skipped gives the first instant after it."""
    zone, _ = SOURCES[source]
    every_day = frozenset(Weekday)
    for at in (time(0, 30), time(1, 30), time(2, 30), time(7), time(23, 59)):
        rule = Recurrence(period=PeriodKind.WEEKLY, weekdays=every_day, zone=zone, at=at, roll=Roll.NONE)
        begin = datetime.combine(FIRST, time(), UTC)
        found = occurrences(rule, of_quantlib(source), begin, datetime.combine(LAST, time(), UTC))
        skipped = 0
        for o in found:
            local = o.due_at.astimezone(zone_info(zone))
            assert local.date() == o.day
            if local.time() != at:
                skipped += 1
                before = (o.due_at - timedelta(seconds=1)).astimezone(zone_info(zone))
                assert before.utcoffset() < local.utcoffset()  # type: ignore[operator]
                assert before.time() < at < local.time()
            else:
                assert local.fold == 0
        gaps = {("TARGET", time(2, 30)): 30, ("LONDON", time(1, 30)): 30, ("NEWYORK", time(2, 30)): 30}
        assert skipped == gaps.get((source, at), 0)
        assert len({o.due_at for o in found}) == len(found) >= 10_956
