"""Clocks that conditions drive, in rows: read with their records in one statement, written back in one."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Select, bindparam, select, text, true
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.entities.codec import codec_of
from app.domain.sla.clock_math import ClockState, ClockStatus, Measure
from app.domain.sla.compiled import CompiledPolicy
from app.domain.sla.deciding import Kept, Missed, Promise
from app.domain.sla.events import ClockEnded, EndedClock, PassedThreshold, SlaThresholdsPassed
from models.base import uuid7
from models.schema import EntityDef
from models.sla import BREACH, WARNING

_CLOCK, _NODE, _APPLICATION = "clock__", "place__node", "place__application"
MAX_LABEL = 300


@dataclass(frozen=True, slots=True)
class Held:
    """A clock as its row has it. `codes`: what it announces, in order, as far as the row says."""

    id: UUID
    version_id: UUID
    kept: Kept
    row: Mapping[str, Any]


@dataclass(slots=True)
class Subject:
    """A record with the clocks that conditions drive, by policy. `gone`: it is deleted."""

    entity: EntityDef
    record: dict[str, Any]
    node_id: UUID | None = None
    application_id: UUID | None = None
    gone: bool = False
    clocks: dict[UUID, Held] = field(default_factory=dict)

    @property
    def state_field(self) -> str | None:
        name = self.entity.state_field
        return name if name in self.record else None

    @property
    def label(self) -> str:
        return str(self.record.get(self.entity.title_field) or self.entity.label)[:MAX_LABEL]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A clock that starts, changes or ends. `schedule`: what it still announces, and when."""

    subject: Subject
    policy: CompiledPolicy
    held: Held | None
    kept: Kept
    missed: tuple[Missed, ...]
    ended: bool
    schedule: Sequence[tuple[str, datetime]]


async def read_subjects(
    uow: UnitOfWork, entity_name: str, ids: Collection[UUID], policies: Iterable[CompiledPolicy]
) -> dict[UUID, Subject]:
    """The records of these ids with their clocks, which are locked; deleted ones only where they have clocks."""
    entity, table = uow.registry.entity(entity_name), uow.table(entity_name)
    wanted = sorted(set(ids))
    clocks = uow.table("sla_clock")
    driven = (clocks.c.record_entity == entity_name, clocks.c.policy_version_id.is_not(None))
    held = select(clocks).where(*driven, clocks.c.record_id == table.c.id).with_for_update().lateral("held")
    columns = [column.label(f"{_CLOCK}{column.name}") for column in held.c]
    statement: Select[Any] = (
        select(table, *columns, *_places(uow, entity, table), *_bases(uow, entity, table, policies))
        .select_from(table.outerjoin(held, true()))
        .where(table.c.id.in_(wanted))
        .order_by(table.c.id)
    )
    codec = codec_of(uow.registry, entity_name)
    found: dict[UUID, Subject] = {}
    for row in (await uow.execute(statement)).mappings():
        subject = found.get(row["id"])
        if subject is None:
            record = codec.record(row) | {name: row[name] for name in row if "." in name}
            gone = row.get("deleted_at") is not None
            subject = Subject(entity, record, row.get(_NODE), row.get(_APPLICATION), gone=gone)
            found[row["id"]] = subject
        if row[f"{_CLOCK}id"] is not None:
            _add(subject, {column.name: row[f"{_CLOCK}{column.name}"] for column in held.c})
    missing = [id_ for id_ in wanted if id_ not in found]
    if missing:
        await _read_gone(uow, entity, missing, found)
    return found


async def _read_gone(uow: UnitOfWork, entity: EntityDef, ids: Sequence[UUID], found: dict[UUID, Subject]) -> None:
    """Clocks of records that are not there any more."""
    clocks = uow.table("sla_clock")
    statement = (
        select(clocks)
        .where(clocks.c.record_entity == entity.name, clocks.c.record_id.in_(ids))
        .where(clocks.c.policy_version_id.is_not(None))
        .with_for_update()
    )
    for row in (await uow.execute(statement)).mappings():
        record = {"id": row["record_id"], "created_at": row["created_at"], entity.title_field: row["label"]}
        subject = found.setdefault(
            row["record_id"], Subject(entity, record, row["node_id"], row["application_id"], gone=True)
        )
        _add(subject, dict(row))


def _add(subject: Subject, row: Mapping[Any, Any]) -> None:
    subject.clocks[row["policy_id"]] = Held(row["id"], row["policy_version_id"], _kept(row), row)


def _kept(row: Mapping[Any, Any]) -> Kept:
    clock = ClockState(
        measure=Measure(row["measure"]),
        state=ClockStatus(row["state"]),
        started_at=row["started_at"],
        target=row["target"] or timedelta(0),
        due_at=row["due_at"],
        consumed=row["consumed"] or timedelta(0),
        segment_started_at=row["segment_started_at"],
        generation=row["generation"],
        breached_at=row["breached_at"],
        ended_at=row["stopped_at"],
    )
    promise = Promise(
        within=row["target"] if clock.measure is Measure.DURATION else None,
        due_at=row["due_at"] if clock.measure is Measure.DEADLINE else None,
        formula=row["formula"],
        base_date=row["base_date"],
    )
    return Kept(clock, _fired(row), bool(row["reset_held"]), promise)


def _fired(row: Mapping[Any, Any]) -> frozenset[str]:
    """What was announced: everything in the schedule before the next one; all of it where there is no next."""
    codes = [code for code, _ in row["schedule"] or ()]
    following = row["next_threshold"]
    return frozenset(codes[: codes.index(following)] if following in codes else codes)


def _places(uow: UnitOfWork, entity: EntityDef, table: FromClause) -> list[ColumnElement[Any]]:
    """The node and the application of the record, where its entity says which they are."""
    columns: list[ColumnElement[Any]] = []
    if entity.scope_field:
        columns.append(_along(uow, entity, table, entity.scope_field).label(_NODE))
    if entity.application_field:
        columns.append(_along(uow, entity, table, entity.application_field).label(_APPLICATION))
    elif entity.application:
        applications = uow.table("application")
        code = select(applications.c.id).where(applications.c.code == entity.application)
        columns.append(code.scalar_subquery().label(_APPLICATION))
    return columns


def _bases(
    uow: UnitOfWork, entity: EntityDef, table: FromClause, policies: Iterable[CompiledPolicy]
) -> list[ColumnElement[Any]]:
    """What deadlines count from, where that is a field of a record referred to: `run.business_date`."""
    paths = dict.fromkeys(p.definition.base_date for p in policies if "." in p.definition.base_date)
    return [_along(uow, entity, table, path).label(path) for path in paths]


def _along(uow: UnitOfWork, entity: EntityDef, table: FromClause, path: str) -> ColumnElement[Any]:
    """The column at the end of a path through references."""
    first, *rest = path.split(".")
    field_ = entity.field(first)
    column: ColumnElement[Any] = table.c[field_.column]
    for name in rest:
        target = uow.registry.entity(field_.target or "")
        there = uow.table(target.name).alias()
        field_ = target.field(name)
        column = select(there.c[field_.column]).where(there.c.id == column).scalar_subquery()
    return column


# One row a clock; the trail of what was reached goes with it. `breached_at` stays whoever has written it meanwhile.
_WRITE = text(
    """
WITH given AS (
    SELECT * FROM jsonb_to_recordset(:clocks) AS c (
        id uuid, policy_id uuid, policy_version_id uuid, record_id uuid, label text, node_id uuid, application_id uuid,
        measure text, calendar_id uuid, calendar text, formula text, base_date date, state text,
        started_at timestamptz, segment_started_at timestamptz, consumed interval, target interval,
        warn_at timestamptz, due_at timestamptz, next_fire_at timestamptz, next_threshold text, schedule jsonb,
        generation int, reset_held boolean, warned_at timestamptz, breached_at timestamptz, stopped_at timestamptz)
), kept AS (
    INSERT INTO sla_clock (id, row_version, created_at, created_by, updated_at, updated_by, policy_id,
                           policy_version_id, record_entity, record_id, label, node_id, application_id, measure,
                           calendar_id, formula, base_date, state, started_at, segment_started_at, consumed, target,
                           warn_minutes, warn_at, due_at, next_fire_at, next_threshold, schedule, generation,
                           reset_held, warned_at, breached_at, stopped_at)
    SELECT g.id, 1, :now, :by, :now, :by, g.policy_id, g.policy_version_id, :entity, g.record_id, g.label, g.node_id,
           g.application_id, g.measure, (SELECT k.id FROM calendar k WHERE k.code = g.calendar), g.formula,
           g.base_date, g.state, g.started_at, g.segment_started_at, g.consumed, g.target, 0, g.warn_at, g.due_at,
           g.next_fire_at, g.next_threshold, g.schedule, g.generation, g.reset_held, g.warned_at, g.breached_at,
           g.stopped_at
    FROM given g ORDER BY g.id
    ON CONFLICT (policy_id, record_entity, record_id) DO UPDATE SET
        policy_version_id = excluded.policy_version_id, label = excluded.label, node_id = excluded.node_id,
        application_id = excluded.application_id, measure = excluded.measure, calendar_id = excluded.calendar_id,
        formula = excluded.formula, base_date = excluded.base_date, state = excluded.state,
        started_at = excluded.started_at, segment_started_at = excluded.segment_started_at,
        consumed = excluded.consumed, target = excluded.target, warn_at = excluded.warn_at, due_at = excluded.due_at,
        next_fire_at = excluded.next_fire_at, next_threshold = excluded.next_threshold, schedule = excluded.schedule,
        generation = excluded.generation, reset_held = excluded.reset_held, warned_at = excluded.warned_at,
        breached_at = coalesce(sla_clock.breached_at, excluded.breached_at), stopped_at = excluded.stopped_at,
        row_version = sla_clock.row_version + 1, updated_at = excluded.updated_at, updated_by = excluded.updated_by
), recorded AS (
    INSERT INTO sla_event (id, row_version, created_at, created_by, updated_at, updated_by, clock_id, generation,
                           threshold, at, fired_at, notified)
    SELECT m.id, 1, :now, :by, :now, :by, m.clock_id, m.generation, m.threshold, m.at, :now, m.announce
    FROM jsonb_to_recordset(:missed) AS m (
        id uuid, clock_id uuid, generation int, threshold text, at timestamptz, announce boolean)
    ON CONFLICT (clock_id, generation, threshold) DO NOTHING
    RETURNING id, notified
)
SELECT id FROM recorded WHERE notified
"""
).bindparams(bindparam("clocks", type_=JSONB), bindparam("missed", type_=JSONB))


async def write(uow: UnitOfWork, entity: str, outcomes: Sequence[Outcome]) -> None:
    """Write what became of the clocks, and tell of those that ended and of what was reached meanwhile."""
    if not outcomes:
        return
    rows, missed, told, ended = [], [], {}, []
    for outcome in outcomes:
        id_ = outcome.held.id if outcome.held is not None else uuid7()
        rows.append(_row(outcome, id_))
        for each in outcome.missed:
            event_id = uuid7()
            announce = each.announce and not uow.simulated
            missed.append(
                {
                    "id": str(event_id),
                    "clock_id": str(id_),
                    "generation": each.generation,
                    "threshold": each.threshold,
                    "at": each.at.isoformat(),
                    "announce": announce,
                }
            )
            told[event_id] = PassedThreshold(
                event_id=event_id,
                clock_id=id_,
                generation=each.generation,
                threshold=each.threshold,
                record_entity=entity,
                record_id=outcome.subject.record["id"],
                policy=outcome.policy.definition.code,
                policy_id=outcome.policy.policy_id,
            )
        if outcome.ended:
            ended.append(_ended(outcome, id_, entity))
    values = {"clocks": rows, "missed": missed, "entity": entity, "now": uow.now, "by": uow.actor.id}
    announced = (await uow.execute(_WRITE, values)).scalars().all()
    if announced:
        uow.emit(SlaThresholdsPassed(at=uow.now, passed=tuple(told[event_id] for event_id in announced)))
    if ended:
        uow.emit(ClockEnded(at=uow.now, clocks=tuple(ended)))
    uow.touch("entity:sla_clock", *{f"{entity}:{outcome.subject.record['id']}" for outcome in outcomes})


def _ended(outcome: Outcome, id_: UUID, entity: str) -> EndedClock:
    return EndedClock(
        clock_id=id_,
        policy_id=outcome.policy.policy_id,
        record_entity=entity,
        record_id=outcome.subject.record["id"],
        state=outcome.kept.clock.state.value,
        breached=outcome.kept.clock.breached_at is not None,
    )


def _row(outcome: Outcome, id_: UUID) -> dict[str, Any]:
    clock, kept, subject, policy = outcome.kept.clock, outcome.kept, outcome.subject, outcome.policy
    before = outcome.held.row if outcome.held is not None else None
    schedule = _schedule(outcome, before)
    following = outcome.schedule[0] if outcome.schedule else None
    times = dict(schedule)
    same = before is not None and before["generation"] == clock.generation
    return {
        "id": str(id_),
        "policy_id": str(policy.policy_id),
        "policy_version_id": str(policy.version_id),
        "record_id": str(subject.record["id"]),
        "label": subject.label,
        "node_id": _text(subject.node_id),
        "application_id": _text(subject.application_id),
        "measure": clock.measure.value,
        "calendar": policy.definition.calendar,
        "formula": kept.promise.formula,
        "base_date": kept.promise.base_date.isoformat() if kept.promise.base_date else None,
        "state": clock.state.value,
        "started_at": clock.started_at.isoformat(),
        "segment_started_at": _instant(clock.segment_started_at),
        "consumed": _seconds(clock.consumed),
        "target": _seconds(clock.target),
        "warn_at": _first_before_breach(times),
        "due_at": clock.due_at.isoformat(),
        "next_fire_at": following[1].isoformat() if following else None,
        "next_threshold": following[0] if following else _waiting(outcome, schedule),
        "schedule": [list(each) for each in schedule],
        "generation": clock.generation,
        "reset_held": kept.reset_held,
        "warned_at": _instant(before["warned_at"]) if same and before is not None else None,
        "breached_at": _instant(clock.breached_at),
        "stopped_at": _instant(clock.ended_at),
    }


def _schedule(outcome: Outcome, before: Mapping[str, Any] | None) -> list[tuple[str, str | None]]:
    """What has been announced at its time, then what follows; of a clock that stands, what stood there when it ran."""
    past: list[tuple[str, str | None]] = []
    if before is not None and before["generation"] == outcome.kept.clock.generation:
        past = [(code, at) for code, at in before["schedule"] or ()]
    reached = {each.threshold: each.at.isoformat() for each in outcome.missed}
    if outcome.schedule:
        waiting = {code for code, _ in outcome.schedule}
        done = [(code, at) for code, at in past if code not in waiting]
        done += [(code, at) for code, at in reached.items() if code not in waiting and code not in dict(done)]
        return [*done, *((code, at.isoformat()) for code, at in outcome.schedule)]
    known = dict(past)
    return [(code, known.get(code) or reached.get(code)) for code in _in_order(outcome)]


def _in_order(outcome: Outcome) -> list[str]:
    """Every threshold: those that were announced first, as `_fired` reads them back."""
    clock = outcome.kept.clock
    ordered = [each.code for each in sorted(outcome.policy.thresholds, key=lambda t: (t.point(clock.target), t.code))]
    fired = outcome.kept.fired
    return [*(code for code in ordered if code in fired), *(code for code in ordered if code not in fired)]


def _waiting(outcome: Outcome, schedule: Sequence[tuple[str, str | None]]) -> str | None:
    """Where a paused clock goes on from when it is resumed."""
    if outcome.kept.clock.state is not ClockStatus.PAUSED:
        return None
    return next((code for code, _ in schedule if code not in outcome.kept.fired), None)


def _first_before_breach(times: Mapping[str, str | None]) -> str | None:
    """When it begins to be urgent: at the warning, else at the first threshold before the breach."""
    if times.get(WARNING):
        return times[WARNING]
    breach = times.get(BREACH)
    return next((at for code, at in times.items() if code != BREACH and at and (not breach or at < breach)), None)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _instant(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _seconds(value: timedelta) -> str:
    return f"{value // timedelta(microseconds=1)} microseconds"
