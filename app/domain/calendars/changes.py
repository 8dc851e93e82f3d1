"""What a changed calendar changes: the first date, and the first moment, that the old and the new one treat apart."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import zip_longest

from app.domain.calendars.calendar_index import from_micros
from app.domain.calendars.calendars import Calendar


@dataclass(frozen=True, slots=True)
class FirstChange:
    """`day` is the first date that works in one of them only, `moment` the first that is open in one of them only."""

    day: date | None
    moment: datetime | None

    @property
    def at_all(self) -> bool:
        return self.day is not None or self.moment is not None


def first_change(old: Calendar, new: Calendar, *, first_year: int, last_year: int) -> FirstChange:
    """Return where two calendars part within these years."""
    day, last = date(first_year, 1, 1), date(last_year, 12, 31)
    while day <= last and old.is_working_day(day) == new.is_working_day(day):
        day += timedelta(days=1)
    before, after = old.open_periods(first_year, last_year), new.open_periods(first_year, last_year)
    parted = None
    for one, other in zip_longest(before, after):
        if one != other:
            edges = [period for period in (one, other) if period is not None]
            starts_apart = len(edges) == 1 or edges[0][0] != edges[1][0]
            parted = min(period[0] if starts_apart else period[1] for period in edges)
            break
    return FirstChange(day if day <= last else None, from_micros(parted) if parted is not None else None)
