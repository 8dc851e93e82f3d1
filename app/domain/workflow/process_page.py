"""Everything that the page of one process shows, in a number of statements that does not depend on how much that is."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.workflow.actions import ActionState, actions_on, full_requirements
from app.domain.workflow.content import Content, Requirement, read_content
from app.domain.workflow.neighbours import Blocked, Neighbour, blocked_by, neighbours, predecessors, successors
from app.domain.workflow.process_row import ProcessRow, read_process
from app.domain.workflow.reopening_queries import OpenRequest, may_reopen, open_request
from app.domain.workflow.signed_content import Signed, signed_now
from app.domain.workflow.states import Name, ProcessState
from app.domain.workflow.ways import require_principal, require_visible

MOST_HISTORY = 500

READ_NAMES = text(
    """
SELECT p.stage_run_id, s.label AS stage, r.label AS run_label, r.version_id, v.number AS version_number, r.row_version,
       n.label AS node_label, u.name AS assignee, m.name AS maker, d.instructions, d.deadline, d.warn_minutes,
       p.expected_minutes, p.critical, p.rank, k.name AS skip_requested_by, p.stale_reason,
       d.wait_kind, d.wait_pattern, d.wait_event, d.wait_until, p.wait_until_at,
       coalesce(p.routed ->> 'reason', '') AS routed,
       EXISTS (SELECT FROM process_reopening q WHERE q.process_run_id = p.id AND q.state = 'requested') AS to_confirm,
       EXISTS (SELECT FROM process_query x WHERE x.process_run_id = p.id) AS asked_about,
       (SELECT jsonb_agg(jsonb_build_object('code', x.code, 'label', x.label) ORDER BY x.rank, x.label)
        FROM rejection_reason x WHERE x.active)::text AS reasons
FROM process_run p
JOIN stage_run s ON s.id = p.stage_run_id
JOIN workflow_run r ON r.id = p.run_id
JOIN workflow_version v ON v.id = r.version_id
JOIN process d ON d.id = p.process_id
LEFT JOIN hierarchy_node n ON n.id = p.node_id
LEFT JOIN app_user u ON u.id = p.assignee_id
LEFT JOIN app_user m ON m.id = p.maker_id
LEFT JOIN app_user k ON k.id = p.skip_requested_by_id
WHERE p.id = :id
"""
)
READ_APPROVALS = text(
    """
SELECT a.round, a.level, a.role, a.decision, a.actor_id, u.name AS actor, o.name AS on_behalf_of, a.at,
       a.snapshot_hash, a.reason, coalesce(x.label, a.reason_code) AS reason_label, a.to_level,
       a.voided_at IS NOT NULL AS voided
FROM process_approval a
LEFT JOIN app_user u ON u.id = a.actor_id
LEFT JOIN app_user o ON o.id = a.on_behalf_of_id
LEFT JOIN rejection_reason x ON x.code = a.reason_code
WHERE a.process_run_id = :id ORDER BY a.round, a.level, a.at
"""
)
READ_HISTORY = text(
    """
SELECT t.name, t.from_state, t.to_state, t.actor_id, u.name AS actor, o.name AS on_behalf_of, t.at, t.round,
       t.attempt, t.level, t.reason, t.comment, t.snapshot_hash, t.details::text AS details
FROM process_transition t
LEFT JOIN app_user u ON u.id = t.actor_id
LEFT JOIN app_user o ON o.id = t.on_behalf_of_id
WHERE t.process_run_id = :id ORDER BY t.at DESC, t.id DESC LIMIT :most
"""
)


@dataclass(frozen=True, slots=True)
class Names:
    """What the row's ids are called."""

    stage_run_id: UUID
    stage: str
    run_label: str
    version_id: UUID
    version_number: int
    run_row_version: int
    node_label: str | None
    assignee: str | None
    maker: str | None
    instructions: str | None
    deadline: str | None
    warn_minutes: int | None
    expected_minutes: int | None
    critical: bool
    rank: int
    skip_requested_by: str | None
    wait_kind: str | None
    wait_pattern: str | None
    wait_event: str | None
    wait_until: str | None
    wait_until_at: datetime | None
    routed: str  # why its rule has decided as it did
    stale_reason: str | None
    to_confirm: bool  # somebody wants it to be opened again
    asked_about: bool  # there are queries about it
    reasons: tuple[tuple[str, str], ...]  # code and label of what a rejection may name


@dataclass(frozen=True, slots=True)
class Approval:
    """A decision; `same_as_now`: what was signed is what stands there now; `voided`: taken back by a rejection."""

    round: int
    level: int
    role: str | None
    decision: str
    actor_id: UUID | None
    actor: str | None
    on_behalf_of: str | None
    at: datetime
    snapshot_hash: str | None
    reason: str | None
    reason_label: str | None
    to_level: int | None
    voided: bool
    same_as_now: bool


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """A change of state; without an actor the platform itself did it."""

    name: Name
    from_state: ProcessState
    to_state: ProcessState
    actor_id: UUID | None
    actor: str | None
    on_behalf_of: str | None
    at: datetime
    round: int
    attempt: int
    level: int
    reason: str | None
    comment: str | None
    snapshot_hash: str | None
    controls_not_met: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessDetail:
    row: ProcessRow
    names: Names
    blocked: Blocked
    predecessors: tuple[Neighbour, ...]
    successors: tuple[Neighbour, ...]
    content: Content
    requirements: tuple[Requirement, ...]
    approvals: tuple[Approval, ...]
    history: tuple[HistoryLine, ...]
    actions: tuple[ActionState, ...]
    request: OpenRequest | None  # to open it again
    may_reopen: bool
    signed: Signed | None  # of a sign-off: what it stands for


async def visible_process(uow: UnitOfWork, process_run_id: UUID) -> ProcessRow:
    """The process, for whoever may see it by their own rights or those of whom they stand in for. Raises NotFound."""
    if decide(uow.resources.policy, uow.registry, uow.actor, "read", "process_run") is None:
        await require_principal(uow, "read")
    row = await read_process(uow, process_run_id)
    require_visible(uow, row)
    return row


async def process_detail(uow: UnitOfWork, process_run_id: UUID) -> ProcessDetail:
    """Read the page of a process. Raises NotFound, also for one that the actor may not see."""
    row = await visible_process(uow, process_run_id)
    key = {"id": row.id}
    names = dict((await uow.execute(READ_NAMES, key)).mappings().one())
    names["run_row_version"] = names.pop("row_version")
    names["reasons"] = tuple((item["code"], item["label"]) for item in orjson.loads(names["reasons"] or "[]"))
    around = await neighbours(uow, row.id)
    content = await read_content(uow, row)
    found = await full_requirements(uow, row, content)
    approvals = (await uow.execute(READ_APPROVALS, key)).mappings().all()
    return ProcessDetail(
        row=row,
        names=Names(**names),
        blocked=blocked_by(row, around),
        predecessors=predecessors(around),
        successors=successors(around),
        content=content,
        requirements=found,
        approvals=tuple(Approval(**a, same_as_now=_same(row, a["snapshot_hash"])) for a in approvals),
        history=await history(uow, row.id),
        actions=tuple(await actions_on(uow, row, content, found)),
        request=await open_request(uow, row) if names["to_confirm"] else None,
        may_reopen=may_reopen(uow, row) and not names["to_confirm"],
        signed=await signed_now(uow, row, content),
    )


async def history(uow: UnitOfWork, process_run_id: UUID) -> tuple[HistoryLine, ...]:
    """Changes of state, the latest first. For a process run that the caller has read under its actor's scope."""
    rows = await uow.execute(READ_HISTORY, {"id": process_run_id, "most": MOST_HISTORY})
    return tuple(
        HistoryLine(
            **{
                **{key: value for key, value in line.items() if key != "details"},
                "name": Name(line["name"]),
                "from_state": ProcessState(line["from_state"]),
                "to_state": ProcessState(line["to_state"]),
                "controls_not_met": tuple(orjson.loads(line["details"] or "{}").get("controls_not_met") or ()),
            }
        )
        for line in rows.mappings()
    )


def _same(row: ProcessRow, signed: str | None) -> bool:
    return signed is not None and signed == row.snapshot_hash
