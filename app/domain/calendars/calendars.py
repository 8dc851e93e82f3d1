"""Working calendars: which days count, and which moments of them.

Days and working time are different units and never convert. Periods are half-open. A calendar is a value: changed
holidays are a new version, a new object. Keep calendars by (code, version): each remembers the years it has looked at.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from zoneinfo import ZoneInfo

from app.domain.calendars.calendar_index import (
    DAY_MICROS,
    MICROSECOND,
    OpenTime,
    Period,
    WorkingDays,
    clip_periods,
    day_micros,
    from_micros,
    intersect_periods,
    micros,
    unite_periods,
    year_bounds,
)
from app.domain.calendars.errors import InvalidCalendar, OutsideCalendarRange
from app.domain.calendars.wall_time import Occurrence, as_utc, steady_offsets, wall_to_utc, zone_info

MIDNIGHT = time(0, 0)
WEEKDAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DAY = timedelta(days=1)


class Roll(StrEnum):
    """Where a date goes that is not a working day."""

    NONE = "none"
    FOLLOWING = "following"
    MODIFIED_FOLLOWING = "modified_following"
    PRECEDING = "preceding"
    MODIFIED_PRECEDING = "modified_preceding"
    END_OF_MONTH = "end_of_month"


class Combination(StrEnum):
    """How several calendars make one: open when all of them are, or when any of them is."""

    ALL = "all"
    ANY = "any"


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Working time within one local day, `[start, end)`; an end of 00:00 is the midnight that closes the day.

    `opens` and `closes` are the same in microseconds since midnight.
    """

    start: time
    end: time
    opens: int = field(init=False, repr=False, compare=False)
    closes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.start.tzinfo is not None or self.end.tzinfo is not None:
            raise InvalidCalendar(f"The working window {self} carries a zone: the zone belongs to the calendar.")
        if self.end != MIDNIGHT and self.end <= self.start:
            raise InvalidCalendar(
                f"The working window {self} ends before it starts: split a window that crosses midnight in two."
            )
        object.__setattr__(self, "opens", _since_midnight(self.start))
        object.__setattr__(self, "closes", _since_midnight(self.end) or DAY_MICROS)

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{'24:00' if self.end == MIDNIGHT else f'{self.end:%H:%M}'}"

    def cut_at(self, close: time) -> Window | None:
        """Return what is left of the window on a day that closes early, None if nothing is."""
        if close <= self.start:
            return None
        return Window(self.start, close) if self.end == MIDNIGHT or close < self.end else self

    def begun_at(self, opening: time) -> Window | None:
        """Return what is left of the window on a day that opens late, None if nothing is."""
        if self.end != MIDNIGHT and opening >= self.end:
            return None
        return Window(opening, self.end) if opening > self.start else self


def _since_midnight(at: time) -> int:
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond


FULL_DAY = Window(MIDNIGHT, MIDNIGHT)


class Calendar(ABC):
    """What every calendar answers, whether it is one place's or several combined."""

    code: str
    zone: str
    version: int
    _days: WorkingDays
    _time: OpenTime

    @abstractmethod
    def is_working_day(self, day: date) -> bool:
        """Say whether the calendar works on this date."""

    @abstractmethod
    def open_periods(self, first_year: int, last_year: int) -> list[Period]:
        """Return the working periods of these UTC years, sorted and apart."""

    def local_date(self, instant: datetime) -> date:
        """Return the date that this instant has in the calendar's zone."""
        return as_utc(instant).astimezone(zone_info(self.zone)).date()

    def add_working_days(self, day: date, count: int) -> date:
        """Return the date `count` working days after (or, if negative, before) `day`.

        Zero is the day itself if it is a working day, else the next one.

        Raises:
            OutsideCalendarRange: there are not that many working days in the years that calendars cover.
        """
        return self._days.move(self, day, count)

    def next_working_day(self, day: date) -> date:
        """Return the first working day after `day`."""
        return self.add_working_days(day, 1)

    def previous_working_day(self, day: date) -> date:
        """Return the last working day before `day`."""
        return self.add_working_days(day, -1)

    def working_days_between(self, start: date, end: date) -> int:
        """Count the working days in `[start, end)`; negative where `end` is before `start`."""
        return self._days.count(self, start, end)

    def last_working_day_of_month(self, day: date) -> date:
        """Return the last working day of the month that `day` is in.

        Raises:
            OutsideCalendarRange: the month has no working day.
        """
        last = self.roll(day.replace(day=monthrange(day.year, day.month)[1]), Roll.PRECEDING)
        if (last.year, last.month) != (day.year, day.month):
            raise OutsideCalendarRange(f"Calendar {self.code} has no working day in {day:%B %Y}.")
        return last

    def roll(self, day: date, convention: Roll) -> date:
        """Return `day` moved to a working day; END_OF_MONTH gives the month's last one whatever the day is.

        The modified conventions turn round rather than leave the month.
        """
        if convention is Roll.NONE:
            return day
        if convention is Roll.END_OF_MONTH:
            return self.last_working_day_of_month(day)
        if self.is_working_day(day):
            return day
        forward = convention in (Roll.FOLLOWING, Roll.MODIFIED_FOLLOWING)
        rolled = self.add_working_days(day, 1 if forward else -1)
        if convention in (Roll.MODIFIED_FOLLOWING, Roll.MODIFIED_PRECEDING) and rolled.month != day.month:
            return self.add_working_days(day, -1 if forward else 1)
        return rolled

    def is_open(self, instant: datetime) -> bool:
        """Say whether the instant is working time."""
        return self._time.is_open(self, micros(as_utc(instant)))

    def working_time_between(self, start: datetime, end: datetime) -> timedelta:
        """Return the working time in `[start, end)`; negative where `end` is before `start`."""
        return self._time.between(self, micros(as_utc(start)), micros(as_utc(end))) * MICROSECOND

    def add_working_time(self, instant: datetime, amount: timedelta) -> datetime:
        """Return the instant at which `amount` of working time has passed since `instant`, in UTC.

        Forward it is the earliest such instant (an hour from Friday 17:00 is Friday 18:00, not Monday 09:00); backward,
        for a negative amount, the latest. Zero gives the instant itself, in working time or not.

        Raises:
            OutsideCalendarRange: there is not that much working time in the years that calendars cover.
        """
        return from_micros(self._time.move(self, micros(as_utc(instant)), amount // MICROSECOND))


@dataclass(frozen=True)
class WorkingCalendar(Calendar):
    """One place's published calendar.

    `week` maps a weekday (Monday is 0) to its working windows; a weekday that is absent is not worked.
    `early_closes` and `late_opens` cut the windows of a working day at a local time; they change hours, never whether
    the day counts. `special_hours` replace all windows of a date and make it a working day, whatever its weekday is.
    """

    code: str
    version: int
    zone: str
    week: Mapping[int, tuple[Window, ...]]
    holidays: frozenset[date] = frozenset()
    early_closes: Mapping[date, time] = field(default_factory=dict)
    late_opens: Mapping[date, time] = field(default_factory=dict)
    special_hours: Mapping[date, Window] = field(default_factory=dict)
    _days: WorkingDays = field(init=False, repr=False, compare=False, default_factory=WorkingDays)
    _time: OpenTime = field(init=False, repr=False, compare=False, default_factory=OpenTime)

    def __post_init__(self) -> None:
        zone_info(self.zone)
        week = {weekday: orderly(weekday, windows) for weekday, windows in sorted(self.week.items())}
        if not week:
            raise InvalidCalendar(f"Calendar {self.code} has no working weekday: add at least one.")
        # The caller's collections are copied: a calendar must not change after it has answered.
        object.__setattr__(self, "week", MappingProxyType(week))
        object.__setattr__(self, "holidays", frozenset(self.holidays))
        for name in ("early_closes", "late_opens", "special_hours"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for day in (*self.early_closes, *self.late_opens):
            if self.is_working_day(day) and not self.windows_on(day):
                early = day in self.early_closes
                raise InvalidCalendar(
                    f"Calendar {self.code} {'closes before it opens' if early else 'opens after it closes'} on {day}: "
                    f"make that day a holiday, or {'close later' if early else 'open earlier'}."
                )
        for day in self.special_hours:
            if day in self.holidays:
                raise InvalidCalendar(f"Calendar {self.code} has both a holiday and special hours on {day}: keep one.")

    def __hash__(self) -> int:
        return hash((self.code, self.version, self.zone))

    def is_working_day(self, day: date) -> bool:
        return day in self.special_hours or (day.weekday() in self.week and day not in self.holidays)

    def windows_on(self, day: date) -> tuple[Window, ...]:
        """Return the local working windows of a date, none on a day that is not worked."""
        if day in self.special_hours:
            return (self.special_hours[day],)
        if not self.is_working_day(day):
            return ()
        windows = self.week[day.weekday()]
        close, opening = self.early_closes.get(day), self.late_opens.get(day)
        if close is not None:
            windows = tuple(cut for window in windows if (cut := window.cut_at(close)) is not None)
        if opening is not None:
            windows = tuple(cut for window in windows if (cut := window.begun_at(opening)) is not None)
        return windows

    def open_periods(self, first_year: int, last_year: int) -> list[Period]:
        # Local dates reach into the neighbouring UTC years, so those are looked at too and cut off.
        periods = (
            period
            for year in range(first_year - 1, last_year + 2)
            for ordinal, offset in enumerate(steady_offsets(self.zone, year), date(year, 1, 1).toordinal())
            for period in self._periods_on(ordinal, offset)
        )
        return clip_periods(unite_periods(periods), *year_bounds(first_year, last_year))

    def _periods_on(self, ordinal: int, offset: int | None) -> list[Period]:
        """Return the working periods of a local date, by plain arithmetic where its offset is the same all day."""
        day = date.fromordinal(ordinal)
        if offset is None:
            zone = zone_info(self.zone)
            return [_period_on_day_of_change(day, window, zone) for window in self.windows_on(day)]
        midnight = day_micros(ordinal) - offset
        return [(midnight + window.opens, midnight + window.closes) for window in self.windows_on(day)]


def orderly(weekday: int, windows: Iterable[Window]) -> tuple[Window, ...]:
    """Return the windows of a weekday sorted and apart; windows that touch become one."""
    if weekday not in range(7):
        raise InvalidCalendar(f"{weekday} is not a weekday: Monday is 0 and Sunday is 6.")
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and (merged[-1].end == MIDNIGHT or window.start < merged[-1].end):
            raise InvalidCalendar(
                f"The working windows {merged[-1]} and {window} of {WEEKDAY_NAMES[weekday]} overlap: make them one."
            )
        if merged and window.start == merged[-1].end:
            merged[-1] = Window(merged[-1].start, window.end)
        else:
            merged.append(window)
    if not merged:
        raise InvalidCalendar(f"{WEEKDAY_NAMES[weekday]} has no working window: give one, or leave the day out.")
    return tuple(merged)


def _period_on_day_of_change(day: date, window: Window, zone: ZoneInfo) -> Period:
    start = wall_to_utc(day, window.start, zone, occurrence=Occurrence.FIRST)
    if window.end == MIDNIGHT:  # the local day is over when the next one first begins
        end = wall_to_utc(day + _DAY, MIDNIGHT, zone, occurrence=Occurrence.FIRST)
    else:
        end = wall_to_utc(day, window.end, zone, occurrence=Occurrence.SECOND)
    return micros(start), micros(end)


@dataclass(frozen=True)
class CombinedCalendar(Calendar):
    """Several calendars as one. Days combine by date, working time by instant, so zones may differ.

    Two places can share a working day without sharing an hour of it. Local dates are those of `place`, or else of the
    first part. One that is kept under a name of its own has a `name` and the `version` that composes it.
    """

    parts: tuple[Calendar, ...]
    combination: Combination
    name: str = ""
    place: str = ""
    version: int = 0
    code: str = field(init=False, compare=False)
    zone: str = field(init=False, compare=False)
    _days: WorkingDays = field(init=False, repr=False, compare=False, default_factory=WorkingDays)
    _time: OpenTime = field(init=False, repr=False, compare=False, default_factory=OpenTime)

    def __post_init__(self) -> None:
        if not self.parts:
            raise InvalidCalendar("A combination of calendars needs at least one calendar.")
        sign = " & " if self.combination is Combination.ALL else " | "
        object.__setattr__(self, "code", self.name or f"({sign.join(part.code for part in self.parts)})")
        object.__setattr__(self, "zone", self.place or self.parts[0].zone)
        zone_info(self.zone)

    def is_working_day(self, day: date) -> bool:
        answers = (part.is_working_day(day) for part in self.parts)
        return all(answers) if self.combination is Combination.ALL else any(answers)

    def open_periods(self, first_year: int, last_year: int) -> list[Period]:
        periods = [part.open_periods(first_year, last_year) for part in self.parts]
        if self.combination is Combination.ANY:
            return unite_periods(period for part in periods for period in part)
        shared = periods[0]
        for other in periods[1:]:
            shared = intersect_periods(shared, other)
        return shared


def intersection(*calendars: Calendar) -> CombinedCalendar:
    """Return the calendar that works when all of these do: a holiday of any of them is a holiday."""
    return CombinedCalendar(parts=calendars, combination=Combination.ALL)


def union(*calendars: Calendar) -> CombinedCalendar:
    """Return the calendar that works when at least one of these does."""
    return CombinedCalendar(parts=calendars, combination=Combination.ANY)
