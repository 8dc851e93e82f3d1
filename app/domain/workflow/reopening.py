"""Open finished work again: show what that means, let a second person confirm where it was signed, and do it.

A run that is finished has been signed: it is kept as a statement, readable as it was, before it is restated.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import insert, select, text, update

from app.core.audit import AuditEntry
from app.core.errors import (
    Conflict,
    FieldProblem,
    Forbidden,
    NotFound,
    StaleVersion,
    TransitionRefused,
    ValidationFailed,
)
from app.core.uow import UnitOfWork
from app.domain.workflow.acting import MAX_REASON, Acting
from app.domain.workflow.decisions import Refusal
from app.domain.workflow.doubts import mark
from app.domain.workflow.events import ReopeningRequested, RunStateChanged
from app.domain.workflow.process_row import ProcessRow, lock_process, read_process
from app.domain.workflow.reopening_queries import CONFIRM, REOPEN, refused_to_decide
from app.domain.workflow.reopening_sql import IMPACT, OTHER_RUNS, REMEMBER, STATEMENT
from app.domain.workflow.states import Name, ProcessState, RunState
from app.domain.workflow.transitions import engine_transition
from app.domain.workflow.ways import by_authority, require_principal, require_visible, ways_to_act
from models.base import uuid7

DOUBT_ACROSS = "workflow.doubt_across"
_FINISHED = (ProcessState.DONE, ProcessState.SKIPPED)


class Effect(StrEnum):
    STALE = "stale"  # it was finished: in doubt until what it builds on has ended again
    TOLD = "told"  # somebody works on it: it goes on, with a banner
    BLOCKED = "blocked"  # it had not begun: it waits
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Affected:
    """A process below. `run`: the reference of the other run that it belongs to."""

    id: UUID
    code: str
    label: str
    state: ProcessState
    effect: Effect
    run_id: UUID
    run: str | None


@dataclass(frozen=True, slots=True)
class Impact:
    """What opening it again means now. Whoever accepts it names its `digest`."""

    process_run_id: UUID
    affected: tuple[Affected, ...]
    restates: bool  # the run is finished: it is kept as it was signed, and restated
    second_person: bool  # somebody else has to confirm
    digest: str

    def count(self, effect: Effect) -> int:
        return sum(each.effect is effect for each in self.affected)


@dataclass(frozen=True, slots=True)
class Reopening:
    """A request, or what was done at once. `state`: requested, done or declined."""

    id: UUID
    state: str
    stale: tuple[UUID, ...] = ()
    blocked: tuple[UUID, ...] = ()


async def impact_of(uow: UnitOfWork, *, process_run_id: UUID) -> Impact:
    """What lies below the process and would be in doubt. Raises NotFound, and TransitionRefused when it is not done."""
    row = await read_process(uow, process_run_id)
    require_visible(uow, row)
    _require_finished(row)
    return await _impact(uow, row)


async def reopen(
    uow: UnitOfWork, *, process_run_id: UUID, expected_version: int, reason: str, impact_digest: str
) -> Reopening:
    """Open it again, or where it was approved or its run is finished, ask for that.

    Raises:
        Forbidden, NotFound: it is not for the actor. TransitionRefused: it is not finished.
        ValidationFailed: no reason. StaleVersion: the process, or what lies below it, has changed since it was shown.
        Conflict: somebody has asked for it already.
    """
    await require_principal(uow, REOPEN)
    row = await lock_process(uow, process_run_id)
    require_visible(uow, row)
    acting = _acting(uow, row, REOPEN)
    _require_finished(row)
    if row.row_version != expected_version:
        raise StaleVersion(f"“{row.label}” has changed since you read it; look at it again.")
    reason = _reason(reason)
    impact = await _impact(uow, row)
    if impact.digest != impact_digest:
        raise StaleVersion("What this would put in doubt has changed since it was shown; look at it again.")
    id_ = uuid7()
    values = {
        "id": id_,
        "process_run_id": row.id,
        "state": "requested" if impact.second_person else "done",
        "reason": reason,
        "requested_by_id": None if uow.actor.is_system else uow.actor.id,
        "requested_for_id": acting.actor.on_behalf_of,
        "requested_at": uow.now,
        "impact_digest": impact.digest,
        "impact": [{"code": a.code, "label": a.label, "run": a.run, "effect": a.effect} for a in impact.affected],
        **_stamp(uow),
    }
    with by_authority(uow, acting):
        await uow.execute(insert(uow.table("process_reopening")).values(values))
        command = "request_reopening" if impact.second_person else "reopen"
        _audit(uow, command, row, reason, impact=impact, acting=acting)
        uow.touch(f"run:{row.run_id}", f"process_run:{row.id}")
        if impact.second_person:
            uow.emit(
                ReopeningRequested(
                    at=uow.now,
                    run_id=row.run_id,
                    process_run_id=row.id,
                    reopening_id=id_,
                    application=row.application,
                    reason=reason,
                )
            )
            return Reopening(id_, "requested")
        return await _do(uow, row, id_, reason, impact=impact, who=uow.actor.name)


async def confirm_reopening(uow: UnitOfWork, *, reopening_id: UUID) -> Reopening:
    """The second person: open it again as was asked for.

    Raises:
        Forbidden: the actor asked for it, acts for who did, or has no such right there.
        StaleVersion: what it would put in doubt has changed since it was asked for.
        Conflict: it is decided already.
    """
    request, row, acting = await _decidable(uow, reopening_id)
    impact = await _impact(uow, row)
    if impact.digest != request["impact_digest"]:
        raise StaleVersion("What this puts in doubt has changed since it was asked for; decline it and ask anew.")
    with by_authority(uow, acting):
        await _decide(uow, reopening_id, "done", None)
        _audit(uow, "reopen", row, request["reason"], impact=impact, acting=acting)
        asked_by = await uow.scalar(
            text("SELECT name FROM app_user WHERE id = :id"), {"id": request["requested_by_id"]}
        )
        who = f"{asked_by or 'STEPS'}, confirmed by {uow.actor.name}"
        return await _do(uow, row, reopening_id, request["reason"], impact=impact, who=who)


async def decline_reopening(uow: UnitOfWork, *, reopening_id: UUID, reason: str) -> Reopening:
    """The second person: leave it as it is."""
    _, row, acting = await _decidable(uow, reopening_id)
    reason = _reason(reason)
    with by_authority(uow, acting):
        await _decide(uow, reopening_id, "declined", reason)
        _audit(uow, "decline_reopening", row, reason, impact=None, acting=acting)
        uow.touch(f"run:{row.run_id}", f"process_run:{row.id}")
    return Reopening(reopening_id, "declined")


async def doubt_in(uow: UnitOfWork, *, run_id: UUID, roots: list[UUID], why: str) -> None:
    """What is built on work of another run that was opened again; a finished run is kept as it was signed first."""
    state = await uow.scalar(text("SELECT state FROM workflow_run WHERE id = :id FOR NO KEY UPDATE"), {"id": run_id})
    if state not in (RunState.ACTIVE, RunState.ON_HOLD, RunState.DONE):
        return
    table = uow.table("process_edge")
    waits = select(table.c.id).where(
        table.c.run_id == run_id, table.c.predecessor_id.in_(roots), table.c.satisfied_at.is_not(None)
    )
    if (await uow.execute(waits.limit(1))).first() is None:
        return  # it came twice
    if state == RunState.DONE:
        await _keep_statement(uow, run_id, why)
        uow.emit(RunStateChanged(at=uow.now, run_id=run_id, from_state="done", to_state="active", name="reopen"))
    await mark(uow, run_id=run_id, roots=roots, why=why, opened=0)


# -- doing it ----------------------------------------------------------------------------------------------------------


async def _do(
    uow: UnitOfWork, row: ProcessRow, reopening_id: UUID, reason: str, *, impact: Impact, who: str
) -> Reopening:
    why = f"“{row.label}” was opened again: {reason}"
    if row.run_state is RunState.DONE:
        number = await _keep_statement(uow, row.run_id, why)
        table = uow.table("process_reopening")
        await uow.execute(update(table).where(table.c.id == reopening_id).values(statement_number=number))
        uow.emit(RunStateChanged(at=uow.now, run_id=row.run_id, from_state="done", to_state="active", name="reopen"))
    await uow.execute(REMEMBER, {"id": row.id})
    marked = await mark(uow, run_id=row.run_id, roots=[row.id], why=why, opened=1)
    again = await lock_process(uow, row.id)
    await engine_transition(uow, again, Name.REOPEN, reason=f"{who}: {reason}")
    others = {each.run_id for each in impact.affected if each.run is not None}
    for run_id in sorted(others):
        uow.enqueue(DOUBT_ACROSS, {"run_id": run_id, "roots": [row.id, *marked.stale], "why": why})
    return Reopening(reopening_id, "done", marked.stale, marked.blocked)


async def _keep_statement(uow: UnitOfWork, run_id: UUID, why: str) -> int:
    """Keep the run as it stands, before anything changes in it; returns the statement's number."""
    row = (await uow.execute(STATEMENT, {"run_id": run_id})).one()
    content = orjson.loads(row.content)
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    values = {
        "id": uuid7(),
        "run_id": run_id,
        "number": row.number,
        "signed_at": row.finished_at or uow.now,
        "digest": digest,
        "content": content,
        "superseded_at": uow.now,
        "superseded_reason": why[:2_000],
        **_stamp(uow),
    }
    await uow.execute(insert(uow.table("run_statement")).values(values))
    number: int = row.number
    return number


async def _impact(uow: UnitOfWork, row: ProcessRow) -> Impact:
    values = {"run_id": row.run_id, "roots": [row.id]}
    found = [_affected(each, row.run_id, None) for each in await uow.execute(IMPACT, values)]
    found += [_affected(each, each.run_id, each.reference) for each in await uow.execute(OTHER_RUNS, values)]
    seen = [[str(each.id), each.state.value] for each in found]
    restates = row.run_state is RunState.DONE
    return Impact(
        process_run_id=row.id,
        affected=tuple(found),
        restates=restates,
        second_person=restates or row.levels > 0 or row.kind.decided,
        digest=hashlib.sha256(orjson.dumps([seen, restates])).hexdigest(),
    )


def _affected(found: Any, run_id: UUID, run: str | None) -> Affected:
    state = ProcessState(found.state)
    return Affected(found.id, found.code, found.label, state, _effect(state, begun=found.begun), run_id, run)


def _effect(state: ProcessState, *, begun: bool) -> Effect:
    if state in (*_FINISHED, ProcessState.STALE):
        return Effect.STALE
    if state is ProcessState.CANCELLED:
        return Effect.NONE
    return Effect.TOLD if begun else Effect.BLOCKED


# -- who ---------------------------------------------------------------------------------------------------------------


def _acting(uow: UnitOfWork, row: ProcessRow, action: str) -> Acting:
    """The first way in which the actor reaches the process for it. Raises Forbidden."""
    for way in ways_to_act(uow, row, action):
        if uow.actor.is_system or way.acting.grant_for(row) is not None:
            return way.acting
    detail = f"“{row.label}” is outside the part of {row.application} that your grants reach for this."
    raise Forbidden(detail, context={"guard": "lead_scope", "satisfy": "Somebody whose grant covers it does it."})


def _deciding(uow: UnitOfWork, row: ProcessRow, *, asked: Collection[UUID], since: datetime) -> Acting:
    """The first way in which the actor may confirm or decline what these have asked for. Raises for the first refusal.

    Raises: Forbidden, TransitionRefused.
    """
    refusals: list[Refusal] = []
    for way in ways_to_act(uow, row, CONFIRM):
        refused = refused_to_decide(row, way.acting, asked=asked, since=since)
        if refused is None:
            return way.acting
        refusals.append(refused)
    if not refusals:
        raise Forbidden("Your roles do not confirm or decline that work is opened again.")
    first = refusals[0]
    if first.forbidden:
        raise Forbidden(first.detail, context={"guard": first.guard, "satisfy": first.satisfy})
    raise TransitionRefused(first.detail, guard=first.guard, satisfy=first.satisfy)


async def _decidable(uow: UnitOfWork, reopening_id: UUID) -> tuple[Any, ProcessRow, Acting]:
    """The open request, its process (locked), and the way in which the actor may decide it."""
    await require_principal(uow, CONFIRM)
    table = uow.table("process_reopening")
    process_run_id = await uow.scalar(select(table.c.process_run_id).where(table.c.id == reopening_id))
    if process_run_id is None:
        raise NotFound("There is no such request.")
    row = await lock_process(uow, process_run_id)
    require_visible(uow, row)
    found = (await uow.execute(select(table).where(table.c.id == reopening_id).with_for_update())).mappings().one()
    if found["state"] != "requested":
        raise Conflict(f"The request is {found['state']} already.")
    asked = {found["requested_by_id"], found["requested_for_id"]} - {None}
    acting = _deciding(uow, row, asked=asked, since=found["requested_at"])
    _require_finished(row)
    return found, row, acting


async def _decide(uow: UnitOfWork, reopening_id: UUID, state: str, reason: str | None) -> None:
    table = uow.table("process_reopening")
    by = None if uow.actor.is_system else uow.actor.id
    values = {"state": state, "decided_by_id": by, "decided_at": uow.now, "decision_reason": reason}
    await uow.execute(update(table).where(table.c.id == reopening_id).values(values))


def _require_finished(row: ProcessRow) -> None:
    if row.state in _FINISHED and row.run_state in (RunState.ACTIVE, RunState.DONE):
        return
    where = f"its run is {row.run_state.value}" if row.state in _FINISHED else f"it is {row.state.label}"
    detail = f"“{row.label}” cannot be opened again: {where}. Only what is done or skipped can."
    raise TransitionRefused(detail, guard="state", satisfy="Finish it first.", context={"state": row.state.value})


def _reason(reason: str) -> str:
    reason = (reason or "").strip()
    if not reason:
        raise ValidationFailed([FieldProblem("reason", "Say why.", "required")])
    if len(reason) > MAX_REASON:
        raise ValidationFailed([FieldProblem("reason", f"At most {MAX_REASON} characters.", "too_long")])
    return reason


def _stamp(uow: UnitOfWork) -> dict[str, Any]:
    by = uow.actor.id
    return {"created_at": uow.now, "created_by": by, "updated_at": uow.now, "updated_by": by}


def _audit(
    uow: UnitOfWork, command: str, row: ProcessRow, reason: str, *, impact: Impact | None, acting: Acting
) -> None:
    context: dict[str, Any] = {"run": row.run_reference, "process": row.code, "round": row.round}
    if impact is not None:
        context |= {"stale": impact.count(Effect.STALE), "told": impact.count(Effect.TOLD),
                    "blocked": impact.count(Effect.BLOCKED), "restates": impact.restates}  # fmt: skip
    grant = acting.grant_for(row)
    uow.audit(
        AuditEntry(
            command=command,
            entity="process_run",
            record_id=row.id,
            reason=reason,
            context=context,
            grant_id=grant.id if grant else None,
        )
    )
