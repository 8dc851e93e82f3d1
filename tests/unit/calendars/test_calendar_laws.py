"""Laws of working days and working time over calendars of any shape, and a walk minute by minute to check them."""

from __future__ import annotations

from bisect import bisect_left
from datetime import date, datetime, time, timedelta
from itertools import accumulate, pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.calendars.calendar_index import unite_periods, year_bounds
from app.domain.calendars.calendars import FULL_DAY, Calendar, Roll, Window, WorkingCalendar
from app.domain.calendars.wall_time import zone_info
from tests.unit.calendars.samples import calendars, durations, instants, utc

ZERO = timedelta(0)
MINUTE = timedelta(minutes=1)
DAYS = st.dates(date(2023, 6, 1), date(2026, 6, 1))
few = settings(max_examples=25, deadline=None)


@few
@given(calendar=calendars(), start=instants(), amount=durations())
def test_adding_working_time_is_the_inverse_of_measuring_it(
    calendar: Calendar, start: datetime, amount: timedelta
) -> None:
    end = calendar.add_working_time(start, amount)
    assert calendar.working_time_between(start, end) == amount
    assert calendar.working_time_between(start, end - timedelta(microseconds=1)) < amount
    begin = calendar.add_working_time(start, -amount)
    assert calendar.working_time_between(begin, start) == amount
    assert calendar.working_time_between(begin + timedelta(microseconds=1), start) < amount


@few
@given(calendar=calendars(), at=st.lists(instants(), min_size=3, max_size=3).map(sorted))
def test_working_time_adds_up_is_antisymmetric_and_never_exceeds_the_time_that_passed(
    calendar: Calendar, at: list[datetime]
) -> None:
    a, b, c = at
    between = calendar.working_time_between
    assert between(a, b) + between(b, c) == between(a, c)
    assert between(c, a) == -between(a, c)
    assert ZERO <= between(a, c) <= c - a


@few
@given(calendar=calendars(), at=st.tuples(instants(), instants()), amounts=st.tuples(durations(), durations()))
def test_due_is_monotonic_in_start_and_in_amount(
    calendar: Calendar, at: tuple[datetime, datetime], amounts: tuple[timedelta, timedelta]
) -> None:
    early, late = sorted(at)
    short, long = sorted(amounts)
    assert calendar.add_working_time(early, short) <= calendar.add_working_time(late, short)
    assert calendar.add_working_time(early, short) <= calendar.add_working_time(early, long)
    assert calendar.add_working_time(calendar.add_working_time(early, short), long) == calendar.add_working_time(
        early, short + long
    )


@few
@given(calendar=calendars(), day=DAYS, count=st.integers(-300, 300))
def test_adding_working_days_counts_exactly_the_working_days_passed(calendar: Calendar, day: date, count: int) -> None:
    moved = calendar.add_working_days(day, count)
    assert calendar.is_working_day(moved)
    if count > 0:
        assert calendar.working_days_between(day + timedelta(days=1), moved + timedelta(days=1)) == count
    elif count < 0:
        assert calendar.working_days_between(moved, day) == -count
    else:
        assert calendar.working_days_between(day, moved) == 0
    start = calendar.add_working_days(day, 0)
    assert calendar.add_working_days(calendar.add_working_days(start, count), -count) == start


@few
@given(calendar=calendars(), day=DAYS, roll=st.sampled_from((*Roll,)))
def test_rolling_lands_on_a_working_day_and_rolling_again_changes_nothing(
    calendar: Calendar, day: date, roll: Roll
) -> None:
    rolled = calendar.roll(day, roll)
    assert calendar.is_working_day(rolled) or roll is Roll.NONE
    assert calendar.roll(rolled, roll) == rolled


@few
@given(calendar=calendars())
def test_the_working_periods_of_two_years_are_those_of_each_cut_at_new_year_in_utc(calendar: Calendar) -> None:
    both = calendar.open_periods(2024, 2025)
    each = [*calendar.open_periods(2024, 2024), *calendar.open_periods(2025, 2025)]
    assert unite_periods(each) == both
    start, end = year_bounds(2024, 2025)
    assert all(start <= a < b <= end for a, b in both)
    assert all(earlier[1] < later[0] for earlier, later in pairwise(both))


WINDOWS = {
    "office": (Window(time(8), time(12)), Window(time(13), time(18))),
    "night": (Window(time(0), time(6, 30)), Window(time(22), time(0))),
    "inside the change": (Window(time(1, 30), time(2, 20)), Window(time(2, 40), time(3, 10))),
    "round the clock": (FULL_DAY,),
}


@pytest.mark.parametrize(
    ("zone", "windows"),
    [
        ("Europe/Berlin", "office"),
        ("America/Havana", "night"),
        ("Australia/Lord_Howe", "inside the change"),
        ("Africa/Cairo", "round the clock"),
    ],
)
def test_working_time_agrees_with_a_walk_minute_by_minute_over_a_year(zone: str, windows: str) -> None:
    random = Random(zone)
    year = [date(2024, 1, 1) + timedelta(days=n) for n in range(366)]
    calendar = WorkingCalendar(
        code="WALKED",
        version=1,
        zone=zone,
        week=dict.fromkeys((0, 1, 2, 3, 4, 6), WINDOWS[windows]),  # Sundays too: that is when the clocks change
        holidays=frozenset(random.sample(year, 12)),
        early_closes=dict.fromkeys(random.sample(year, 6), time(2, 50)) if windows == "round the clock" else {},
    )
    begin = utc("2024-01-02")
    worked = walk(calendar, begin, 363 * 1440)
    total = [0, *accumulate(worked)]
    assert calendar.working_time_between(begin, begin + 363 * 1440 * MINUTE) == total[-1] * MINUTE
    changes = [bisect_left(range(len(worked)), (utc(day) - begin) // MINUTE) for day in CHANGES]
    for _ in range(2000):
        a = random.randrange(len(worked))
        b = random.choice((random.randrange(len(worked)), random.choice(changes) + random.randrange(2880)))
        start, end = begin + a * MINUTE, begin + b * MINUTE
        assert calendar.working_time_between(start, end) == (total[b] - total[a]) * MINUTE
        assert calendar.is_open(start) is worked[a]
        if total[b] > total[a]:
            due = begin + bisect_left(total, total[b]) * MINUTE
            assert calendar.add_working_time(start, (total[b] - total[a]) * MINUTE) == due


CHANGES = (
    "2024-03-10",
    "2024-03-31",
    "2024-04-06",
    "2024-04-25",
    "2024-10-05",
    "2024-10-27",
    "2024-10-31",
    "2024-11-03",
)


def walk(calendar: WorkingCalendar, begin: datetime, minutes: int) -> list[bool]:
    """Say of each minute whether it is worked, knowing only what the wall clock shows at it.

    A window runs from the first minute of its date that shows its start or later, up to and with the last minute of its
    date that shows less than its end.
    """
    zone = zone_info(calendar.zone)
    worked = [False] * minutes
    days: dict[date, list[tuple[int, time]]] = {}
    for block in range(-1440, minutes + 1440, 30):  # zones change on half hours of UTC at the finest
        wall = (begin + block * MINUTE).astimezone(zone).replace(tzinfo=None)
        for n in range(30):
            days.setdefault(wall.date(), []).append((block + n, wall.time()))
            wall += MINUTE
    for day, shown in days.items():
        for window in calendar.windows_on(day):
            started = [n for n, wall in shown if wall >= window.start]
            unfinished = [n for n, wall in shown if wall < window.end or window.end == time(0)]
            if started and unfinished:
                for n in range(max(started[0], 0), min(unfinished[-1] + 1, minutes)):
                    worked[n] = True
    return worked
