"""What is asked for and what was signed: open requests to open work again, and the statements of a run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.scope import require_in_scope
from app.domain.workflow.acting import Acting
from app.domain.workflow.decisions import Refusal
from app.domain.workflow.process_row import ProcessRow, read_process
from app.domain.workflow.states import ProcessKind, ProcessState, RunState
from app.domain.workflow.ways import ways_to_act

REOPEN, CONFIRM = "transition:reopen", "transition:confirm_reopening"
MOST_REQUESTS = 100

READ_REQUEST = text(
    """
SELECT q.id, q.reason, q.requested_at, q.requested_by_id, u.name AS requested_by, q.requested_for_id,
       f.name AS requested_for, q.impact::text AS impact
FROM process_reopening q
LEFT JOIN app_user u ON u.id = q.requested_by_id
LEFT JOIN app_user f ON f.id = q.requested_for_id
WHERE q.process_run_id = :id AND q.state = 'requested'
"""
)
READ_OPEN = text(
    """
SELECT q.id, q.process_run_id, q.reason, q.requested_at, u.name AS requested_by, p.label, p.kind, p.state, p.run_id,
       r.reference, r.label AS run_label, r.business_date, n.label AS node_label
FROM process_reopening q
JOIN process_run p ON p.id = q.process_run_id
JOIN workflow_run r ON r.id = p.run_id
LEFT JOIN hierarchy_node n ON n.id = p.node_id
LEFT JOIN app_user u ON u.id = q.requested_by_id
WHERE q.state = 'requested' ORDER BY q.requested_at, q.id LIMIT :most
"""
)
READ_STATEMENTS = text(
    """
SELECT number, signed_at, digest, superseded_at, superseded_reason FROM run_statement
WHERE run_id = :run_id ORDER BY number DESC
"""
)
READ_STATEMENT = text(
    """
SELECT number, signed_at, digest, superseded_at, superseded_reason, content::text AS content FROM run_statement
WHERE run_id = :run_id AND number = :number
"""
)


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request to open a process again that nobody has decided yet. `refused`: why the actor may not; None: they may.

    `impact`: what was shown to who asked, each with code, label, run and effect.
    """

    id: UUID
    reason: str
    requested_at: datetime
    requested_by_id: UUID | None
    requested_by: str | None
    requested_for: str | None
    impact: tuple[Mapping[str, Any], ...]
    refused: Refusal | None


@dataclass(frozen=True, slots=True)
class RequestToConfirm:
    """One that the actor may confirm or decline, with the process it is about."""

    id: UUID
    process_run_id: UUID
    label: str
    kind: ProcessKind
    state: ProcessState
    run_id: UUID
    reference: str
    run_label: str
    business_date: date
    node_label: str | None
    reason: str
    requested_by: str | None
    requested_at: datetime


@dataclass(frozen=True, slots=True)
class StatementHead:
    """A run as it was signed; superseded when its restatement began. `digest`: SHA-256 of the content."""

    number: int
    signed_at: datetime
    digest: str
    superseded_at: datetime | None
    superseded_reason: str | None


@dataclass(frozen=True, slots=True)
class Statement:
    head: StatementHead
    content: Mapping[str, Any]


def refused_to_decide(row: ProcessRow, acting: Acting, *, asked: Collection[UUID], since: datetime) -> Refusal | None:
    """Why who acts may not confirm or decline what these people have asked for; None: they may. Pure."""
    if not acting.actor.is_system and acting.grant_for(row) is None:
        detail = f"“{row.label}” is outside the part of {row.application} that your grants reach for this."
        return Refusal("lead_scope", detail, "Somebody whose grant covers it does it.", forbidden=True)
    if set(asked) & set(acting.ids):
        detail = f"You asked to open “{row.label}” again. Rule: a second person confirms."
        return Refusal("second_person", detail, "Somebody who had no part in asking confirms.")
    if acting.standing_for(asked, row, since) is not None:
        detail = f"You stand in for who asked to open “{row.label}” again. Rule: a second person confirms."
        return Refusal("second_person", detail, "Somebody who stands in for neither confirms.")
    return None


async def open_request(uow: UnitOfWork, row: ProcessRow) -> OpenRequest | None:
    """The open request about a process that the actor has been shown to see, with the verdict on deciding it."""
    found = (await uow.execute(READ_REQUEST, {"id": row.id})).mappings().first()
    if found is None:
        return None
    values = dict(found)
    impact = tuple(orjson.loads(values.pop("impact")))
    asked = {values["requested_by_id"], values.pop("requested_for_id")} - {None}
    return OpenRequest(**values, impact=impact, refused=_verdict(uow, row, asked, values["requested_at"]))


def may_reopen(uow: UnitOfWork, row: ProcessRow) -> bool:
    """Whether it is finished, and the actor's roles reach it for opening it again or asking for that."""
    if row.state not in (ProcessState.DONE, ProcessState.SKIPPED):
        return False
    if row.run_state not in (RunState.ACTIVE, RunState.DONE):
        return False
    ways = ways_to_act(uow, row, REOPEN)
    return any(uow.actor.is_system or way.acting.grant_for(row) is not None for way in ways)


def may_confirm(uow: UnitOfWork) -> bool:
    """Whether the actor's roles, as they are in the unit of work, decide requests anywhere."""
    return decide(uow.resources.policy, uow.registry, uow.actor, CONFIRM, "process_run") is not None


async def requests_to_confirm(uow: UnitOfWork) -> list[RequestToConfirm]:
    """Those that the actor may decide, the oldest first. One statement where nobody has asked for anything."""
    result: list[RequestToConfirm] = []
    for found in (await uow.execute(READ_OPEN, {"most": MOST_REQUESTS})).mappings().all():
        row = await read_process(uow, found["process_run_id"])
        request = await open_request(uow, row)
        if request is not None and request.refused is None:
            values = {**found, "kind": ProcessKind(found["kind"]), "state": ProcessState(found["state"])}
            result.append(RequestToConfirm(**values))
    return result


async def list_statements(uow: UnitOfWork, *, run_id: UUID) -> list[StatementHead]:
    """What was signed of the run before it was restated, the latest first. Raises NotFound."""
    await require_in_scope(uow, "read", "workflow_run", run_id)
    return await statements_of(uow, run_id)


async def statements_of(uow: UnitOfWork, run_id: UUID) -> list[StatementHead]:
    """The same for a run that the caller has read under its actor's scope."""
    rows = await uow.execute(READ_STATEMENTS, {"run_id": run_id})
    return [StatementHead(**row) for row in rows.mappings()]


async def read_statement(uow: UnitOfWork, *, run_id: UUID, number: int) -> Statement:
    """One of them with its content as it was signed. Raises NotFound."""
    await require_in_scope(uow, "read", "workflow_run", run_id)
    row = (await uow.execute(READ_STATEMENT, {"run_id": run_id, "number": number})).mappings().first()
    if row is None:
        raise NotFound("The run has no such statement.")
    values = dict(row)
    content = orjson.loads(values.pop("content"))
    return Statement(StatementHead(**values), content)


def _verdict(uow: UnitOfWork, row: ProcessRow, asked: Collection[UUID], since: datetime) -> Refusal | None:
    refusals: Sequence[Refusal | None] = [
        refused_to_decide(row, way.acting, asked=asked, since=since) for way in ways_to_act(uow, row, CONFIRM)
    ]
    if not refusals:
        detail = "Your roles do not confirm or decline that work is opened again."
        return Refusal("permission", detail, "Somebody whose role may confirms it.", forbidden=True)
    return None if None in refusals else refusals[0]
