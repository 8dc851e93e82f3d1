"""When a message may go out: the quiet hours and digests of a person, on the clocks of their own zone. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any, Self
from zoneinfo import ZoneInfo

from app.domain.calendars.errors import UnknownZone
from app.domain.calendars.wall_time import Occurrence, wall_to_utc, zone_info

DEFAULT_DIGEST_AT = time(8, 0)
SATURDAY = 5
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class Digest(StrEnum):
    NOW = "now"
    HOURLY = "hourly"
    DAILY = "daily"


def read_clock(text: str) -> time:
    """Read `08:00`. Raises ValueError."""
    if not _CLOCK.fullmatch(text):
        raise ValueError(f"{text!r} is no time of day; write 08:00")
    return time.fromisoformat(text)


@dataclass(frozen=True, slots=True)
class Quiet:
    """No message from `begins` to `ends`, over midnight where it begins later than it ends; equal: no hours.

    `weekends`: none on Saturday and Sunday either.
    """

    begins: time
    ends: time
    weekends: bool = False

    @classmethod
    def read(cls, settings: Mapping[str, Any] | None) -> Self | None:
        """Of a person's stored settings; None where there are no quiet hours."""
        stored = (settings or {}).get("quiet")
        if not stored:
            return None
        return cls(read_clock(stored["from"]), read_clock(stored["until"]), bool(stored.get("weekends")))

    def covers(self, wall: datetime) -> bool:
        """Whether this wall time is quiet."""
        at = wall.time()
        if self.weekends and wall.weekday() >= SATURDAY:
            return True
        if self.begins <= self.ends:
            return self.begins <= at < self.ends
        return at >= self.begins or at < self.ends

    def end_after(self, at: datetime, zone: ZoneInfo) -> datetime:
        """The first instant from `at` on that is not quiet."""
        for _ in range(8):
            wall = at.astimezone(zone)
            if not self.covers(wall):
                return at
            at = self._step(wall, zone)
        return at

    def _step(self, wall: datetime, zone: ZoneInfo) -> datetime:
        """An instant after a quiet wall time before which all is quiet."""
        day = wall.date()
        if self.weekends and wall.weekday() >= SATURDAY:
            day, at = day + timedelta(days=7 - wall.weekday()), time(0)
        else:
            day, at = (day if wall.time() < self.ends else day + timedelta(days=1)), self.ends
        found = wall_to_utc(day, at, zone, occurrence=Occurrence.FIRST)
        # In the hour that happens twice the first occurrence may be over already.
        return found if found > wall else wall_to_utc(day, at, zone, occurrence=Occurrence.SECOND)


def goes_out_at(now: datetime, *, zone: str | None, settings: Mapping[str, Any] | None, digest: Digest) -> datetime:
    """When a message of `now` goes out to a person with these settings; `now` itself where nothing holds it back.

    A zone that is not known is UTC, so that a message is never lost over it.
    """
    place = _zone(zone)
    at = now if digest is Digest.NOW else _next_digest(now, place, digest, settings or {})
    quiet = Quiet.read(settings)
    return at if quiet is None else quiet.end_after(at, place)


def _next_digest(now: datetime, zone: ZoneInfo, digest: Digest, settings: Mapping[str, Any]) -> datetime:
    wall = now.astimezone(zone)
    if digest is Digest.HOURLY:  # an hour of the wall clock may begin at the half hour of UTC
        return (
            now
            + timedelta(hours=1)
            - timedelta(minutes=wall.minute, seconds=wall.second, microseconds=wall.microsecond)
        )
    at = read_clock(settings["digest_at"]) if settings.get("digest_at") else DEFAULT_DIGEST_AT
    for days in range(3):
        found = wall_to_utc(wall.date() + timedelta(days=days), at, zone, occurrence=Occurrence.FIRST)
        if found > now:
            return found
    return now + timedelta(days=1)


def _zone(name: str | None) -> ZoneInfo:
    try:
        return zone_info(name or "UTC")
    except UnknownZone:
        return zone_info("UTC")
