"""When a message goes out: quiet hours and digests on the clocks of the person's own zone."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.notify.times import Digest, Quiet, goes_out_at, read_clock

NIGHT = {"quiet": {"from": "20:00", "until": "07:00"}}
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham", "UTC")


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "zone", "settings", "digest", "expected"),
    [
        ("2026-11-10T12:00", "Europe/Berlin", NIGHT, Digest.NOW, "2026-11-10T12:00"),
        ("2026-11-10T22:30", "Europe/Berlin", NIGHT, Digest.NOW, "2026-11-11T06:00"),
        ("2026-11-11T03:00", "Europe/Berlin", NIGHT, Digest.NOW, "2026-11-11T06:00"),
        ("2026-11-10T12:00", "Asia/Tokyo", NIGHT, Digest.NOW, "2026-11-10T22:00"),
        ("2026-11-10T12:20", "Europe/Berlin", {}, Digest.HOURLY, "2026-11-10T13:00"),
        ("2026-11-10T12:20", "Asia/Kolkata", {}, Digest.HOURLY, "2026-11-10T12:30"),
        ("2026-11-10T05:00", "Europe/Berlin", {}, Digest.DAILY, "2026-11-10T07:00"),
        ("2026-11-10T07:00", "Europe/Berlin", {}, Digest.DAILY, "2026-11-11T07:00"),
        ("2026-11-10T12:00", "Europe/Berlin", {"digest_at": "17:30"}, Digest.DAILY, "2026-11-10T16:30"),
        ("2026-11-10T12:00", "Europe/Berlin", {"digest_at": "21:00", **NIGHT}, Digest.DAILY, "2026-11-11T06:00"),
        ("2026-03-28T22:00", "Europe/Berlin", NIGHT, Digest.NOW, "2026-03-29T05:00"),  # the clocks go forward
        ("2026-11-10T23:00", "Nowhere/Atall", NIGHT, Digest.NOW, "2026-11-11T07:00"),
    ],
)
def test_a_message_waits_as_the_clocks_of_the_person_say(
    now: str, zone: str, settings: dict[str, Any], digest: Digest, expected: str
) -> None:
    assert goes_out_at(_at(now), zone=zone, settings=settings, digest=digest) == _at(expected)


def test_a_quiet_weekend_lasts_from_saturday_to_monday() -> None:
    settings = {"quiet": {"from": "20:00", "until": "07:00", "weekends": True}}
    friday_night = _at("2026-11-13T22:00")
    assert goes_out_at(friday_night, zone="Europe/Berlin", settings=settings, digest=Digest.NOW) == _at(
        "2026-11-16T06:00"
    )


@pytest.mark.parametrize("text", ["24:00", "7:00", "07:60", "", "07:00:00"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no time of day"):
        read_clock(text)


_clocks = st.builds(lambda minutes: time(minutes // 60, minutes % 60), st.integers(0, 1439))


@given(
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda at: at.replace(tzinfo=UTC)),  # noqa: DTZ001
    quiet=st.builds(Quiet, _clocks, _clocks, st.booleans()),
    zone=st.sampled_from(ZONES),
    digest=st.sampled_from(list(Digest)),
)
def test_nothing_goes_out_early_or_in_quiet_hours_and_everything_goes_out_within_five_days(
    now: datetime, quiet: Quiet, zone: str, digest: Digest
) -> None:
    stored = {"from": f"{quiet.begins:%H:%M}", "until": f"{quiet.ends:%H:%M}", "weekends": quiet.weekends}
    settings = {"quiet": stored}
    at = goes_out_at(now, zone=zone, settings=settings, digest=digest)
    assert now <= at <= now + timedelta(days=5)
    assert not quiet.covers(at.astimezone(ZoneInfo(zone)))
    assert goes_out_at(at, zone=zone, settings=settings, digest=Digest.NOW) == at
