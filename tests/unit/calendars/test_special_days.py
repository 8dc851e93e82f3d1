"""Late openings, special hours, where two calendars part, and a promise that is tried out."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.calendars.calendars import Calendar, Window, WorkingCalendar, intersection, union
from app.domain.calendars.changes import first_change
from app.domain.calendars.errors import InvalidCalendar, InvalidDeadline
from app.domain.calendars.trial import start_of, try_out
from tests.unit.calendars.samples import calendars, durations, instants, office, single_calendars, utc

MONDAY, SATURDAY = date(2026, 6, 1), date(2026, 6, 6)
few = settings(max_examples=20, deadline=None)


def test_a_late_opening_cuts_the_morning_and_special_hours_replace_the_day() -> None:
    calendar = replace(
        office(),
        late_opens={MONDAY: time(12, 30)},
        special_hours={SATURDAY: Window(time(9), time(0)), date(2026, 6, 2): Window(time(10), time(11))},
    )
    assert [str(window) for window in calendar.windows_on(MONDAY)] == ["13:00-18:00"]
    assert [str(window) for window in calendar.windows_on(SATURDAY)] == ["09:00-24:00"]
    assert [str(window) for window in calendar.windows_on(date(2026, 6, 2))] == ["10:00-11:00"]
    assert calendar.add_working_days(date(2026, 6, 5), 1) == SATURDAY
    assert calendar.working_time_between(utc("2026-06-05 22:00"), utc("2026-06-07 22:00")) == timedelta(hours=15)


def test_an_early_close_and_a_late_opening_may_share_a_day_but_must_leave_some_of_it() -> None:
    both = replace(office(), late_opens={MONDAY: time(9)}, early_closes={MONDAY: time(11)})
    assert [str(window) for window in both.windows_on(MONDAY)] == ["09:00-11:00"]
    for values in ({"late_opens": {MONDAY: time(18)}}, {"early_closes": {MONDAY: time(8)}}):
        with pytest.raises(InvalidCalendar, match="make that day a holiday"):
            replace(office(), **values)  # type: ignore[arg-type]
    with pytest.raises(InvalidCalendar, match="keep one"):
        replace(office(), holidays=frozenset({MONDAY}), special_hours={MONDAY: Window(time(9), time(10))})


@few
@given(
    calendar=single_calendars(),
    days=st.sets(st.dates(date(2024, 1, 1), date(2025, 12, 31)), min_size=1, max_size=6),
    start=instants(),
    amounts=st.tuples(durations(), durations()),
)
def test_the_laws_of_working_time_hold_with_special_hours_too(
    calendar: WorkingCalendar, days: set[date], start: datetime, amounts: tuple[timedelta, timedelta]
) -> None:
    hours = {day: Window(time(1, 30), time(3, 15)) for day in days - calendar.holidays}
    special = replace(calendar, special_hours=hours)
    first, second = amounts
    due = special.add_working_time(start, first)
    assert special.working_time_between(start, due) == first
    assert special.add_working_time(due, second) == special.add_working_time(start, first + second)
    assert all(special.is_working_day(day) for day in hours)


@few
@given(first=calendars(), second=calendars(), at=instants(), day=st.dates(date(2024, 1, 1), date(2025, 12, 31)))
def test_all_of_is_open_when_both_are_and_any_of_when_one_is_in_either_order(
    first: Calendar, second: Calendar, at: datetime, day: date
) -> None:
    both, either = intersection(first, second), union(first, second)
    assert both.is_open(at) == intersection(second, first).is_open(at) == (first.is_open(at) and second.is_open(at))
    assert either.is_open(at) == union(second, first).is_open(at) == (first.is_open(at) or second.is_open(at))
    assert both.is_working_day(day) == (first.is_working_day(day) and second.is_working_day(day))
    assert either.is_working_day(day) == (first.is_working_day(day) or second.is_working_day(day))
    until = at + timedelta(days=40)
    amounts = [c.working_time_between(at, until) for c in (first, second, both, either)]
    assert amounts[0] + amounts[1] == amounts[2] + amounts[3]


@few
@given(calendar=single_calendars(), day=st.dates(date(2024, 1, 2), date(2025, 12, 30)))
def test_two_calendars_part_on_the_day_that_one_of_them_was_given(calendar: WorkingCalendar, day: date) -> None:
    years = {"first_year": 2024, "last_year": 2025}
    assert not first_change(calendar, replace(calendar), **years).at_all
    changed = replace(
        calendar, holidays=calendar.holidays - {day}, early_closes={}, special_hours={day: Window(time(4), time(5))}
    )
    found = first_change(replace(calendar, early_closes={}), changed, **years)
    assert found.day == (None if calendar.is_working_day(day) else day)
    if found.moment is not None:
        assert abs(found.moment - datetime.combine(day, time(), UTC)) < timedelta(hours=39)


def test_a_promise_is_explained_day_by_day_with_the_names_of_holidays() -> None:
    names = {date(2026, 4, 3): "Good Friday", date(2026, 4, 6): "Easter Monday"}
    thursday = start_of("2026-04-02T16:00", "Europe/Berlin")
    hours = try_out(office(), thursday, "pt3h", names=names)
    assert hours.due_at == utc("2026-04-07 07:00")
    assert [(step.day.day, step.text, step.counts) for step in hours.steps] == [
        (2, "2 h", True), (3, "Good Friday", False), (4, "not worked", False), (5, "not worked", False),
        (6, "Easter Monday", False), (7, "1 h", True),
    ]  # fmt: skip
    days = try_out(office(), thursday, "2 working days", names=names)
    assert days.due_at == utc("2026-04-08 14:00")
    formula = try_out(office(), thursday, "BD+1 12:00", names=names)
    assert (formula.due_at, formula.steps[-1].text) == (utc("2026-04-07 10:00"), "working day 1")
    month = try_out(office(), thursday, "WD+3 18:00 Europe/London")
    assert month.due_at == utc("2026-05-06 17:00")
    far = try_out(office(), thursday, "100 days")
    assert len(far.steps) == 40
    assert far.more > 60
    assert try_out(office(), thursday, "-PT1H").due_at == utc("2026-04-02 13:00")


@pytest.mark.parametrize(
    ("start", "promise"), [("soon", "PT4H"), ("2026-04-02T16:00", "tomorrow"), ("2026", "WD+0 18:00")]
)
def test_what_cannot_be_tried_out_says_what_to_write(start: str, promise: str) -> None:
    with pytest.raises(InvalidDeadline, match=r"such as|written|WD"):
        try_out(office(), start_of(start, "Europe/Berlin"), promise)
