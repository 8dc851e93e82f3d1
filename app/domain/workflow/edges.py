"""What a dependency says: its type, its hardness, its lag, and which run of another workflow it means. Pure.

FS  finish to start   the successor may not begin before the predecessor has ended
SS  start to start    the successor may not begin before the predecessor has begun
FF  finish to finish  the successor may be worked on, and may not be completed before the predecessor has ended
SF  start to finish   the successor may be worked on, and may not be completed before the predecessor has begun
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from app.domain.calendars.calendars import Calendar
from app.domain.calendars.wall_time import Occurrence, wall_to_utc, zone_info


class EdgeType(StrEnum):
    FS = "FS"
    SS = "SS"
    FF = "FF"
    SF = "SF"

    @property
    def on_start(self) -> bool:
        """Whether the beginning of the predecessor satisfies it, not only its end."""
        return self in (EdgeType.SS, EdgeType.SF)

    @property
    def gates_start(self) -> bool:
        """Whether it holds back the beginning of the successor; else it holds back its end."""
        return self in (EdgeType.FS, EdgeType.SS)

    @property
    def words(self) -> str:
        return _TYPE_WORDS[self]


class Hardness(StrEnum):
    """hard holds back; soft warns and asks for a reason; advisory is read by predictions alone."""

    HARD = "hard"
    SOFT = "soft"
    ADVISORY = "advisory"


class LagUnit(StrEnum):
    """Days are calendar days at the same wall time of the calendar's zone; working units are those of the calendar."""

    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"
    WORKING_MINUTES = "working_minutes"
    WORKING_HOURS = "working_hours"
    WORKING_DAYS = "working_days"

    @property
    def needs_calendar(self) -> bool:
        return self not in (LagUnit.MINUTES, LagUnit.HOURS)


class RunSelector(StrEnum):
    SAME_DATE = "same_date"
    PREVIOUS_DATE = "previous_date"
    PERIOD_END = "period_end"
    LATEST_SIGNED = "latest_signed"


class RunNode(StrEnum):
    """own: the run about the other workflow's own node; same: its run about the node of the run that waits."""

    OWN = "own"
    SAME = "same"


class Outcome(StrEnum):
    """How an edge came to be satisfied."""

    MET = "met"
    NOT_BINDING = "not_binding"


_TYPE_WORDS: Mapping[EdgeType, str] = MappingProxyType(
    {
        EdgeType.FS: "finish to start",
        EdgeType.SS: "start to start",
        EdgeType.FF: "finish to finish",
        EdgeType.SF: "start to finish",
    }
)

# The same rules for SQL, `e` being an edge.
ON_START = "e.edge_type IN ('SS', 'SF')"
GATES_START = "edge_type IN ('FS', 'SS')"


@dataclass(frozen=True, slots=True)
class LagTime:
    """How long after the predecessor the successor may go on."""

    amount: int
    unit: LagUnit

    def after(self, instant: datetime, calendar: Calendar | None) -> datetime:
        """When the lag is over that began at `instant`. `calendar` is needed where the unit asks for it."""
        match self.unit:
            case LagUnit.MINUTES:
                return instant + timedelta(minutes=self.amount)
            case LagUnit.HOURS:
                return instant + timedelta(hours=self.amount)
        if calendar is None:
            raise ValueError(f"a lag in {self.unit} needs a calendar")
        match self.unit:
            case LagUnit.WORKING_MINUTES:
                return calendar.add_working_time(instant, timedelta(minutes=self.amount))
            case LagUnit.WORKING_HOURS:
                return calendar.add_working_time(instant, timedelta(hours=self.amount))
        zone = zone_info(calendar.zone)
        local = instant.astimezone(zone)
        days = self.unit is LagUnit.DAYS
        day = (
            local.date() + timedelta(days=self.amount) if days else calendar.add_working_days(local.date(), self.amount)
        )
        # To the microsecond, because a wall time has been read off an instant.
        return wall_to_utc(day, local.time(), zone, occurrence=Occurrence.SECOND)

    def __str__(self) -> str:
        unit = self.unit.value.replace("_", " ")
        return f"{self.amount} {unit.removesuffix('s') if self.amount == 1 else unit}"


def target_date(selector: RunSelector, business_date: date, calendar: Calendar) -> date:
    """The business date of the run that is meant; for `latest_signed` the last one that counts.

    The period end is the last working day of the month, of this month from that day on and of the month before until
    then: never a day that is still ahead.

    Raises:
        OutsideCalendarRange: the calendar does not reach that far.
    """
    match selector:
        case RunSelector.SAME_DATE | RunSelector.LATEST_SIGNED:
            return business_date
        case RunSelector.PREVIOUS_DATE:
            return calendar.previous_working_day(business_date)
        case RunSelector.PERIOD_END:
            end = calendar.last_working_day_of_month(business_date)
            if end <= business_date:
                return end
            before = business_date.replace(day=1) - timedelta(days=1)
            return calendar.last_working_day_of_month(before)


def may_be_the_same_date(selector: RunSelector) -> bool:
    """Whether the run meant can be one of the same business date, so that a wait in a circle never ends."""
    return selector in (RunSelector.SAME_DATE, RunSelector.PERIOD_END)
