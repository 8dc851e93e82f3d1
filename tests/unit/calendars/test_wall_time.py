from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest

from app.domain.calendars.errors import NaiveInstant, UnknownZone
from app.domain.calendars.wall_time import Occurrence, as_utc, wall_to_utc, zone_info
from tests.unit.calendars.samples import ZONES, utc

FIRST, SECOND = Occurrence.FIRST, Occurrence.SECOND


@pytest.mark.parametrize(
    ("zone", "day", "wall", "instant"),
    [
        ("Europe/Berlin", date(2024, 3, 31), time(2, 0), "2024-03-31 01:00"),
        ("Europe/Berlin", date(2024, 3, 31), time(2, 30), "2024-03-31 01:00"),
        ("Europe/Berlin", date(2024, 3, 31), time(2, 59, 59, 999999), "2024-03-31 01:00"),
        ("America/New_York", date(2024, 3, 10), time(2, 15), "2024-03-10 07:00"),
        ("Australia/Lord_Howe", date(2024, 10, 6), time(2, 10), "2024-10-05 15:30"),
        ("America/Havana", date(2024, 3, 10), time(0, 0), "2024-03-10 05:00"),
        ("Pacific/Apia", date(2011, 12, 30), time(12, 0), "2011-12-30 10:00"),
    ],
)
def test_a_wall_time_that_daylight_saving_skips_is_the_first_valid_instant_after_it(
    zone: str, day: date, wall: time, instant: str
) -> None:
    for occurrence in Occurrence:
        assert wall_to_utc(day, wall, zone_info(zone), occurrence=occurrence) == utc(instant)


@pytest.mark.parametrize(
    ("zone", "day", "wall", "first", "second"),
    [
        ("Europe/Berlin", date(2024, 10, 27), time(2, 0), "2024-10-27 00:00", "2024-10-27 01:00"),
        ("Europe/Berlin", date(2024, 10, 27), time(2, 59), "2024-10-27 00:59", "2024-10-27 01:59"),
        ("America/New_York", date(2024, 11, 3), time(1, 30), "2024-11-03 05:30", "2024-11-03 06:30"),
        ("Australia/Lord_Howe", date(2024, 4, 7), time(1, 45), "2024-04-06 14:45", "2024-04-06 15:15"),
    ],
)
def test_a_wall_time_that_happens_twice_is_the_first_or_the_second_as_asked(
    zone: str, day: date, wall: time, first: str, second: str
) -> None:
    assert wall_to_utc(day, wall, zone_info(zone), occurrence=FIRST) == utc(first)
    assert wall_to_utc(day, wall, zone_info(zone), occurrence=SECOND) == utc(second)


@pytest.mark.parametrize("zone", ZONES)
def test_the_edges_of_a_change_of_daylight_saving_are_ordinary_times(zone: str) -> None:
    place = zone_info(zone)
    for day in (date(2024, 1, 15), date(2024, 7, 15)):
        for hour in range(24):
            instant = wall_to_utc(day, time(hour), place, occurrence=FIRST)
            assert instant == wall_to_utc(day, time(hour), place, occurrence=SECOND)
            assert instant.astimezone(place).replace(tzinfo=None) == datetime.combine(day, time(hour))
    assert wall_to_utc(date(2024, 3, 31), time(1, 59), zone_info("Europe/Berlin"), occurrence=FIRST) == utc(
        "2024-03-31 00:59"
    )
    assert wall_to_utc(date(2024, 3, 31), time(3, 0), zone_info("Europe/Berlin"), occurrence=FIRST) == utc(
        "2024-03-31 01:00"
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Europe/Berln", "Did you mean Europe/Berlin?"),
        ("EST", "Use a place such as Europe/Berlin"),
        ("Paris", "Use a place"),
        ("../../etc/passwd", "Use a place"),
        ("", "Use a place"),
    ],
)
def test_a_zone_that_is_not_a_place_is_refused_with_advice(name: str, says: str) -> None:
    with pytest.raises(UnknownZone) as refused:
        zone_info(name)
    assert says in str(refused.value)
    assert refused.value.status == 422


def test_an_instant_without_a_zone_is_refused_and_another_zone_becomes_utc() -> None:
    with pytest.raises(NaiveInstant):
        as_utc(datetime(2024, 1, 1))  # noqa: DTZ001
    converted = as_utc(datetime(2024, 1, 1, 3, tzinfo=timezone(timedelta(hours=2))))
    assert converted == utc("2024-01-01 01:00")
    assert converted.tzinfo is UTC
