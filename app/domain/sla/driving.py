"""Clocks of records of any entity: every change of a record is shown to the policies of its entity.

The changes of a transaction are looked at together, in their order, before it commits: one statement reads the records
with their clocks, and where anything comes of it one writes. An entity without policies costs a look into memory. Each
clock follows the version of its policy that started it; conditions are parsed once for each version.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from app.core.errors import StepsError
from app.core.events import Event, RecordCreated, RecordDeleted, RecordUpdated
from app.core.filters import Variables
from app.core.filters.python import Resolve
from app.core.uow import UnitOfWork
from app.domain.calendars.calendar_index import Period
from app.domain.calendars.calendars import Calendar
from app.domain.calendars.store import calendar_in_force
from app.domain.entities.queries import variables
from app.domain.lifecycles.asking import follow, node_paths
from app.domain.lifecycles.events import RecordTransitioned
from app.domain.sla import keeping
from app.domain.sla.clock_math import ClockStatus, Measure
from app.domain.sla.compiled import SERVICE, CompiledPolicy, SlaPolicies, policies_of
from app.domain.sla.deciding import Kept, Look, Measuring, Missed, Promise, decide, schedule_of, starts
from app.domain.sla.keeping import Subject
from app.domain.sla.promises import ALWAYS, promise_of
from app.domain.sla.store import version_of
from app.domain.workflow.events import (
    ProcessAdded,
    ProcessesReleased,
    ProcessStateChanged,
    RunFinished,
    RunStateChanged,
)
from models.sla import TargetDef

log = logging.getLogger("steps.sla")

PROCESS_RUN, WORKFLOW_RUN = "process_run", "workflow_run"
OPEN = (ClockStatus.RUNNING, ClockStatus.PAUSED)


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to a record. `at` None: it was created. `state`: the one that it got, where it took a step."""

    entity: str
    record_id: UUID
    at: datetime | None
    state: str | None = None
    from_state: str | None = None


@dataclass(slots=True)
class _Around:
    """What a decision looks at beside the record; calendars are read once one is needed."""

    known: Variables
    resolve: Resolve
    calendars: dict[str, Calendar] = field(default_factory=dict)


class _CalendarNeeded(Exception):
    """A clock starts or changes that counts by this calendar."""


def changes_in(event: Event) -> list[Change]:
    """The changes of records that an event tells of."""
    match event:
        case RecordTransitioned():
            return [Change(event.entity, event.record_id, event.at, event.to_state, event.from_state)]
        case RecordCreated():
            return [Change(event.entity, event.record_id, None)]
        case RecordUpdated() | RecordDeleted():
            return [Change(event.entity, event.record_id, event.at)]
        case ProcessStateChanged():
            return [Change(PROCESS_RUN, event.process_run_id, event.at, event.to_state, event.from_state)]
        case ProcessesReleased():
            return [Change(PROCESS_RUN, id_, event.at) for id_ in event.process_run_ids]
        case ProcessAdded():
            return [Change(PROCESS_RUN, event.process_run_id, event.at)]
        case RunStateChanged() | RunFinished():
            return [Change(WORKFLOW_RUN, event.run_id, event.at)]
        case _:
            return []


async def on_changes(uow: UnitOfWork, events: Sequence[Event]) -> None:
    """Show what has changed to the policies of its entity."""
    policies: SlaPolicies | None = uow.resources.services.get(SERVICE)
    if policies is None or not policies.watched:
        return
    watched = policies.watched
    by_entity: dict[str, list[Change]] = defaultdict(list)
    for event in events:
        for change in changes_in(event):
            if change.entity in watched:
                by_entity[change.entity].append(change)
    for entity, changes in by_entity.items():
        await drive(uow, entity, changes)


async def drive(uow: UnitOfWork, entity: str, changes: Sequence[Change]) -> int:
    """Let the clocks of these records follow their changes; return how many clocks started, changed or ended."""
    in_force = policies_of(uow.resources.services).in_force.get(entity, ())
    subjects = await keeping.read_subjects(uow, entity, [change.record_id for change in changes], in_force)
    versions = {version.version_id: version for version in in_force}
    for held in (held for subject in subjects.values() for held in subject.clocks.values()):
        if held.version_id not in versions:
            versions[held.version_id] = await version_of(uow, held.version_id)
    around = await _around(uow, list(versions.values()), [subject.record for subject in subjects.values()])
    ordered: dict[UUID, list[Change]] = defaultdict(list)
    for change in changes:
        ordered[change.record_id].append(change)
    outcomes: list[keeping.Outcome] = []
    for id_, subject in subjects.items():
        for policy in _policies(subject, in_force, versions):
            outcome = await _with_calendars(uow, policy, subject, ordered[id_], around)
            if outcome is not None:
                outcomes.append(outcome)
    await keeping.write(uow, entity, outcomes)
    return len(outcomes)


async def follow_changes(uow: UnitOfWork, policy: CompiledPolicy, changes: Sequence[Change]) -> list[keeping.Outcome]:
    """What the changes would come to under a policy that is not in force, on records without its clocks; not kept."""
    subjects = await keeping.read_subjects(uow, policy.entity, [change.record_id for change in changes], [policy])
    around = await _around(uow, [policy], [subject.record for subject in subjects.values()])
    ordered: dict[UUID, list[Change]] = defaultdict(list)
    for change in changes:
        ordered[change.record_id].append(change)
    found = [
        await _with_calendars(uow, policy, subject, ordered[id_], around)
        for id_, subject in subjects.items()
        if not subject.gone
    ]
    return [outcome for outcome in found if outcome is not None]


def _policies(
    subject: Subject, in_force: Iterable[CompiledPolicy], versions: Mapping[UUID, CompiledPolicy]
) -> list[CompiledPolicy]:
    """The versions to ask about a record: of an open clock its own, else the one in force."""
    asked = {policy.policy_id: policy for policy in in_force}
    for policy_id, held in subject.clocks.items():
        if held.kept.clock.state in OPEN:
            asked[policy_id] = versions[held.version_id]
    return list(asked.values())


async def _with_calendars(
    uow: UnitOfWork, policy: CompiledPolicy, subject: Subject, changes: Sequence[Change], around: _Around
) -> keeping.Outcome | None:
    """Decide; where that takes a calendar that has not been read, read it and decide again."""
    try:
        return _decide(policy, subject, changes, around)
    except _CalendarNeeded:
        code = policy.definition.calendar or ""
        around.calendars[code] = await calendar_in_force(uow, code)
        return _decide(policy, subject, changes, around)


def _decide(
    policy: CompiledPolicy, subject: Subject, changes: Sequence[Change], around: _Around
) -> keeping.Outcome | None:
    """Put the changes of one record, in their order, to one policy."""
    held = subject.clocks.get(policy.policy_id)
    before = kept = held.kept if held is not None else None
    by = _measuring(policy, around)
    missed: list[Missed] = []
    ended, changed = False, False
    for number, change in enumerate(changes):
        record = _as_it_was(subject, changes, number)
        look = _look(policy, record, change, kept, subject=subject, around=around)
        if kept is None and not starts(look):
            continue
        decided = decide(kept, look, by)
        kept, changed = decided.kept, changed or decided.changed
        missed += decided.missed
        ended = decided.ended or (ended and kept is not None and kept.clock.state not in OPEN)
    if kept is None or not changed or kept == before:
        return None
    return keeping.Outcome(subject, policy, held, kept, tuple(missed), ended=ended, schedule=schedule_of(kept, by))


def _as_it_was(subject: Subject, changes: Sequence[Change], number: int) -> Mapping[str, Any]:
    """The record at a change: in the state it got, or in which the next step found it; the rest is as it is now."""
    state = changes[number].state
    if state is None:
        state = next((later.from_state for later in changes[number + 1 :] if later.state is not None), None)
    if state is None or subject.state_field is None:
        return subject.record
    return {**subject.record, subject.state_field: state}


def _look(
    policy: CompiledPolicy,
    record: Mapping[str, Any],
    change: Change,
    kept: Kept | None,
    *,
    subject: Subject,
    around: _Around,
) -> Look:
    at = change.at or record["created_at"]
    if subject.gone:
        return Look(at, applies=False)
    known = replace(around.known, now=at, today=at.date(), business_date=at.date())
    given = policy.conditions

    def holds(name: str) -> bool:
        return policy.holds(name, record, known, around.resolve)

    # Only what counts in the clock's state is asked: a log of years is looked at step by step.
    state = kept.clock.state if kept is not None else ClockStatus.CANCELLED
    if state is ClockStatus.STOPPED and not holds("reset"):
        return Look(at)
    applies = holds("applies_when") if "applies_when" in given else True
    start = state is not ClockStatus.CANCELLED or (applies and (holds("start") if "start" in given else True))
    if not (applies and start):
        return Look(at, applies=applies)
    look = Look(at, start=True, stop=holds("stop"), cancel=holds("cancel"), reset=holds("reset"))
    if look.stop or look.cancel:
        return look
    look = replace(look, pause=holds("pause"), resume=holds("resume") if "resume" in given else None)
    definition = policy.definition
    begins = kept is None or kept.clock.state is ClockStatus.CANCELLED
    if begins and not starts(replace(look, promise=Promise())):
        return look
    target = policy.target_of(record, known, around.resolve) if begins or definition.measure == "duration" else None
    if target is None:
        return look
    since = record.get(definition.start_from) if definition.start_from else None
    return replace(
        look,
        promise=_promise(policy, target, record, at=at, around=around),
        since=since if isinstance(since, datetime) else None,
    )


def _promise(
    policy: CompiledPolicy, target: TargetDef, record: Mapping[str, Any], *, at: datetime, around: _Around
) -> Promise | None:
    """None, and a line in the log, where this record's deadline cannot be worked out: its change must not fail."""
    calendar = ALWAYS if target.within is not None else _calendar(policy, around)
    try:
        return promise_of(policy.definition, target, record, calendar=calendar, business_date=at.date())
    except StepsError as error:
        log.warning("sla_deadline_unknown", extra={"policy": policy.definition.code, "why": error.detail})
        return None


def _measuring(policy: CompiledPolicy, around: _Around) -> Measuring:
    code = policy.definition.calendar
    calendar: Calendar = ALWAYS if code is None else around.calendars.get(code) or _Unread(code)
    return Measuring(Measure(policy.definition.measure), policy.thresholds, calendar)


class _Unread(Calendar):
    """Stands for a calendar until something is counted by it: most changes count nothing."""

    def __init__(self, code: str) -> None:
        self.code = code

    def is_working_day(self, day: date) -> bool:
        raise _CalendarNeeded(self.code)

    def open_periods(self, first_year: int, last_year: int) -> list[Period]:
        raise _CalendarNeeded(self.code)

    def working_time_between(self, start: datetime, end: datetime) -> timedelta:
        raise _CalendarNeeded(self.code)

    def add_working_time(self, instant: datetime, amount: timedelta) -> datetime:
        raise _CalendarNeeded(self.code)


def _calendar(policy: CompiledPolicy, around: _Around) -> Calendar:
    code = policy.definition.calendar
    if code is None:
        return ALWAYS
    if code not in around.calendars:
        raise _CalendarNeeded(code)
    return around.calendars[code]


async def _around(uow: UnitOfWork, policies: Sequence[CompiledPolicy], records: list[dict[str, Any]]) -> _Around:
    """The records and nodes that conditions look through references at; a statement for each such reference."""
    read = [term for policy in policies for term in policy.terms]
    others: dict[tuple[str, UUID], dict[str, Any]] = {}
    for term in read:
        if term.path.hops:
            await follow(uow, term, records, others)
    paths = await node_paths(uow, read, [*records, *others.values()])
    known = variables(uow)
    if paths is not None:
        known = replace(known, node_paths=paths)
    return _Around(known, lambda entity, id_: others.get((entity, id_)))
