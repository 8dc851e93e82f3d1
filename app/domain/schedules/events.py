"""What schedules tell the other features, inside the transaction in which it happened."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from app.core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScheduled(Event):
    """A schedule has created its run, or found it there."""

    schedule_id: UUID
    run_id: UUID
    business_date: date
    node_id: UUID | None
    variant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRunFailed(Event):
    """The run of an occurrence could not be created; it is tried again where `final` is not set."""

    schedule_id: UUID
    occurrence_id: UUID
    reason: str
    final: bool
