"""Working time as a second time axis: each instant has a position on it, which stands still while nobody works."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from app.domain.calendars.calendar_index import micros
from app.domain.calendars.calendars import Calendar

MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class OpenHours:
    """Periods of working time in seconds from a moment, sorted and apart; `before[i]` is worked before period i."""

    starts: Sequence[float]
    ends: Sequence[float]
    before: Sequence[float]

    def position(self, at: float) -> float:
        """The working time from the first period up to this moment."""
        index = bisect_right(self.starts, at) - 1
        return 0.0 if index < 0 else self.before[index] + min(at, self.ends[index]) - self.starts[index]

    def moment(self, position: float) -> float:
        """The earliest moment at this position; beyond the last period, as if it went on."""
        index = max(0, bisect_left(self.before, position) - 1)
        return self.starts[index] + position - self.before[index]

    def later(self, at: float, spans: Sequence[float]) -> list[float]:
        """The moments at which these rising spans of working time have passed since `at`."""
        if not self.starts:
            return [at + span for span in spans]
        index = bisect_right(self.starts, at) - 1
        if index >= 0 and at + spans[-1] <= self.ends[index]:
            return [at + span for span in spans]
        here = self.position(at)
        return [max(at, self.moment(here + span)) for span in spans]


def open_hours(calendar: Calendar, *, around: datetime, back: timedelta, ahead: timedelta) -> OpenHours:
    """The calendar's working periods about a moment, which is zero."""
    zero = micros(around)
    first, last = micros(around - back), micros(around + ahead)
    periods = calendar.open_periods((around - back).year, (around + ahead).year)
    chosen = [
        ((start - zero) / MICROS, (end - zero) / MICROS) for start, end in periods if end > first and start < last
    ]
    lengths = [end - start for start, end in chosen]
    return OpenHours(
        [start for start, _ in chosen],
        [end for _, end in chosen],
        [0.0, *list(accumulate(lengths))[:-1]] if chosen else [],
    )


ALWAYS_OPEN = OpenHours((), (), ())
