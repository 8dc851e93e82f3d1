"""What can be wrong with a calendar, a deadline or a clock; each message says what to change."""

from __future__ import annotations

from app.core.errors import StepsError


class SlaError(StepsError):
    """Base of the errors that the pure calendar and clock rules raise."""

    code = "sla_error"
    status = 422
    title = "This calendar, deadline or clock cannot be used"


class InvalidCalendar(SlaError):
    """A calendar's definition contradicts itself."""

    code = "calendar_invalid"
    title = "The calendar is not valid"


class OutsideCalendarRange(SlaError):
    """The answer lies outside the years that a calendar can speak about, or the calendar is never open."""

    code = "calendar_range_exceeded"
    title = "The calendar does not reach that far"


class UnknownZone(SlaError):
    """A time zone is not the name of a place in the IANA database."""

    code = "zone_unknown"
    title = "Unknown time zone"


class NaiveInstant(SlaError):
    """An instant came without a zone, so it names no moment."""

    code = "instant_naive"
    title = "The time has no zone"


class InvalidDeadline(SlaError):
    """A deadline formula cannot be read."""

    code = "deadline_invalid"
    title = "The deadline is not valid"


class InvalidThreshold(SlaError):
    """A warning threshold cannot be measured."""

    code = "threshold_invalid"
    title = "The threshold is not valid"


class ClockRefused(SlaError):
    """The clock is not in a state that allows this step."""

    code = "clock_step_refused"
    status = 409
    title = "The clock does not allow this step"


class HolidaysUnavailable(SlaError):
    """The holiday source or one of the years is not known to us."""

    code = "holidays_unavailable"
    title = "These holidays are not available"
