from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta

import pytest

from app.domain.calendars.calendars import (
    FULL_DAY,
    CombinedCalendar,
    Roll,
    Window,
    WorkingCalendar,
    intersection,
    union,
)
from app.domain.calendars.errors import InvalidCalendar, NaiveInstant, OutsideCalendarRange, UnknownZone
from tests.unit.calendars.samples import MONDAY_TO_FRIDAY, hours, office, utc

TARGET = office()
GOOD_FRIDAY, EASTER_MONDAY = date(2024, 3, 29), date(2024, 4, 1)
SATURDAY = date(2024, 6, 1)


def test_a_holiday_and_a_weekend_are_not_working_days() -> None:
    assert not TARGET.is_working_day(GOOD_FRIDAY)
    assert not TARGET.is_working_day(SATURDAY)
    assert TARGET.is_working_day(date(2024, 3, 28))


def test_working_days_are_counted_over_the_easter_weekend() -> None:
    assert TARGET.next_working_day(date(2024, 3, 28)) == date(2024, 4, 2)
    assert TARGET.previous_working_day(date(2024, 4, 2)) == date(2024, 3, 28)
    assert TARGET.add_working_days(date(2024, 3, 28), 2) == date(2024, 4, 3)
    assert TARGET.add_working_days(date(2024, 4, 3), -2) == date(2024, 3, 28)
    assert TARGET.working_days_between(date(2024, 3, 28), date(2024, 4, 3)) == 2
    assert TARGET.working_days_between(date(2024, 4, 3), date(2024, 3, 28)) == -2


def test_zero_working_days_is_the_day_itself_or_the_next_working_day() -> None:
    assert TARGET.add_working_days(date(2024, 3, 28), 0) == date(2024, 3, 28)
    assert TARGET.add_working_days(GOOD_FRIDAY, 0) == date(2024, 4, 2)


def test_from_a_weekend_one_day_on_is_the_next_working_day_and_one_back_the_last() -> None:
    assert TARGET.add_working_days(SATURDAY, 1) == date(2024, 6, 3)
    assert TARGET.add_working_days(SATURDAY, -1) == date(2024, 5, 31)


@pytest.mark.parametrize(
    ("convention", "rolled"),
    [
        (Roll.NONE, SATURDAY),
        (Roll.FOLLOWING, date(2024, 6, 3)),
        (Roll.MODIFIED_FOLLOWING, date(2024, 6, 3)),
        (Roll.PRECEDING, date(2024, 5, 31)),
        (Roll.MODIFIED_PRECEDING, date(2024, 6, 3)),
        (Roll.END_OF_MONTH, date(2024, 6, 28)),
    ],
)
def test_each_convention_rolls_the_first_of_a_month_its_own_way(convention: Roll, rolled: date) -> None:
    assert TARGET.roll(SATURDAY, convention) == rolled


def test_modified_following_turns_round_at_a_month_end() -> None:
    assert TARGET.roll(date(2024, 3, 30), Roll.MODIFIED_FOLLOWING) == date(2024, 3, 28)
    assert TARGET.roll(date(2024, 3, 30), Roll.FOLLOWING) == date(2024, 4, 2)


def test_a_month_without_a_working_day_has_no_last_one() -> None:
    june = frozenset(date(2024, 6, day) for day in range(1, 31))
    with pytest.raises(OutsideCalendarRange, match="no working day in June 2024"):
        replace(TARGET, holidays=june).roll(date(2024, 6, 10), Roll.END_OF_MONTH)


def test_lunch_night_weekend_and_holidays_are_not_working_time() -> None:
    # 28 March 2024 is the Thursday before Easter, winter time; the clocks change on the Sunday.
    start = utc("2024-03-28 15:00")  # 16:00 in Berlin, 2 h left
    assert TARGET.add_working_time(start, hours(2)) == utc("2024-03-28 17:00")
    assert TARGET.add_working_time(start, hours(3)) == utc("2024-04-02 07:00")
    assert TARGET.add_working_time(start, hours(6.5)) == utc("2024-04-02 11:30")
    assert TARGET.working_time_between(start, utc("2024-04-02 11:30")) == hours(6.5)
    assert TARGET.working_time_between(utc("2024-04-02 11:30"), start) == -hours(6.5)


def test_working_time_is_half_open_and_stops_at_the_earliest_instant() -> None:
    assert TARGET.is_open(utc("2024-06-03 06:00"))
    assert not TARGET.is_open(utc("2024-06-03 10:00"))  # 12:00 in Berlin: lunch has begun
    assert TARGET.is_open(utc("2024-06-03 11:00"))
    assert not TARGET.is_open(utc("2024-06-03 16:00"))
    assert TARGET.add_working_time(utc("2024-06-07 15:00"), hours(1)) == utc("2024-06-07 16:00")
    assert TARGET.add_working_time(utc("2024-06-10 07:00"), -hours(1)) == utc("2024-06-10 06:00")


def test_no_working_time_added_is_the_same_instant_even_outside_working_time() -> None:
    assert TARGET.add_working_time(utc("2024-06-01 12:00"), timedelta(0)) == utc("2024-06-01 12:00")


def test_an_early_close_shortens_the_day_but_not_its_being_a_working_day() -> None:
    christmas_eve = date(2024, 12, 24)
    calendar = office(early_closes={christmas_eve: time(14)})
    assert calendar.windows_on(christmas_eve) == (Window(time(8), time(12)), Window(time(13), time(14)))
    assert calendar.is_working_day(christmas_eve)
    assert calendar.working_time_between(utc("2024-12-24"), utc("2024-12-25")) == hours(5)
    assert calendar.add_working_days(christmas_eve, 1) == TARGET.add_working_days(christmas_eve, 1)
    at_lunch = office(early_closes={christmas_eve: time(12, 30)})
    assert at_lunch.windows_on(christmas_eve) == (Window(time(8), time(12)),)


def test_a_day_of_daylight_saving_has_23_or_25_hours_round_the_clock() -> None:
    always = WorkingCalendar("ALWAYS", 1, "Europe/Berlin", dict.fromkeys(range(7), (FULL_DAY,)))
    assert always.working_time_between(utc("2024-03-30 23:00"), utc("2024-03-31 22:00")) == hours(23)
    sundays = WorkingCalendar("SUNDAYS", 1, "Europe/Berlin", {6: (FULL_DAY,)})
    assert sundays.working_time_between(utc("2024-03-30"), utc("2024-04-02")) == hours(23)
    assert sundays.working_time_between(utc("2024-10-26"), utc("2024-10-29")) == hours(25)
    assert always.add_working_time(utc("2024-01-01"), timedelta(days=366)) == utc("2025-01-01")


def test_a_window_inside_the_skipped_hour_is_no_time_and_inside_the_repeated_hour_spans_both() -> None:
    nights = WorkingCalendar("NIGHTS", 1, "Europe/Berlin", {6: (Window(time(2, 15), time(2, 45)),)})
    assert nights.working_time_between(utc("2024-03-30"), utc("2024-04-02")) == timedelta(0)
    assert nights.working_time_between(utc("2024-10-26"), utc("2024-10-29")) == hours(1.5)


def test_a_date_that_its_zone_skipped_has_no_working_time() -> None:
    apia = WorkingCalendar("APIA", 1, "Pacific/Apia", dict.fromkeys(MONDAY_TO_FRIDAY, (Window(time(9), time(17)),)))
    assert apia.is_working_day(date(2011, 12, 30))
    assert apia.working_time_between(utc("2011-12-29 10:00"), utc("2011-12-31 10:00")) == hours(8)


def test_the_local_date_is_that_of_the_calendar_s_zone() -> None:
    tokyo = WorkingCalendar("TOKYO", 1, "Asia/Tokyo", {0: (FULL_DAY,)})
    assert tokyo.local_date(utc("2024-06-02 15:00")) == date(2024, 6, 3)
    assert TARGET.local_date(utc("2024-06-02 15:00")) == date(2024, 6, 2)


def test_an_intersection_keeps_every_holiday_and_only_shared_hours() -> None:
    london = office("LONDON", "Europe/London")
    both = intersection(TARGET, london)
    assert both.code == "(TARGET & LONDON)"
    assert both.zone == "Europe/Berlin"
    assert not both.is_working_day(date(2024, 5, 1))  # TARGET only
    assert not both.is_working_day(date(2024, 5, 6))  # London only
    assert both.add_working_days(date(2024, 4, 30), 2) == date(2024, 5, 3)
    # Berlin 08-12, 13-18 and London 08-12, 13-18 (Berlin 09-13, 14-19) share 09-12 and 14-18 Berlin time.
    assert both.working_time_between(utc("2024-06-03"), utc("2024-06-04")) == hours(7)


def test_a_union_drops_a_holiday_that_one_place_does_not_keep() -> None:
    london = office("LONDON", "Europe/London")
    either = union(TARGET, london)
    assert either.code == "(TARGET | LONDON)"
    assert either.is_working_day(date(2024, 5, 1))
    assert not either.is_working_day(GOOD_FRIDAY)
    assert either.working_time_between(utc("2024-06-03"), utc("2024-06-04")) == hours(11)
    assert either.working_time_between(utc("2024-05-01"), utc("2024-05-02")) == hours(9)


def test_places_can_share_a_working_day_without_sharing_an_hour() -> None:
    tokyo = WorkingCalendar("TOKYO", 1, "Asia/Tokyo", dict.fromkeys(MONDAY_TO_FRIDAY, (Window(time(9), time(15)),)))
    york = replace(tokyo, code="YORK", zone="America/New_York")
    both = intersection(tokyo, york)
    assert both.next_working_day(date(2024, 6, 3)) == date(2024, 6, 4)
    with pytest.raises(OutsideCalendarRange, match="check that the calendar is ever open"):
        both.add_working_time(utc("2024-06-03"), hours(1))


def test_calendars_that_share_no_day_say_so_instead_of_searching_for_ever() -> None:
    mondays = WorkingCalendar("MONDAYS", 1, "UTC", {0: (FULL_DAY,)})
    never = intersection(mondays, replace(mondays, code="TUESDAYS", week={1: (FULL_DAY,)}))
    for count in (-1, 0, 1):
        with pytest.raises(OutsideCalendarRange, match="check that the calendar ever works"):
            never.add_working_days(date(2024, 6, 3), count)


def test_a_question_beyond_the_years_of_calendars_is_refused() -> None:
    with pytest.raises(OutsideCalendarRange, match="1900 to 2200"):
        TARGET.add_working_days(date(2024, 1, 1), 100_000)
    with pytest.raises(OutsideCalendarRange, match="not 1899"):
        TARGET.next_working_day(date(1899, 12, 31))
    with pytest.raises(OutsideCalendarRange, match="1900 to 2200"):
        TARGET.add_working_time(utc("2024-01-01"), timedelta(days=100_000))
    with pytest.raises(OutsideCalendarRange, match="not 2201"):
        TARGET.is_open(utc("2201-01-01"))


def test_instants_without_a_zone_are_refused() -> None:
    with pytest.raises(NaiveInstant):
        TARGET.add_working_time(datetime(2024, 1, 1), hours(1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("week", "says"),
    [
        ({}, "no working weekday"),
        ({0: ()}, "Monday has no working window"),
        ({7: (FULL_DAY,)}, "7 is not a weekday"),
        ({2: (Window(time(8), time(12)), Window(time(11), time(15)))}, "of Wednesday overlap"),
        ({2: (Window(time(8), time(0)), Window(time(11), time(15)))}, "08:00-24:00 and 11:00-15:00"),
    ],
)
def test_a_week_that_contradicts_itself_is_refused(week: dict[int, tuple[Window, ...]], says: str) -> None:
    with pytest.raises(InvalidCalendar, match=says):
        WorkingCalendar("X", 1, "Europe/Berlin", week)


def test_other_definitions_that_cannot_hold_are_refused() -> None:
    with pytest.raises(InvalidCalendar, match="split a window that crosses midnight"):
        Window(time(22), time(6))
    with pytest.raises(InvalidCalendar, match="ends before it starts"):
        Window(time(9), time(9))
    with pytest.raises(InvalidCalendar, match="zone belongs to the calendar"):
        Window(time(9, tzinfo=utc("2024-01-01").tzinfo), time(10))
    with pytest.raises(InvalidCalendar, match="closes before it opens on 2024-12-24"):
        office(early_closes={date(2024, 12, 24): time(8)})
    with pytest.raises(UnknownZone):
        WorkingCalendar("X", 1, "Berlin", {0: (FULL_DAY,)})
    with pytest.raises(InvalidCalendar, match="at least one calendar"):
        intersection()


def test_an_early_close_on_a_day_that_is_not_worked_does_no_harm() -> None:
    assert office(early_closes={SATURDAY: time(1)}).windows_on(SATURDAY) == ()


def test_windows_that_touch_become_one_and_their_order_does_not_matter() -> None:
    split = WorkingCalendar("X", 1, "UTC", {0: (Window(time(12), time(0)), Window(time(8), time(12)))})
    assert split.week[0] == (Window(time(8), time(0)),)
    assert split == WorkingCalendar("X", 1, "UTC", {0: (Window(time(8), time(0)),)})
    assert str(split.week[0][0]) == "08:00-24:00"


def test_a_calendar_is_a_value_that_its_maker_cannot_change_afterwards() -> None:
    week = {0: (FULL_DAY,)}
    calendar = WorkingCalendar("X", 1, "UTC", week)
    same = WorkingCalendar("X", 1, "UTC", {0: (FULL_DAY,)})
    week[1] = (FULL_DAY,)
    assert not calendar.is_working_day(date(2024, 6, 4))
    assert {calendar: 1}[same] == 1
    assert calendar != replace(calendar, version=2)
    assert union(calendar, same) == union(same, calendar)
    assert isinstance(union(calendar), CombinedCalendar)
