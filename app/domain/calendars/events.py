"""What calendars tell the other features."""

from dataclasses import dataclass
from uuid import UUID

from app.core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarPublished(Event):
    """A version is in force from now on; `previous_id` is the one before it, None where it is the first."""

    calendar_id: UUID
    version_id: UUID
    previous_id: UUID | None
    reason: str
