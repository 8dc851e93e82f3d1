"""A process run as the engine decides on it: its row, its run and what its definition asks for, in one statement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import DateTime, TextualSelect, Uuid, bindparam, column, text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.workflow.authority import AUTHORITY, Authority, authority_from
from app.domain.workflow.states import ProcessKind, ProcessState, RunState


@dataclass(frozen=True, slots=True)
class LevelRule:
    """An approval level: who signs it, and how many of them must."""

    level: int
    role: str | None
    group_id: UUID | None
    group: str | None  # its name
    needed: int
    deadline: str | None

    @property
    def who(self) -> str:
        """In words: whose decision it is."""
        role = f"the role {self.role}" if self.role else ""
        group = f"the group {self.group}" if self.group_id else ""
        return " in ".join(part for part in (role, group) if part) or "nobody"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Who of the owner role may take it; where nobody is named, everybody of the role."""

    users: frozenset[UUID] = frozenset()
    groups: frozenset[UUID] = frozenset()
    names: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        return bool(self.users or self.groups)


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """Attributes in the order of `COLUMNS`.

    `rule` is the code of the rule that decides how it goes on; `arrival` what a wait has waited for.

    `makers` and `signers` may not approve; `approval_levels[0]` is level 1; `has_content`: there is something to meet
    or to sign; `signatures`: how many the open level has; `authority` is that of the actor, not of the process.
    """

    id: UUID
    run_id: UUID
    process_id: UUID
    code: str
    label: str
    kind: ProcessKind
    state: ProcessState
    row_version: int
    node_id: UUID | None
    owner_role: str | None
    assignee_id: UUID | None
    maker_id: UUID | None
    makers: tuple[UUID, ...]
    signers: tuple[UUID, ...]
    waiting_on: int
    finish_waiting_on: int
    soft_waiting_on: int
    round: int
    attempt: int
    level: int
    levels: int
    earliest_start: datetime | None
    due_at: datetime | None
    ready_at: datetime | None
    started_at: datetime | None
    submitted_at: datetime | None
    finished_at: datetime | None
    state_before_hold: ProcessState | None
    review_by: datetime | None
    reason: str | None
    comment: str | None
    snapshot_hash: str | None
    application_id: UUID
    application: str
    node_path: str | None
    run_state: RunState
    run_reference: str
    business_date: date
    skip_allowed: bool
    require_comment: bool
    action: str | None
    parameters: dict[str, Any]
    max_attempts: int
    backoff_seconds: int
    approval_levels: tuple[LevelRule, ...]
    has_content: bool
    signatures: int
    submitted_round: int | None
    level_due: Mapping[str, str]
    skip_requested_by_id: UUID | None
    skip_requested_for_id: UUID | None
    skip_reason: str | None
    skip_second_person: bool
    ad_hoc: bool
    candidates: Candidates
    has_duty_rules: bool
    output_hash: str | None
    output_before: str | None
    state_before_stale: ProcessState | None
    inputs_changed: bool
    arrived_at: datetime | None
    arrival: dict[str, Any]
    accept_early: bool
    rule: str | None
    authority: Authority
    blocking_queries: int = 0
    blocking_subjects: tuple[str, ...] = ()  # of those queries; read without their lock, so for words only

    @property
    def level_rule(self) -> LevelRule | None:
        """The approval level that is open; None where there is none."""
        return self.approval_levels[self.level - 1] if 1 <= self.level <= len(self.approval_levels) else None

    @property
    def checker_role(self) -> str | None:
        """The role that decides now; None where no approval level is open, or a group alone decides."""
        return self.level_rule.role if self.level_rule is not None else None

    @property
    def due_now_at(self) -> datetime | None:
        """The deadline that counts now: that of the open level where it has its own."""
        own = self.level_due.get(str(self.level)) if self.level else None
        return datetime.fromisoformat(own) if own else self.due_at


COLUMNS = f"""
    p.id, p.run_id, p.process_id, p.code, p.label, p.kind, p.state, p.row_version, p.node_id, p.owner_role,
    p.assignee_id, p.maker_id, p.makers::text, p.signers::text, p.waiting_on, coalesce(p.finish_waiting_on, 0),
    coalesce(p.soft_waiting_on, 0), p.round, p.attempt, p.level, p.levels,
    p.earliest_start, p.due_at, p.ready_at, p.started_at, p.submitted_at, p.finished_at, p.state_before_hold,
    p.review_by, p.reason, p.comment, p.snapshot_hash, p.application_id, a.code, n.path, r.state, r.reference,
    r.business_date, d.skip_allowed, d.require_comment, d.action, d.parameters::text, d.max_attempts, d.backoff_seconds,
    (SELECT jsonb_agg(jsonb_build_object('level', l.level, 'role', l.role, 'group_id', y.id, 'group', y.label,
                                         'needed', coalesce(l.needed, 1), 'deadline', l.deadline) ORDER BY l.level)
     FROM process_approval_level l LEFT JOIN user_group y ON y.id = l.user_group_id
     WHERE l.parent_id = p.process_id)::text,
    EXISTS (SELECT FROM process_evidence e WHERE e.parent_id = p.process_id)
        OR EXISTS (SELECT FROM process_checklist_item c WHERE c.parent_id = p.process_id)
        OR EXISTS (SELECT FROM process_question c WHERE c.parent_id = p.process_id)
        OR EXISTS (SELECT FROM file f WHERE f.record_entity = 'process_run' AND f.record_id = p.id),
    coalesce(p.signatures, 0), p.submitted_round, p.level_due::text, p.skip_requested_by_id,
    p.skip_requested_for_id, p.skip_reason,
    coalesce(d.skip_second_person, false), coalesce(p.ad_hoc, false),
    (SELECT jsonb_agg(jsonb_build_object('user', c.user_id, 'group', c.user_group_id, 'name', coalesce(u.name, y.label))
                      ORDER BY c.position)
     FROM process_candidate c LEFT JOIN app_user u ON u.id = c.user_id LEFT JOIN user_group y ON y.id = c.user_group_id
     WHERE c.parent_id = p.process_id)::text,
    EXISTS (SELECT FROM duty_rule x WHERE x.workflow_id = r.workflow_id AND x.active
            AND p.code IN (x.process_code, x.other_process_code)),
    p.output_hash, p.output_before, p.state_before_stale, coalesce(p.inputs_changed, false), p.arrived_at,
    p.arrival::text, coalesce(d.accept_early, false),
    CASE WHEN d.rule_id IS NOT NULL THEN (SELECT x.code FROM rule x WHERE x.id = d.rule_id) END,
    {AUTHORITY},
    coalesce(p.blocking_queries, 0),
    CASE WHEN p.blocking_queries > 0 THEN (
        SELECT jsonb_agg(q.subject ORDER BY q.created_at) FROM process_query q
        WHERE q.process_run_id = p.id AND q.blocking AND q.closed_at IS NULL AND q.answered_at IS NULL) END::text
"""
SOURCES = """
    FROM process_run p
    JOIN workflow_run r ON r.id = p.run_id
    JOIN process d ON d.id = p.process_id
    JOIN application a ON a.id = p.application_id
    LEFT JOIN hierarchy_node n ON n.id = p.node_id
"""


def _statement(sql: str) -> TextualSelect:
    """Named by position, so that the shape of the result is worked out once and not for each row that is read."""
    typed = text(sql).bindparams(bindparam("actor_id", type_=Uuid), bindparam("now", type_=DateTime(timezone=True)))
    return typed.columns(*(column(field.name) for field in fields(ProcessRow)))


READ = _statement(f"SELECT {COLUMNS} {SOURCES} WHERE p.id = :id")

# The run's row is locked before the process's: everybody who changes the processes of a run queues there, so that a
# successor is released once and nobody deadlocks. Both are locked in the statement that reads them, because whoever had
# to wait then sees them as they are now. What else it reads is definition, or is dated: grants, delegations, members.
LOCK = _statement(f"SELECT {COLUMNS} {SOURCES} WHERE p.id = :id FOR NO KEY UPDATE OF r, p")


async def lock_process(uow: UnitOfWork, process_run_id: UUID) -> ProcessRow:
    """Lock the run, then the process, and read both as of now. Raises NotFound."""
    return await _one(uow, LOCK, process_run_id)


async def read_process(uow: UnitOfWork, process_run_id: UUID) -> ProcessRow:
    """Read without a lock, for pages. Raises NotFound."""
    return await _one(uow, READ, process_run_id)


async def _one(uow: UnitOfWork, statement: TextualSelect, process_run_id: UUID) -> ProcessRow:
    actor_id = None if uow.actor.is_system else uow.actor.id
    values = {"id": process_run_id, "actor_id": actor_id, "now": uow.now}
    row = (await uow.execute(statement, values)).first()
    if row is None:
        raise NotFound("There is no such process run.")
    return process_row(row)


def process_row(values: Sequence[Any]) -> ProcessRow:
    """Build from a row of `COLUMNS`."""
    named = dict(zip(_NAMES, values, strict=False))
    for name, convert in _CONVERTED.items():
        named[name] = convert(named[name])
    return ProcessRow(**named)


def ids(json_text: str | None) -> tuple[UUID, ...]:
    return tuple(UUID(item) for item in orjson.loads(json_text)) if json_text else ()


def _levels(json_text: str | None) -> tuple[LevelRule, ...]:
    return tuple(
        LevelRule(
            item["level"],
            item["role"],
            UUID(item["group_id"]) if item["group_id"] else None,
            item["group"],
            item["needed"],
            item["deadline"],
        )
        for item in orjson.loads(json_text or "[]")
    )


def _candidates(json_text: str | None) -> Candidates:
    items = orjson.loads(json_text or "[]")
    return Candidates(
        frozenset(UUID(item["user"]) for item in items if item["user"]),
        frozenset(UUID(item["group"]) for item in items if item["group"]),
        tuple(item["name"] for item in items),
    )


_NAMES = tuple(field.name for field in fields(ProcessRow))
_CONVERTED: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "kind": ProcessKind,
        "state": ProcessState,
        "makers": ids,
        "signers": ids,
        "state_before_hold": lambda value: ProcessState(value) if value else None,
        "run_state": RunState,
        "state_before_stale": lambda value: ProcessState(value) if value else None,
        "arrival": lambda value: orjson.loads(value) if value else {},
        "parameters": lambda value: orjson.loads(value) if value else {},
        "max_attempts": lambda value: value or 1,
        "backoff_seconds": lambda value: value or 0,
        "approval_levels": _levels,
        "level_due": lambda value: orjson.loads(value) if value else {},
        "candidates": _candidates,
        "authority": authority_from,
        "blocking_subjects": lambda value: tuple(orjson.loads(value)) if value else (),
    }
)
