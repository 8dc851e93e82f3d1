"""What SLA clocks tell the other features."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from app.core.events import Event


class ThresholdName(StrEnum):
    """What a clock announces; a breach is the higher one."""

    WARNING = "warning"
    BREACH = "breach"


@dataclass(frozen=True, slots=True)
class PassedThreshold:
    """One threshold of one clock, recorded as the row `event_id` of sla_event."""

    event_id: UUID
    clock_id: UUID
    generation: int
    threshold: ThresholdName
    record_entity: str
    record_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SlaThresholdsPassed(Event):
    """Clocks have passed thresholds that are to be announced: one event for a whole batch of the sweep.

    Thresholds that a higher one has overtaken before anybody looked are recorded and not in here.
    """

    passed: tuple[PassedThreshold, ...]
