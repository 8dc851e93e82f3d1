"""What can be wrong with a calendar, a deadline or a clock; each message says what to change."""

from __future__ import annotations

from typing import ClassVar


class SlaError(ValueError):
    """Base of the errors that the pure calendar and clock rules raise."""

    code: ClassVar[str] = "sla_error"
    status: ClassVar[int] = 422


class InvalidCalendar(SlaError):
    """A calendar's definition contradicts itself."""

    code: ClassVar[str] = "calendar_invalid"


class OutsideCalendarRange(SlaError):
    """The answer lies outside the years that a calendar can speak about, or the calendar is never open."""

    code: ClassVar[str] = "calendar_range_exceeded"


class UnknownZone(SlaError):
    """A time zone is not the name of a place in the IANA database."""

    code: ClassVar[str] = "zone_unknown"


class NaiveInstant(SlaError):
    """An instant came without a zone, so it names no moment."""

    code: ClassVar[str] = "instant_naive"


class InvalidDeadline(SlaError):
    """A deadline formula cannot be read."""

    code: ClassVar[str] = "deadline_invalid"


class InvalidThreshold(SlaError):
    """A warning threshold cannot be measured."""

    code: ClassVar[str] = "threshold_invalid"


class ClockRefused(SlaError):
    """The clock is not in a state that allows this step."""

    code: ClassVar[str] = "clock_step_refused"
    status: ClassVar[int] = 409


class HolidaysUnavailable(SlaError):
    """The holiday source or one of the years is not known to us."""

    code: ClassVar[str] = "holidays_unavailable"
