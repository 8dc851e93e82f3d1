"""Laws of rolls, expressions, retail years and settlements, on calendars of any shape."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.calendars.calendars import FULL_DAY, Calendar, Roll, WorkingCalendar
from app.domain.schedules.calendar_expression import (
    Both,
    Either,
    Expression,
    Named,
    canonical,
    codes_of,
    combine,
    parse_calendars,
)
from app.domain.schedules.errors import InvalidRecurrence
from app.domain.schedules.periods import (
    WEEKDAYS,
    PeriodKind,
    RetailPattern,
    RetailRule,
    RetailYears,
)
from app.domain.schedules.recurrence import Anchor, Offset, Recurrence, Unit, next_after, occurrences

DAYS = st.dates(date(2024, 1, 1), date(2026, 12, 31))


@st.composite
def calendars(draw: st.DrawFn, code: str = "ANY") -> WorkingCalendar:
    week = draw(st.sets(st.integers(0, 6), min_size=1, max_size=7))
    holidays = draw(st.frozensets(DAYS, max_size=30))
    return WorkingCalendar(code=code, version=1, zone="UTC", week=dict.fromkeys(week, (FULL_DAY,)), holidays=holidays)


@st.composite
def rules(draw: st.DrawFn) -> Recurrence:
    kind = draw(
        st.sampled_from(
            [PeriodKind.DAILY, PeriodKind.WEEKLY, PeriodKind.MONTH, PeriodKind.QUARTER, PeriodKind.RETAIL_MONTH]
        )
    )
    unit = draw(st.sampled_from(Unit))
    return Recurrence(
        period=kind,
        zone=draw(st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo"])),
        at=draw(st.times().map(lambda at: at.replace(second=0, microsecond=0))),
        weekdays=draw(st.frozensets(st.sampled_from(WEEKDAYS), min_size=1)),
        retail=RetailYears(RetailPattern.P445, RetailRule.NEAREST, 1, 5),
        anchor=draw(st.sampled_from(Anchor)),
        offset=Offset(draw(st.integers(-6, 6)), unit),
        roll=draw(st.sampled_from([roll for roll in Roll if roll is not Roll.END_OF_MONTH])),
        advance=draw(st.integers(0, 5)),
    )


@given(calendars(), DAYS)
def test_modified_rolls_stay_in_the_month_and_every_roll_ends_on_a_working_day(
    calendar: WorkingCalendar, day: date
) -> None:
    month = [date(day.year, day.month, n) for n in range(1, 29)]
    some = any(calendar.is_working_day(one) for one in month)
    for roll in (Roll.FOLLOWING, Roll.MODIFIED_FOLLOWING, Roll.PRECEDING, Roll.MODIFIED_PRECEDING):
        rolled = calendar.roll(day, roll)
        assert calendar.is_working_day(rolled)
        assert calendar.roll(rolled, roll) == rolled
        if some and roll in (Roll.MODIFIED_FOLLOWING, Roll.MODIFIED_PRECEDING):
            assert (rolled.year, rolled.month) == (day.year, day.month)


@given(rules(), calendars(), st.integers(0, 300), st.integers(1, 120))
def test_every_business_date_has_one_run_and_every_omission_names_it(
    rule: Recurrence, calendar: WorkingCalendar, start: int, length: int
) -> None:
    begin = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=start)
    found = occurrences(rule, calendar, begin, begin + timedelta(days=length))
    runs = [o.business_date for o in found if o.taken_by is None]
    assert len(runs) == len(set(runs))
    for o in found:
        assert begin <= o.due_at < begin + timedelta(days=length)
        if o.taken_by is not None:
            assert o.taken_by.taken_by is None
            assert o.taken_by.business_date == o.taken_by.day


@given(rules(), calendars(), st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_looking_often_finds_the_same_as_looking_once(
    rule: Recurrence, calendar: WorkingCalendar, steps: list[int]
) -> None:
    begin = datetime(2025, 3, 1, tzinfo=UTC)
    cuts = [begin]
    for step in steps:
        cuts.append(cuts[-1] + timedelta(days=step, hours=7))
    pieces = [o for a, b in itertools.pairwise(cuts) for o in occurrences(rule, calendar, a, b)]
    assert pieces == occurrences(rule, calendar, begin, cuts[-1])


@given(rules(), calendars(), st.integers(0, 200))
def test_the_next_one_is_the_first_of_those_that_follow(rule: Recurrence, calendar: WorkingCalendar, day: int) -> None:
    moment = datetime(2025, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
    following = next_after(rule, calendar, moment)
    assert following is not None
    span = occurrences(rule, calendar, moment + timedelta(microseconds=1), following.due_at + timedelta(days=1))
    assert span[0].due_at == following.due_at > moment


# -- expressions -------------------------------------------------------------------------------------------------------


def expressions() -> st.SearchStrategy[Expression]:
    names = st.sampled_from("ABC").map(Named)
    return st.recursive(
        names,
        lambda inner: st.builds(
            lambda kind, parts: kind(tuple(parts)),
            st.sampled_from([Both, Either]),
            st.lists(inner, min_size=2, max_size=3),
        ),
        max_leaves=6,
    )


def _works(expression: Expression, known: dict[str, Calendar], day: date) -> bool:
    match expression:
        case Named(code=code):
            return known[code].is_working_day(day)
        case Both(parts=parts):
            return all(_works(part, known, day) for part in parts)
        case Either(parts=parts):
            return any(_works(part, known, day) for part in parts)


@given(expressions(), calendars("A"), calendars("B"), calendars("C"), st.lists(DAYS, min_size=1))
def test_an_expression_means_what_its_signs_say_however_it_is_written(
    expression: Expression, a: WorkingCalendar, b: WorkingCalendar, c: WorkingCalendar, days: list[date]
) -> None:
    known: dict[str, Calendar] = {"A": a, "B": b, "C": c}
    written = canonical(expression)
    read = parse_calendars(written)
    assert canonical(read) == written
    assert set(codes_of(read)) == set(codes_of(expression))
    for day in days:
        assert combine(read, known).is_working_day(day) == _works(expression, known, day)


@given(calendars("A"), calendars("B"), st.lists(DAYS, min_size=1))
def test_intersection_and_union_obey_the_laws_of_sets(a: WorkingCalendar, b: WorkingCalendar, days: list[date]) -> None:
    known: dict[str, Calendar] = {"A": a, "B": b}

    def same(left: str, right: str) -> bool:
        one, two = (combine(parse_calendars(text), known) for text in (left, right))
        return all(one.is_working_day(day) == two.is_working_day(day) for day in days)

    assert same("A & B", "B & A")
    assert same("A | B", "B | A")
    assert same("A & A", "A")
    assert same("A | A & B", "A")  # & binds more
    assert same("A & (A | B)", "A")
    assert same("(A & B) | (A & B)", "A and B")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing here"),
        ("TARGET &", "missing after “&”"),
        ("& TARGET", "missing before “&”"),
        ("TARGET LONDON", "“LONDON” is too much"),
        ("(TARGET | NYSE", "“\\)” is missing"),
        ("TARGET)", "“\\)” is too much"),
        ("TARGET + LONDON", "“\\+” cannot stand here"),
        ("A" * 201, "At most 200"),
        ("(" * 30 + "A" + ")" * 30, "nested"),
    ],
)
def test_an_expression_that_cannot_be_read_says_where(text: str, message: str) -> None:
    with pytest.raises(InvalidRecurrence, match=message) as refused:
        parse_calendars(text)
    assert refused.value.field == "calendars"


# -- 4-4-5 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weekday", range(7))
@pytest.mark.parametrize("month", [1, 2, 6, 9, 12])
@pytest.mark.parametrize("rule", RetailRule)
def test_retail_years_agree_with_counting_day_by_day(rule: RetailRule, month: int, weekday: int) -> None:
    """Brute force: walk all days of forty years, take each weekday that ends a year, and count the weeks between."""
    years = RetailYears(RetailPattern.P445, rule, month, weekday)
    ends = []
    for year in range(2000, 2041):
        day = date(year, month, 1)
        while (day + timedelta(days=1)).month == month:
            day += timedelta(days=1)
        near = [day + timedelta(days=n) for n in range(-6, 1 if rule is RetailRule.LAST else 7)]
        of_kind = [one for one in near if one.weekday() == weekday]
        ends.append(min(of_kind, key=lambda one, end=day: abs((one - end).days)))  # type: ignore[misc]
    assert [years.end_of(year) for year in range(2000, 2041)] == ends
    for year, (before, end) in enumerate(itertools.pairwise(ends), start=2001):
        months = years.months_of(year)
        lengths = [((m.last - m.first).days + 1) / 7 for m in months]
        assert lengths[:11] == [4, 4, 5] * 3 + [4, 4]
        assert lengths[11] == 5 + (end - before).days / 7 - 52
        assert (months[0].first, months[-1].last) == (before + timedelta(days=1), end)
        assert all(b.first == a.last + timedelta(days=1) for a, b in itertools.pairwise(months))
    weeks = Counter(years.weeks_of(year) for year in range(2001, 2041))
    assert set(weeks) == {52, 53}
    assert 6 <= weeks[53] <= 8


def test_a_retail_year_is_known_by_one_of_its_beginnings_and_any_other_day_is_refused() -> None:
    # The National Retail Federation's 4-5-4 calendar: 2023 had 53 weeks and began on 29 January.
    years = RetailYears.from_start(RetailPattern.P454, RetailRule.NEAREST, date(2023, 1, 29))
    assert (years.start_of(2025), years.weeks_of(2024)) == (date(2024, 2, 4), 53)
    assert years.months_of(2024)[0].label == "2023-P01"
    assert years == RetailYears.from_start(RetailPattern.P454, RetailRule.NEAREST, date(2025, 2, 2))
    with pytest.raises(InvalidRecurrence, match="nearest year begins on 2025-02-02"):
        RetailYears.from_start(RetailPattern.P454, RetailRule.NEAREST, date(2025, 2, 9))
    last = RetailYears.from_start(RetailPattern.P445, RetailRule.LAST, date(2025, 9, 28))  # as Apple's year
    assert (last.weeks_of(2023), last.start_of(2024)) == (53, date(2023, 10, 1))


def test_quarters_and_years_of_a_retail_calendar_are_made_of_its_months() -> None:
    years = RetailYears(RetailPattern.P544, RetailRule.LAST, 12, 6)
    start, end = date(2024, 1, 1), date(2027, 1, 1)
    months = list(years.periods(PeriodKind.RETAIL_MONTH, start, end))
    quarters = list(years.periods(PeriodKind.RETAIL_QUARTER, start, end))
    whole = list(years.periods(PeriodKind.RETAIL_YEAR, start, end))
    assert {q.first for q in quarters} <= {m.first for m in months} | {quarters[0].first}
    assert {y.last for y in whole} <= {q.last for q in quarters} | {whole[-1].last}
    assert quarters[1].label.endswith(("Q1", "Q2", "Q3", "Q4"))
    assert all(b.first == a.last + timedelta(days=1) for a, b in itertools.pairwise(months))
