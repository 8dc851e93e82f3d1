"""Put an event log through the real steps of a lifecycle, under the log's clock.

Events go in the order of their times, those of a case in the order of the log. An event that the lifecycle does not
allow is refused and counted, its case stays where it is, and later events are tried as they come. A portion of events
is one transaction together with how far the replay has come, so one that was broken off goes on exactly there, and one
that is finished changes nothing any more.
"""

import asyncio
import hashlib
import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid5

import orjson
from sqlalchemy import insert, select, update

from app.core.actor import Actor, system_actor
from app.core.errors import Conflict, FieldProblem, InvalidRequest, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.entities.service import create_records
from app.domain.entities.writing import Origin
from app.domain.lifecycles.transitions import StepCommand, StepOutcome, transition_records
from app.domain.mining.mapping import values_of
from app.domain.mining.xes_reading import LogCase, LogEvent, read_cases
from models.base import uuid7
from models.registry import Registry
from models.schema import EntityDef

PORTION = 1_000
Progress = Callable[[str, int, int], None]


class Platform(Protocol):
    """What gives units of work; `app.bootstrap.Runtime` is one."""

    @property
    def registry(self) -> Registry: ...
    def uow(self, actor: Actor, *, now: datetime | None = None) -> UnitOfWork: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in the order of the replay."""

    position: int
    case: int
    first: bool  # of its case: the record begins here
    event: LogEvent


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Counts of the whole log, however many goes it took. `refused_by`: `<state> -> <activity>` -> how often."""

    cases: int
    events: int
    applied: int
    refused: int
    refused_by: Mapping[str, int]
    per_second: int

    def plain(self) -> dict[str, Any]:
        return {
            "cases": self.cases,
            "events": self.events,
            "applied": self.applied,
            "refused": self.refused,
            "refused_by": dict(self.refused_by),
            "per_second": self.per_second,
        }


async def replay(platform: Platform, *, log: Path, entity: str, progress: Progress | None = None) -> ReplayResult:
    """Replay a log on records of an entity that has a lifecycle; returns at once where that has been done before.

    Raises:
        InvalidRequest: the log cannot be read, or the entity has no lifecycle.
        ValidationFailed: a case does not make a record.
        Conflict: another process replays the same log at this moment.
    """
    definition = platform.registry.entity(entity)
    if not definition.lifecycle:
        raise InvalidRequest(f"{definition.label} has no lifecycle, so there is nothing to replay a log on.")
    began = time.perf_counter()
    digest = hashlib.sha256(await asyncio.to_thread(log.read_bytes)).hexdigest()
    cases = await asyncio.to_thread(lambda: list(read_cases(log)))
    order = list(in_order(cases))
    async with platform.uow(system_actor("Replay")) as uow:
        state = await _open(uow, (log.name, digest), definition, cases=len(cases), events=len(order))
    replaying = _Replay(platform, definition, cases, state, began=began)
    for start in range(state["position"], len(order), PORTION):
        await replaying.put_through(order[start : start + PORTION], last=start + PORTION >= len(order))
        if progress is not None:
            progress("Events", min(start + PORTION, len(order)), len(order))
    return _result(replaying.state)


def in_order(cases: Sequence[LogCase]) -> Iterator[Entry]:
    """Every event by its time; those of a case never change their order, whatever their times say."""

    def stream(number: int) -> Iterator[tuple[datetime, int, int, LogEvent]]:
        latest: datetime | None = None
        for index, event in enumerate(cases[number].events):
            latest = event.at if latest is None else max(latest, event.at)
            yield latest, number, index, event

    merged = heapq.merge(*(stream(number) for number in range(len(cases))), key=lambda item: item[:3])
    for position, (_, number, index, event) in enumerate(merged):
        yield Entry(position, number, index == 0, event)


class _Replay:
    """One replay on its way. `state`: its row, as of the last portion that was written."""

    def __init__(
        self,
        platform: Platform,
        entity: EntityDef,
        cases: Sequence[LogCase],
        state: dict[str, Any],
        *,
        began: float,
    ) -> None:
        self.platform, self.entity, self.cases, self.state = platform, entity, cases, state
        self.counted_until = began  # time before it is in `seconds`; that of a commit counts with the next portion
        self.id: UUID = state["id"]

    def record_id(self, case: int) -> UUID:
        """The record of a case: the same each time, so that it is found again after a break."""
        return uuid5(self.id, str(case))

    async def put_through(self, entries: Sequence[Entry], *, last: bool) -> None:
        """Write one portion: new cases, steps, refusals and how far it has come, together."""
        async with self.platform.uow(system_actor("Replay"), now=entries[-1].event.at) as uow:
            await self._require_alone(uow)
            await self._begin_cases(uow, entries)
            commands = [self._command(entry) for entry in entries]
            outcomes = await transition_records(uow, entity=self.entity.name, commands=commands)
            refused = [(e, o) for e, o in zip(entries, outcomes, strict=True) if o.refusal is not None]
            await self._keep_refusals(uow, refused)
            until = time.perf_counter()
            state = self._after(entries, refused, seconds=until - self.counted_until, last=last)
            await self._write(uow, state)
        self.state, self.counted_until = state, until

    async def _begin_cases(self, uow: UnitOfWork, entries: Sequence[Entry]) -> None:
        new = [entry for entry in entries if entry.first]
        if not new:
            return
        given = [values_of(self.entity, self.cases[e.case].attributes, self.cases[e.case].name) for e in new]
        origins = [Origin(self.record_id(entry.case), entry.event.at) for entry in new]
        try:
            await create_records(uow, self.entity.name, given, origins=origins)
        except ValidationFailed as error:
            raise ValidationFailed(
                [
                    FieldProblem(f"case {self.cases[new[int(number)].case].name}, {name}", problem.message)
                    for problem in error.problems[:20]
                    for number, _, name in [problem.path.partition(".")]
                ]
            ) from error

    def _command(self, entry: Entry) -> StepCommand:
        return StepCommand(
            self.record_id(entry.case),
            activity=entry.event.activity,
            at=entry.event.at,
            source=str(self.id),
            source_index=entry.position,
            performer=entry.event.resource,
        )

    async def _keep_refusals(self, uow: UnitOfWork, refused: Sequence[tuple[Entry, StepOutcome]]) -> None:
        if not refused:
            return
        rows = [
            {
                "id": uuid7(),
                "replay_id": self.id,
                "position": entry.position,
                "case_title": self.cases[entry.case].name,
                "at": entry.event.at,
                "state": outcome.from_state,
                "activity": entry.event.activity,
                "reason": outcome.refusal.detail if outcome.refusal is not None else None,
                **_stamp(uow),
            }
            for entry, outcome in refused
        ]
        await uow.execute(insert(uow.table("log_replay_refusal")), rows)

    def _after(
        self, entries: Sequence[Entry], refused: Sequence[tuple[Entry, StepOutcome]], *, seconds: float, last: bool
    ) -> dict[str, Any]:
        counts = Counter(self.state["refused_by"] or {})
        counts.update(f"{outcome.from_state} -> {entry.event.activity}" for entry, outcome in refused)
        return {
            **self.state,
            "position": entries[-1].position + 1,
            "applied": self.state["applied"] + len(entries) - len(refused),
            "refused": self.state["refused"] + len(refused),
            "refused_by": dict(sorted(counts.items())),
            "seconds": self.state["seconds"] + Decimal(f"{seconds:.3f}"),
            "state": "finished" if last else "running",
        }

    async def _require_alone(self, uow: UnitOfWork) -> None:
        """Two replays of one log do not mix: the second finds that somebody else has come further."""
        table = uow.table("log_replay")
        position = await uow.scalar(select(table.c.position).where(table.c.id == self.id).with_for_update())
        if position != self.state["position"]:
            raise Conflict("Another process replays this log at this moment; let it finish.")

    async def _write(self, uow: UnitOfWork, state: Mapping[str, Any]) -> None:
        table = uow.table("log_replay")
        changed = {name: state[name] for name in ("position", "applied", "refused", "refused_by", "seconds", "state")}
        if state["state"] == "finished":
            changed["finished_at"] = uow.resources.clock.now()
        await uow.execute(update(table).where(table.c.id == self.id).values(**changed))


async def _open(uow: UnitOfWork, log: tuple[str, str], entity: EntityDef, *, cases: int, events: int) -> dict[str, Any]:
    """The row of the replay of a log, given by name and digest: the one there is, or a new one."""
    table = uow.table("log_replay")
    key = {
        "file_digest": log[1],
        "entity": entity.name,
        "definition_digest": hashlib.sha256(
            orjson.dumps(entity.model_dump(mode="json", exclude_defaults=True), option=orjson.OPT_SORT_KEYS)
        ).hexdigest(),
    }
    same = [table.c[name] == value for name, value in key.items()]
    found = (await uow.execute(select(table).where(*same))).mappings().one_or_none()
    if found is not None:
        return dict(found)
    row = {
        "id": uuid7(),
        "file": log[0],
        **key,
        "state": "running" if events else "finished",
        "cases": cases,
        "events": events,
        "position": 0,
        "applied": 0,
        "refused": 0,
        "refused_by": {},
        "seconds": Decimal(0),
        "started_at": uow.now,
        **_stamp(uow),
    }
    await uow.execute(insert(table).values(row))
    return row


def _stamp(uow: UnitOfWork) -> dict[str, Any]:
    by = uow.actor.id
    return {"created_at": uow.now, "created_by": by, "updated_at": uow.now, "updated_by": by}


def _result(state: Mapping[str, Any]) -> ReplayResult:
    seconds = float(state["seconds"])
    return ReplayResult(
        cases=state["cases"],
        events=state["events"],
        applied=state["applied"],
        refused=state["refused"],
        refused_by=state["refused_by"] or {},
        per_second=round(state["position"] / seconds) if seconds else 0,
    )
