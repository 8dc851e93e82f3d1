"""A policy tried before it is in force: on one record, and on what has happened to it or to many. Nothing is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.core.errors import NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import require_in_scope, scope
from app.domain.sla.backfill import Reach, reach
from app.domain.sla.clock_math import ClockState
from app.domain.sla.compiled import CompiledPolicy, compile_policy
from app.domain.sla.driving import Change, follow_changes
from app.domain.sla.publishing import findings_of
from app.domain.sla.store import read_policy

NONE = UUID(int=0)
MOST_RECORDS = 500


@dataclass(frozen=True, slots=True)
class Trial:
    """What a policy would make of a record. `clock` None: none would start. `schedule`: (threshold, when)."""

    record_id: UUID
    title: str
    clock: ClockState | None
    schedule: Sequence[tuple[str, datetime]]
    missed: Sequence[tuple[str, datetime]] = ()


@dataclass(frozen=True, slots=True)
class Simulation:
    """The latest records of the past, put through a policy: how many clocks, and how they would have ended."""

    records: int
    clocks: int
    met: int
    missed: int
    open_: int
    late: int
    cancelled: int
    latest: tuple[Trial, ...]


async def try_policy(uow: UnitOfWork, *, entity: str, given: Any, record_id: UUID | None) -> tuple[Reach, Trial | None]:
    """How far a policy reaches at this moment, and what it makes of one record, from its past steps on.

    Raises:
        Forbidden, NotFound: the record is not for the actor. ValidationFailed: it is no policy that could be published.
    """
    policy = await _compiled(uow, entity, given)
    found = None
    if record_id is not None:
        await require_in_scope(uow, "read", entity, record_id)
        trials = await _trials(uow, policy, [record_id])
        if not trials:
            raise NotFound("There is no such record.")
        found = trials[0]
    return await reach(uow, policy), found


async def simulate(uow: UnitOfWork, *, entity: str, given: Any, limit: int = MOST_RECORDS) -> Simulation:
    """Put the latest records that the actor sees through a policy, each from its creation on.

    Raises Forbidden, ValidationFailed.
    """
    policy = await _compiled(uow, entity, given)
    authorize(uow, "read", entity)
    table = uow.table(entity)
    statement = scope(select(table.c.id), uow, "read", entity).order_by(table.c.created_at.desc()).limit(limit)
    ids = list((await uow.execute(statement)).scalars())
    trials = await _trials(uow, policy, ids)
    ended = [trial for trial in trials if trial.clock is not None]
    states = [(trial.clock.state.value, _late(trial.clock, uow.now)) for trial in ended if trial.clock is not None]
    return Simulation(
        records=len(ids),
        clocks=len(ended),
        met=sum(state == "stopped" and not late for state, late in states),
        missed=sum(state == "stopped" and late for state, late in states),
        open_=sum(state in ("running", "paused") for state, _ in states),
        late=sum(state in ("running", "paused") and late for state, late in states),
        cancelled=sum(state == "cancelled" for state, _ in states),
        latest=tuple(ended[:10]),
    )


def _late(clock: ClockState, now: datetime) -> bool:
    return clock.breached_at is not None or (clock.state.value == "running" and clock.due_at <= now)


async def _compiled(uow: UnitOfWork, entity: str, given: Any) -> CompiledPolicy:
    definition = read_policy(given)
    problems = await findings_of(uow, definition, entity)
    if problems:
        raise ValidationFailed(problems)
    return compile_policy(
        definition, uow.registry.entity(entity), uow.registry, policy_id=NONE, version_id=NONE, number=0
    )


async def _trials(uow: UnitOfWork, policy: CompiledPolicy, ids: Sequence[UUID]) -> list[Trial]:
    steps = uow.table("record_transition")
    log = (
        select(steps.c.record_id, steps.c.at, steps.c.to_state, steps.c.from_state)
        .where(steps.c.record_entity == policy.entity, steps.c.record_id.in_(list(ids)))
        .order_by(steps.c.record_id, steps.c.sequence)
    )
    changes = [Change(policy.entity, id_, None) for id_ in ids]
    changes += [
        Change(policy.entity, row.record_id, row.at, row.to_state, row.from_state) for row in await uow.execute(log)
    ]
    outcomes = await follow_changes(uow, policy, changes)
    by_id = {outcome.subject.record["id"]: outcome for outcome in outcomes}
    return [
        Trial(
            record_id=id_,
            title=by_id[id_].subject.label if id_ in by_id else "",
            clock=by_id[id_].kept.clock if id_ in by_id else None,
            schedule=tuple(by_id[id_].schedule) if id_ in by_id else (),
            missed=tuple((each.threshold, each.at) for each in by_id[id_].missed) if id_ in by_id else (),
        )
        for id_ in ids
    ]
