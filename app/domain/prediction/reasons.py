"""Forecasts in words: "P(miss 18:00) = 0.70 because Load ECB rates is 40 min late"."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from app.domain.prediction.forecast import Reason


def minutes(span: timedelta) -> str:
    """A lateness as people say it: "40 min", "2 h 05 min"."""
    whole = max(1, round(abs(span).total_seconds() / 60))
    return f"{whole} min" if whole < 120 else f"{whole // 60} h {whole % 60:02} min"


def because(
    reason: Reason,
    *,
    driver: str | None,
    driver_is_closed: bool,
    late: timedelta | None,
    finish_p50: datetime | None,
    zone: ZoneInfo,
) -> str:
    """What endangers a deadline, as the half of a sentence that follows "because"."""
    by = minutes(late) if late else ""
    name = driver or "a process"
    match reason:
        case Reason.LATE:
            return f"{name} {'was' if driver_is_closed else 'is'} {by} late"
        case Reason.LONG:
            return f"{name} may take {by} longer than usual"
        case Reason.WAITS:
            return f"{name} has been waiting {by} longer than usual"
        case Reason.HELD:
            return f"{name} is on hold"
        case Reason.FAILED:
            return f"{name} has failed"
        case Reason.IMPOSSIBLE:
            return f"{name} cannot be finished any more"
        case Reason.TIGHT:
            until = f"until {clock(finish_p50, zone)}" if finish_p50 else "longer"
            return f"the work that is left usually takes {until}"


def sentence(miss: object, due_at: datetime, cause: str | None, zone: ZoneInfo) -> str:
    """The probability with its deadline, and its cause where it has one."""
    head = f"P(miss {clock(due_at, zone)}) = {miss}"
    return f"{head} because {cause}" if cause else head


def clock(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%H:%M}"
