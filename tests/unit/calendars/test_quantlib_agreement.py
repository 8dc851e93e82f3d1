"""Thirty years of working days, day by day, against QuantLib's own calendars."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import Any

import pytest
import QuantLib as ql  # noqa: N813 - the abbreviation of its own documentation

from app.domain.calendars.calendars import FULL_DAY, Calendar, Roll, WorkingCalendar, intersection, union
from app.domain.calendars.holiday_import import holidays_for

FIRST, LAST = date(2000, 1, 1), date(2029, 12, 31)
EVERY_DAY = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
ROLLS = {
    Roll.NONE: ql.Unadjusted,
    Roll.FOLLOWING: ql.Following,
    Roll.MODIFIED_FOLLOWING: ql.ModifiedFollowing,
    Roll.PRECEDING: ql.Preceding,
    Roll.MODIFIED_PRECEDING: ql.ModifiedPreceding,
}


@cache
def ours(source: str) -> WorkingCalendar:
    return WorkingCalendar(
        code=source,
        version=1,
        zone="UTC",
        week=dict.fromkeys(range(5), (FULL_DAY,)),
        holidays=frozenset(day for day, _ in holidays_for(source, range(1999, 2051))),
    )


def theirs(source: str) -> Any:
    return {
        "TARGET": ql.TARGET,
        "LONDON": lambda: ql.UnitedKingdom(ql.UnitedKingdom.Settlement),
        "NEWYORK": lambda: ql.UnitedStates(ql.UnitedStates.FederalReserve),
        "NYSE": lambda: ql.UnitedStates(ql.UnitedStates.NYSE),
    }[source]()


def to_ql(day: date) -> Any:
    return ql.Date(day.toordinal() - date(1899, 12, 30).toordinal())


def from_ql(day: Any) -> date:
    return date.fromordinal(day.serialNumber() + date(1899, 12, 30).toordinal())


@pytest.mark.parametrize("source", ["TARGET", "LONDON", "NEWYORK", "NYSE"])
def test_the_imported_holidays_are_those_of_quantlib(source: str) -> None:
    calendar, reference = ours(source), theirs(source)
    differ = [day for day in EVERY_DAY if calendar.is_working_day(day) != reference.isBusinessDay(to_ql(day))]
    assert differ == []


@pytest.mark.parametrize("roll", ROLLS)
def test_target_rolls_every_day_of_thirty_years_as_quantlib_adjusts_it(roll: Roll) -> None:
    calendar, reference = ours("TARGET"), theirs("TARGET")
    differ = [day for day in EVERY_DAY if to_ql(calendar.roll(day, roll)) != reference.adjust(to_ql(day), ROLLS[roll])]
    assert differ == []


def test_target_ends_every_month_of_thirty_years_as_quantlib_does() -> None:
    calendar, reference = ours("TARGET"), theirs("TARGET")
    differ = [
        day for day in EVERY_DAY if to_ql(calendar.roll(day, Roll.END_OF_MONTH)) != reference.endOfMonth(to_ql(day))
    ]
    assert differ == []


@pytest.mark.parametrize("count", [-2600, -250, -22, -3, -1, 0, 1, 2, 5, 21, 251, 2600])
def test_target_advances_every_day_of_thirty_years_as_quantlib_does(count: int) -> None:
    calendar, reference = ours("TARGET"), theirs("TARGET")
    days = EVERY_DAY if abs(count) < 30 else EVERY_DAY[4000::97]
    differ = [
        day
        for day in days
        if to_ql(calendar.add_working_days(day, count)) != reference.advance(to_ql(day), count, ql.Days)
    ]
    assert differ == []


def test_thirty_years_of_working_days_are_one_step() -> None:
    calendar, reference = ours("TARGET"), theirs("TARGET")
    count = calendar.working_days_between(FIRST, LAST)
    assert count == reference.businessDaysBetween(to_ql(FIRST), to_ql(LAST))
    assert calendar.add_working_days(FIRST - timedelta(days=1), count) == from_ql(
        reference.advance(to_ql(FIRST - timedelta(days=1)), count, ql.Days)
    )


@pytest.mark.parametrize("joined", ["JoinHolidays", "JoinBusinessDays"])
def test_combined_calendars_are_quantlib_s_joint_calendars(joined: str) -> None:
    parts = ("TARGET", "LONDON", "NEWYORK")
    combine = intersection if joined == "JoinHolidays" else union
    calendar: Calendar = combine(*map(ours, parts))
    reference = ql.JointCalendar(*map(theirs, parts), getattr(ql, joined))
    for day in EVERY_DAY[::3]:
        assert to_ql(calendar.add_working_days(day, 2)) == reference.advance(to_ql(day), 2, ql.Days)
        assert calendar.is_working_day(day) == reference.isBusinessDay(to_ql(day))
