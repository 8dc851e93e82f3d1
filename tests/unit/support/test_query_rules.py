"""Who is named in a text, and when a query is due."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.calendars.calendars import Window, WorkingCalendar
from app.domain.support.query_rules import Person, due_instant, handles_in, mentioned, reminder_at

ELENA = Person(UUID(int=1), "Elena Rossi", "Elena.Rossi@bank.example")
TOM = Person(UUID(int=2), "Tom", "tom@bank.example")
OTHER_TOM = Person(UUID(int=3), "Tom B", "tom@branch.example")
FRIDAY = datetime(2026, 10, 30, 14, tzinfo=UTC)  # 15:00 in Berlin
WEEK = {weekday: (Window(time(9), time(18)),) for weekday in range(5)}
CALENDAR = WorkingCalendar(code="T", zone="Europe/Berlin", version=1, week=WEEK)


@pytest.mark.parametrize(
    ("said", "handles"),
    [
        ("@elena.rossi, please", ["elena.rossi"]),
        ("Ask (@tom) and @Tom.", ["tom"]),
        ("mail tom@bank.example", []),
        ("@tom@bank.example knows", ["tom@bank.example"]),
        ("at 5@noon, @ nobody", []),
        ("**@tom**", ["tom"]),
    ],
)
def test_a_handle_begins_with_an_at_that_is_not_inside_a_word(said: str, handles: list[str]) -> None:
    assert handles_in(said) == handles


def test_a_handle_that_fits_two_people_names_neither_and_the_whole_address_names_one() -> None:
    people = [ELENA, TOM, OTHER_TOM]
    assert mentioned("@tom and @elena.rossi", people) == [("elena.rossi", ELENA)]
    assert mentioned("@tom@branch.example", people) == [("tom@branch.example", OTHER_TOM)]
    assert mentioned("@nobody", people) == []


@pytest.mark.parametrize(
    ("said", "due"),
    [
        ("PT2H", datetime(2026, 10, 30, 16, tzinfo=UTC)),
        ("PT4H", datetime(2026, 11, 2, 9, tzinfo=UTC)),
        ("P1D", datetime(2026, 11, 2, 14, tzinfo=UTC)),
        ("p1dt30m", datetime(2026, 11, 2, 14, 30, tzinfo=UTC)),
        ("BD+1 12:00 Europe/London", datetime(2026, 11, 2, 12, tzinfo=UTC)),
        ("2026-10-30T16:00:00+01:00", datetime(2026, 10, 30, 15, tzinfo=UTC)),
    ],
)
def test_hours_and_days_are_those_of_the_calendar(said: str, due: datetime) -> None:
    assert due_instant(said, now=FRIDAY, calendar=CALENDAR, business_date=date(2026, 10, 30)) == due


@pytest.mark.parametrize("said", ["soon", "P", "PT", "2026-10-30T09:00:00+01:00", "2026-10-31T09:00", "BD 12:00 X"])
def test_what_cannot_be_read_or_is_over_is_refused_in_words(said: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]{3}"):
        due_instant(said, now=FRIDAY, calendar=CALENDAR, business_date=date(2026, 10, 30))


def test_without_a_calendar_time_is_the_clocks() -> None:
    assert due_instant("P1DT1H", now=FRIDAY, calendar=None, business_date=None) == FRIDAY + timedelta(hours=25)
    with pytest.raises(ValueError, match="cannot be read here"):
        due_instant("BD+1 12:00 Europe/London", now=FRIDAY, calendar=None, business_date=None)


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=400)))
def test_the_reminder_comes_after_the_question_and_before_it_is_due(span: timedelta) -> None:
    assert FRIDAY < reminder_at(FRIDAY, FRIDAY + span) < FRIDAY + span
