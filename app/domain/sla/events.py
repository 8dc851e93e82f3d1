"""What SLA clocks tell the other features."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from app.core.events import Event


class ThresholdName(StrEnum):
    """The thresholds that every clock may have; a policy names others of its own."""

    WARNING = "warning"
    BREACH = "breach"


@dataclass(frozen=True, slots=True)
class PassedThreshold:
    """One threshold of one clock, recorded as the row `event_id` of sla_event. `policy` is its policy's code."""

    event_id: UUID
    clock_id: UUID
    generation: int
    threshold: str
    record_entity: str
    record_id: UUID
    policy: str = ""
    policy_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlaThresholdsPassed(Event):
    """Clocks have passed thresholds that are to be announced: one event for a whole batch of the sweep.

    Thresholds that a higher one has overtaken before anybody looked are recorded and not in here.
    """

    passed: tuple[PassedThreshold, ...]


@dataclass(frozen=True, slots=True)
class EndedClock:
    """A clock that stopped because the work was done, or was called off."""

    clock_id: UUID
    policy_id: UUID
    record_entity: str
    record_id: UUID
    state: str
    breached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockEnded(Event):
    """Clocks have ended: what was to be said about them need not be said any more."""

    clocks: tuple[EndedClock, ...]
