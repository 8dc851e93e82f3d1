"""Between wall clocks and instants: zones, and the two hours a year that daylight saving removes or repeats."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from app.domain.calendars.errors import NaiveInstant, UnknownZone

_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


class Occurrence(StrEnum):
    """Which of the two moments is meant by a wall time that happens twice."""

    FIRST = "first"
    SECOND = "second"


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    # Abbreviations are left out on purpose: `EST` is a fixed offset and would be an hour wrong all summer.
    return frozenset(name for name in available_timezones() if "/" in name) | {"UTC"}


@lru_cache(maxsize=512)
def zone_info(name: str) -> ZoneInfo:
    """Return the zone of an IANA place name.

    Raises:
        UnknownZone: the name is not a place in the IANA database.
    """
    if name not in _zone_names():
        close = get_close_matches(name, _zone_names(), n=1, cutoff=0.7)
        hint = f"Did you mean {close[0]}?" if close else "Use a place such as Europe/Berlin, or UTC."
        raise UnknownZone(f"Unknown time zone {name!r}. {hint}")
    return ZoneInfo(name)


def as_utc(instant: datetime) -> datetime:
    """Return the same instant in UTC.

    Raises:
        NaiveInstant: the value has no zone.
    """
    if instant.utcoffset() is None:
        raise NaiveInstant(f"{instant.isoformat()} has no time zone: give an instant with an offset, such as +00:00.")
    return instant.astimezone(UTC)


def wall_to_utc(day: date, at: time, zone: ZoneInfo, *, occurrence: Occurrence) -> datetime:
    """Return the instant at which the clocks of `zone` show `at` on `day`.

    A wall time that is skipped gives the first valid instant after it; one that happens twice gives `occurrence`.
    """
    wall = datetime.combine(day, at.replace(fold=0), tzinfo=zone)
    later = wall.replace(fold=1)
    before, after = wall.utcoffset(), later.utcoffset()
    if before is None or after is None or before == after:
        return wall.astimezone(UTC)
    if before > after:
        return (wall if occurrence is Occurrence.FIRST else later).astimezone(UTC)
    return _change_of_offset(later.astimezone(UTC), wall.astimezone(UTC), zone)


@lru_cache(maxsize=1024)
def steady_offsets(zone_name: str, year: int) -> tuple[int | None, ...]:
    """Return the UTC offset in microseconds of each date of a year, None for a date on which it changes."""
    zone = zone_info(zone_name)
    ordinals = range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal() + 1)
    midnights = [_midnight_offset(ordinal, zone) for ordinal in ordinals]
    return tuple(before if before == after else None for before, after in pairwise(midnights))


def _midnight_offset(ordinal: int, zone: ZoneInfo) -> int | None:
    # Where midnight itself is skipped or repeated this is the offset of the day before, which ends by it; the day that
    # begins then has another offset at its end, so it is not taken for steady.
    offset = datetime.fromordinal(ordinal).replace(tzinfo=zone).utcoffset()
    return None if offset is None else offset // _MICROSECOND


def _change_of_offset(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant in (low, high] that has the offset of `high`; changes fall on whole seconds."""
    target = high.astimezone(zone).utcoffset()
    low = low.replace(microsecond=0)
    seconds = -(-(high - low) // _SECOND)
    unchanged, changed = 0, seconds
    while changed - unchanged > 1:
        middle = (unchanged + changed) // 2
        if (low + middle * _SECOND).astimezone(zone).utcoffset() == target:
            changed = middle
        else:
            unchanged = middle
    return low + changed * _SECOND
