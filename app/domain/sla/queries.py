"""Reading clocks: what is due when, and how urgent it is. Urgency is computed on each read, so it is never stale."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select

from app.core.uow import UnitOfWork
from app.domain.access.scope import scope
from app.domain.sla.clock_math import ClockStatus, Measure
from app.domain.sla.events import ThresholdName


class Urgency(StrEnum):
    """How a clock looks at a moment. `met` and `missed` are for work that has ended, `none` for what was called off."""

    CALM = "calm"
    SOON = "soon"
    LATE = "late"
    PAUSED = "paused"
    MET = "met"
    MISSED = "missed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ClockView:
    """A clock as a page shows it."""

    id: UUID
    policy: str
    record_id: UUID
    label: str
    measure: Measure
    state: ClockStatus
    urgency: Urgency
    started_at: datetime
    warn_at: datetime | None
    due_at: datetime
    breached_at: datetime | None
    stopped_at: datetime | None


@dataclass(frozen=True, slots=True)
class PassedView:
    """A threshold that a clock passed: `at` is when it was reached, `fired_at` when that was noticed."""

    policy: str
    threshold: ThresholdName
    generation: int
    at: datetime
    fired_at: datetime
    announced: bool


def urgency(
    state: ClockStatus, *, due_at: datetime, warn_at: datetime | None, breached_at: datetime | None, now: datetime
) -> Urgency:
    """Say how a clock looks at `now`; a clock is late from its due instant on, whether a sweep has seen it or not."""
    match state:
        case ClockStatus.CANCELLED:
            return Urgency.NONE
        case ClockStatus.STOPPED:
            return Urgency.MISSED if breached_at is not None else Urgency.MET
        case ClockStatus.PAUSED:
            return Urgency.LATE if breached_at is not None else Urgency.PAUSED
    if now >= due_at:
        return Urgency.LATE
    return Urgency.SOON if warn_at is not None and now >= warn_at else Urgency.CALM


async def clocks_of(uow: UnitOfWork, *, record_entity: str, record_ids: Sequence[UUID]) -> list[ClockView]:
    """The clocks of these records that the actor may see, soonest due first, in one statement."""
    clocks, policies = uow.table("sla_clock"), uow.table("sla_policy")
    statement: Select[Any] = (
        select(clocks, policies.c.label.label("policy"))
        .join(policies, policies.c.id == clocks.c.policy_id)
        .where(clocks.c.record_entity == record_entity, clocks.c.record_id.in_(record_ids))
        .order_by(clocks.c.due_at, clocks.c.id)
    )
    return [_view(row, uow.now) for row in await uow.execute(scope(statement, uow, "read", "sla_clock"))]


async def thresholds_passed(uow: UnitOfWork, *, record_entity: str, record_id: UUID) -> list[PassedView]:
    """What the clocks of one record have passed, latest first, as far as the actor may see it."""
    clocks, policies, events = (uow.table(name) for name in ("sla_clock", "sla_policy", "sla_event"))
    statement: Select[Any] = (
        select(events, policies.c.label.label("policy"))
        .join(clocks, clocks.c.id == events.c.clock_id)
        .join(policies, policies.c.id == clocks.c.policy_id)
        .where(clocks.c.record_entity == record_entity, clocks.c.record_id == record_id)
        .order_by(events.c.at.desc(), events.c.id.desc())
    )
    return [
        PassedView(row.policy, ThresholdName(row.threshold), row.generation, row.at, row.fired_at, row.notified)
        for row in await uow.execute(scope(statement, uow, "read", "sla_event"))
    ]


def _view(row: Row[Any], now: datetime) -> ClockView:
    state = ClockStatus(row.state)
    return ClockView(
        id=row.id,
        policy=row.policy,
        record_id=row.record_id,
        label=row.label,
        measure=Measure(row.measure),
        state=state,
        urgency=urgency(state, due_at=row.due_at, warn_at=row.warn_at, breached_at=row.breached_at, now=now),
        started_at=row.started_at,
        warn_at=row.warn_at,
        due_at=row.due_at,
        breached_at=row.breached_at,
        stopped_at=row.stopped_at,
    )
