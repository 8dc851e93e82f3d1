from __future__ import annotations

from datetime import date, datetime, time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.calendars.deadlines import Anchor, DeadlineFormula, parse_deadline
from app.domain.calendars.errors import InvalidDeadline
from tests.unit.calendars.samples import ZONES, office, utc

TARGET = office()
LONDON = office("LONDON", "Europe/London")


@pytest.mark.parametrize(
    ("text", "business_date", "due"),
    [
        ("BD+0 18:00 Europe/Berlin", date(2024, 3, 28), "2024-03-28 17:00"),
        ("BD+0 18:00 Europe/Berlin", date(2024, 3, 30), "2024-04-02 16:00"),  # a Saturday; summer time by Tuesday
        ("BD+1 18:00 Europe/Berlin", date(2024, 3, 28), "2024-04-02 16:00"),
        ("BD+2 12:00 Europe/London", date(2024, 3, 28), "2024-04-03 11:00"),
        ("BD-1 09:30 America/New_York", date(2024, 4, 2), "2024-03-28 13:30"),
        ("WD+1 08:00 Europe/Berlin", date(2024, 3, 14), "2024-04-02 06:00"),  # Easter Monday is the first
        ("WD+3 18:00 Europe/London", date(2024, 3, 14), "2024-04-04 17:00"),
        ("WD+3 18:00 Europe/London", date(2024, 3, 31), "2024-04-04 17:00"),
        ("WD-1 18:00 Europe/Berlin", date(2024, 3, 1), "2024-03-28 17:00"),  # Good Friday is the last weekday
        ("WD-2 18:00 Europe/Berlin", date(2024, 3, 1), "2024-03-27 17:00"),
        ("WD-1 18:00 Europe/Berlin", date(2024, 4, 1), "2024-04-30 16:00"),  # the period end is itself a working day
    ],
)
def test_a_formula_resolves_to_an_instant_in_utc(text: str, business_date: date, due: str) -> None:
    assert parse_deadline(text).resolve(business_date, TARGET) == utc(due)


def test_the_calendar_decides_which_days_count_and_the_formula_s_zone_the_hour() -> None:
    formula = parse_deadline("BD+1 18:00 Europe/Berlin")
    assert formula.resolve(date(2024, 4, 30), TARGET) == utc("2024-05-02 16:00")  # 1 May is a TARGET holiday
    assert formula.resolve(date(2024, 4, 30), LONDON) == utc("2024-05-01 16:00")


def test_a_period_other_than_the_month_gives_its_own_end() -> None:
    formula = parse_deadline("WD+1 18:00 Europe/Berlin")
    quarter_end = date(2024, 6, 30)
    assert formula.resolve(date(2024, 4, 15), TARGET, period_end=quarter_end) == utc("2024-07-01 16:00")
    assert formula.day(date(2024, 4, 15), TARGET, period_end=quarter_end) == date(2024, 7, 1)
    assert formula.day(date(2024, 4, 15), TARGET) == date(2024, 5, 2)


def test_a_deadline_in_the_skipped_hour_is_the_first_instant_after_and_in_the_repeated_hour_the_second() -> None:
    formula = parse_deadline("BD+0 02:30 Europe/Berlin")
    sundays = office(windows=TARGET.week[0])
    all_week = type(sundays)("ALL", 1, "Europe/Berlin", dict.fromkeys(range(7), sundays.week[0]))
    assert formula.resolve(date(2024, 3, 31), all_week) == utc("2024-03-31 01:00")
    assert formula.resolve(date(2024, 10, 27), all_week) == utc("2024-10-27 01:30")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("BD+0 18:00 Europe/Berlin", "18:00 Europe/Berlin on the business date"),
        ("BD+1 18:00 Europe/Berlin", "18:00 Europe/Berlin on the date 1 working day after the business date"),
        ("BD-2 09:05 UTC", "09:05 UTC on the date 2 working days before the business date"),
        ("WD+1 18:00 UTC", "18:00 UTC on the 1st working day after the period end"),
        ("WD+3 18:00 UTC", "18:00 UTC on the 3rd working day after the period end"),
        ("WD+12 18:00 UTC", "18:00 UTC on the 12th working day after the period end"),
        ("WD+22 18:00 UTC", "18:00 UTC on the 22nd working day after the period end"),
        ("WD-1 18:00 UTC", "18:00 UTC on the last working day on or before the period end"),
        ("WD-2 18:00 UTC", "18:00 UTC on the 2nd last working day on or before the period end"),
    ],
)
def test_a_formula_describes_itself(text: str, words: str) -> None:
    assert parse_deadline(text).describe() == words


@given(
    st.builds(
        DeadlineFormula,
        anchor=st.just(Anchor.BUSINESS_DATE),
        offset=st.integers(-999, 999),
        at=st.times().map(lambda at: at.replace(second=0, microsecond=0)),
        zone=st.sampled_from(ZONES),
    )
)
def test_reading_the_text_of_a_formula_gives_the_formula(formula: DeadlineFormula) -> None:
    assert parse_deadline(str(formula)) == formula


def test_spelling_is_forgiven_where_the_meaning_is_plain() -> None:
    assert str(parse_deadline("  wd3   8:00 Europe/London ")) == "WD+3 08:00 Europe/London"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs a day, a time and a zone: for example BD+0 18:00 Europe/Berlin"),
        ("BD+0 18:00", "needs a day, a time and a zone"),
        ("BD +1 18:00 UTC", "needs a day, a time and a zone"),
        ("CD+1 18:00 UTC", "instead of 'CD+1'"),
        ("BD+1.5 18:00 UTC", "instead of 'BD+1.5'"),
        ("BD+\u0661 18:00 UTC", "instead of 'BD+\u0661'"),
        ("BD 18:00 UTC", "write BD+1 instead of BD"),
        ("WD+0 18:00 UTC", "There is no WD+0"),
        ("BD+1000 18:00 UTC", "at most 999 working days"),
        ("BD+99999999999 18:00 UTC", "at most 999 working days"),
        ("BD+" + "9" * 5000 + " 18:00 UTC", "at most 100 characters"),
        ("BD+1 24:00 UTC", "write 00:00 to 23:59 instead of '24:00'"),
        ("BD+1 6pm UTC", "instead of '6pm'"),
        ("BD+1 18:60 UTC", "instead of '18:60'"),
        ("BD+1 18:00 Europe/Berln", "Did you mean Europe/Berlin?"),
        ("BD+1 18:00 CET", "Use a place such as Europe/Berlin"),
    ],
)
def test_text_that_is_not_a_formula_is_refused_with_what_to_change(text: str, says: str) -> None:
    with pytest.raises(InvalidDeadline) as refused:
        parse_deadline(text)
    assert says in str(refused.value)
    assert refused.value.code == "deadline_invalid"


@settings(deadline=None)
@given(
    days=st.tuples(st.dates(date(2023, 2, 1), date(2026, 10, 1)), st.dates(date(2023, 2, 1), date(2026, 10, 1))),
    formula=st.builds(
        DeadlineFormula,
        anchor=st.sampled_from(Anchor),
        offset=st.integers(1, 40),
        at=st.times(time(0, 0), time(23, 59)).map(lambda at: at.replace(second=0, microsecond=0)),
        zone=st.sampled_from(ZONES),
    ),
)
def test_a_later_business_date_never_has_an_earlier_deadline(days: tuple[date, date], formula: DeadlineFormula) -> None:
    early, late = sorted(days)
    dues: list[datetime] = [formula.resolve(day, TARGET) for day in (early, late)]
    assert dues[0] <= dues[1]
