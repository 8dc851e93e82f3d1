from __future__ import annotations

from datetime import date

import pytest

from app.domain.calendars.errors import HolidaysUnavailable
from app.domain.calendars.holiday_import import HolidaySource, holidays_for


def test_target_has_six_closing_days_with_names_in_order() -> None:
    assert holidays_for("TARGET", [2024]) == [
        (date(2024, 1, 1), "New Year's Day"),
        (date(2024, 3, 29), "Good Friday"),
        (date(2024, 4, 1), "Easter Monday"),
        (date(2024, 5, 1), "Labour Day"),
        (date(2024, 12, 25), "Christmas Day"),
        (date(2024, 12, 26), "Christmas Holiday"),
    ]


@pytest.mark.parametrize(
    ("source", "day", "name"),
    [
        ("LONDON", date(2022, 9, 19), "State Funeral of Queen Elizabeth II"),
        ("LONDON", date(2020, 5, 8), "May Day"),
        ("NEWYORK", date(2024, 10, 14), "Columbus Day"),
        ("NYSE", date(2025, 1, 9), "National Day of Mourning for former President Jimmy Carter"),
    ],
)
def test_each_source_knows_its_own_single_days(source: str, day: date, name: str) -> None:
    assert (day, name) in holidays_for(source, [day.year])


def test_a_saturday_holiday_does_not_close_new_york_s_banks_on_friday() -> None:
    days = dict(holidays_for("NEWYORK", [2020, 2021]))
    assert date(2020, 7, 3) not in days
    assert date(2021, 7, 5) in days  # a Sunday holiday closes the Monday


def test_years_come_once_each_in_order_whatever_their_order_and_repetition() -> None:
    assert holidays_for("TARGET", [2025, 2024, 2025]) == holidays_for("TARGET", range(2024, 2026))
    assert holidays_for("TARGET", []) == []


@pytest.mark.parametrize("source", HolidaySource)
@pytest.mark.parametrize("year", [1999, 2099])
def test_every_source_covers_the_years_that_it_promises(source: HolidaySource, year: int) -> None:
    days = holidays_for(source, [year])
    assert len(days) >= 3
    assert {day.year for day, _ in days} == {year}


def test_a_year_or_source_that_is_not_known_is_refused_rather_than_empty() -> None:
    with pytest.raises(HolidaysUnavailable, match="known for 1999 to 2099, not for 1998"):
        holidays_for("TARGET", [2024, 1998])
    with pytest.raises(HolidaysUnavailable, match="not for 2100"):
        holidays_for("LONDON", [2100])
    with pytest.raises(HolidaysUnavailable, match="choose one of TARGET, LONDON, NEWYORK, NYSE"):
        holidays_for("PARIS", [2024])
