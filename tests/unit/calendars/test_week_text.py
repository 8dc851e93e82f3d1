"""The hours of a week as people write them."""

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import ValidationFailed
from app.domain.calendars.calendars import Window
from app.domain.calendars.store import week_from_json
from app.domain.calendars.week_text import parse_week, week_json
from tests.unit.calendars.samples import windows


def test_several_windows_with_a_lunch_hour_are_read() -> None:
    week = parse_week({0: "08:00-12:00, 13:00-18:00", 1: "", 2: "9.00 - 24:00"})
    assert week == {0: (Window(time(8), time(12)), Window(time(13), time(18))), 2: (Window(time(9), time(0)),)}


def test_a_window_over_midnight_goes_on_into_the_next_weekday_and_from_sunday_into_monday() -> None:
    week = parse_week({4: "22:00-06:00", 6: "23:30-00:30"})
    assert week == {
        0: (Window(time(0), time(0, 30)),),
        4: (Window(time(22), time(0)),),
        5: (Window(time(0), time(6)),),
        6: (Window(time(23, 30), time(0)),),
    }


def test_windows_that_meet_at_midnight_of_a_day_are_kept_apart_only_where_they_do_not_touch() -> None:
    assert parse_week({0: "20:00-04:00", 1: "04:00-08:00"})[1] == (Window(time(0), time(8)),)


@pytest.mark.parametrize(
    ("texts", "path", "said"),
    [
        ({0: "9 to 5"}, "day_0", "write 09:00-12:00"),
        ({1: "09:00-09:00"}, "day_1", "empty"),
        ({2: "25:00-26:00"}, "day_2", "00:00 to 24:00"),
        ({3: "09:00-12:00, 11:00-13:00"}, "day_3", "overlap"),
        ({4: "22:00-06:00", 5: "05:00-07:00"}, "day_5", "overlap"),
        ({5: ", ".join(f"{hour:02}:00-{hour:02}:30" for hour in range(13))}, "day_5", "more than 12"),
        ({}, "day_0", "at least one weekday"),
    ],
)
def test_what_is_no_week_is_refused_at_its_day(texts: dict[int, str], path: str, said: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_week(texts)
    assert [problem.path for problem in refused.value.problems] == [path]
    assert said in refused.value.problems[0].message


@given(st.dictionaries(st.integers(0, 6), windows(), min_size=1))
def test_a_week_that_is_written_down_is_read_back_as_it_was(week: dict[int, tuple[Window, ...]]) -> None:
    read = parse_week({day: ", ".join(str(window) for window in each) for day, each in week.items()})
    assert week_from_json("ANY", week_json(read)) == read
    for day, each in week.items():
        assert sum(w.closes - w.opens for w in read[day]) == sum(w.closes - w.opens for w in each)
