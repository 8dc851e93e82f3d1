"""Calendars and strategies that the tests of this folder share."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from hypothesis import strategies as st

from app.domain.calendars.calendars import Calendar, Window, WorkingCalendar, intersection, union
from app.domain.calendars.holiday_import import holidays_for

MONDAY_TO_FRIDAY = range(5)
OFFICE = (Window(time(8), time(12)), Window(time(13), time(18)))
ZONES = ("Europe/Berlin", "Europe/London", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "America/Havana")


def office(
    code: str = "TARGET",
    zone: str = "Europe/Berlin",
    *,
    years: range = range(2023, 2028),
    windows: tuple[Window, ...] = OFFICE,
    early_closes: dict[date, time] | None = None,
) -> WorkingCalendar:
    """An office that works Monday to Friday with a lunch hour and keeps the holidays of its source."""
    return WorkingCalendar(
        code=code,
        version=1,
        zone=zone,
        week=dict.fromkeys(MONDAY_TO_FRIDAY, windows),
        holidays=frozenset(day for day, _ in holidays_for(code, years)),
        early_closes=early_closes or {},
    )


def utc(text: str) -> datetime:
    """Read `2024-03-28 17:00` as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours(count: float) -> timedelta:
    """Read hours as a duration."""
    return timedelta(hours=count)


def _quarter(index: int) -> time:
    return time(index // 4 % 24, index % 4 * 15)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, ...]:
    """One to three windows of a day on quarter hours; 96 is the midnight at the end."""
    marks = sorted(draw(st.sets(st.integers(0, 96), min_size=2, max_size=6)))
    return tuple(Window(_quarter(a), _quarter(b)) for a, b in zip(marks[::2], marks[1::2], strict=False))


@st.composite
def single_calendars(draw: st.DrawFn) -> WorkingCalendar:
    """A calendar of any shape, with holidays and early closes around 2024 and 2025."""
    week = draw(st.dictionaries(st.integers(0, 6), windows(), min_size=1, max_size=7))
    days = st.dates(date(2024, 1, 1), date(2025, 12, 31))
    holidays = draw(st.frozensets(days, max_size=20))
    closes = {
        day: draw(st.integers(1, 95).map(_quarter))
        for day in draw(st.frozensets(days, max_size=5))
        if day.weekday() in week and day not in holidays
    }
    return WorkingCalendar(
        code="ANY",
        version=1,
        zone=draw(st.sampled_from(ZONES)),
        week=week,
        holidays=holidays,
        early_closes={day: close for day, close in closes.items() if close > week[day.weekday()][0].start},
    )


def calendars() -> st.SearchStrategy[Calendar]:
    """A calendar, or two of them in union, or one that shares at least its own days with another."""
    single = single_calendars()
    return st.one_of(
        single,
        st.builds(union, single, single),
        single.map(lambda calendar: intersection(calendar, union(calendar, office()))),
    )


def instants() -> st.SearchStrategy[datetime]:
    """Instants of 2024 and 2025, to the second, dense around the changes of daylight saving."""
    second = st.integers(0, 2 * 366 * 86_400 - 86_400).map(lambda n: utc("2024-01-01") + timedelta(seconds=n))
    change = st.builds(
        lambda day, minutes: utc(day) + timedelta(minutes=minutes),
        st.sampled_from(("2024-03-10", "2024-03-31", "2024-04-06", "2024-10-27", "2024-11-03")),
        st.integers(-720, 1440),
    )
    return second | change


def durations(most: int = 400) -> st.SearchStrategy[timedelta]:
    """Durations from one second to `most` hours."""
    return st.integers(1, most * 3600).map(lambda n: timedelta(seconds=n))
