"""One statement that writes a decided transition: state, history, signature, and where it closes, what it releases."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.workflow.acting import Acting, Command
from app.domain.workflow.graph import ENTRY_STATE
from app.domain.workflow.outcomes import contribution
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.released import RELEASED, Released, released_from
from app.domain.workflow.states import Name, ProcessState, RunState

_CHANGE = """
WITH changed AS (
    UPDATE process_run SET
        state = :state, assignee_id = :assignee_id, maker_id = :maker_id, makers = :makers, signers = :signers,
        round = :round, attempt = :attempt, level = :level, ready_at = :ready_at, started_at = :started_at,
        submitted_at = :submitted_at, finished_at = :finished_at, state_before_hold = :state_before_hold,
        review_by = :review_by, reason = :reason, comment = :comment, snapshot_hash = :snapshot_hash,
        row_version = row_version + 1, updated_at = :now, updated_by = :actor_id
    WHERE id = :id
    RETURNING row_version
), logged AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, actor_id, at, round, attempt, level,
                                    reason, comment, snapshot_hash, created_at, created_by, updated_at, updated_by)
    VALUES (uuidv7(), :id, :name, :from_state, :state, :user_id, :now, :round_before, :attempt, :level_before,
            :said_reason, :said_comment, :snapshot_hash, :now, :actor_id, :now, :actor_id)
), signed AS (
    INSERT INTO process_approval (id, process_run_id, round, level, role, decision, actor_id, at, snapshot_hash, reason,
                                  created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), :id, :round_before, :level_before, :role, :decision, :user_id, :now, :signed_hash,
           coalesce(:said_reason, :said_comment), :now, :actor_id, :now, :actor_id
    WHERE CAST(:decision AS text) IS NOT NULL
)"""

# A process that ends, or fails, satisfies the edges that accept its state; each edge counts down its successor once,
# and the successor that reaches zero is released here and nowhere else. The cost follows the out-degree, not the run.
_ENTRY_AHEAD = ENTRY_STATE.format(waiting_on="s.waiting_on - 1", earliest_start="s.earliest_start", kind="s.kind")
_END = f"""
, passed AS (
    UPDATE process_edge SET
        satisfied_at = :now, row_version = row_version + 1, updated_at = :now, updated_by = :actor_id
    WHERE predecessor_id = :id AND satisfied_at IS NULL AND hardness = 'hard' AND :state = ANY (accepts)
    RETURNING successor_id
), ahead AS (
    SELECT s.id, s.process_id, s.code, s.kind, s.state AS old_state, s.round, s.attempt, s.level,
           s.waiting_on - 1 AS waiting_on,
           CASE WHEN s.state = 'blocked'
                THEN {_ENTRY_AHEAD}
                ELSE s.state END AS new_state,
           CASE WHEN s.kind = 'approval' AND :contribution <> CAST('[]' AS jsonb)
                THEN (SELECT jsonb_agg(DISTINCT m.id)
                      FROM jsonb_array_elements(coalesce(s.makers, '[]') || :contribution) AS m(id))
                ELSE s.makers END AS makers
    FROM passed JOIN process_run s ON s.id = passed.successor_id
), moved AS (
    UPDATE process_run s SET
        waiting_on = a.waiting_on, state = a.new_state, makers = a.makers,
        maker_id = CASE WHEN a.kind = 'approval' AND jsonb_array_length(a.makers) = 1 THEN CAST(a.makers ->> 0 AS uuid)
                        WHEN a.kind = 'approval' THEN NULL ELSE s.maker_id END,
        ready_at = CASE WHEN a.old_state = 'blocked' AND a.new_state IN ('ready', 'in_review') THEN :now
                        ELSE s.ready_at END,
        submitted_at = CASE WHEN a.old_state = 'blocked' AND a.new_state = 'in_review' THEN :now
                            ELSE s.submitted_at END,
        level = CASE WHEN a.old_state = 'blocked' AND a.new_state = 'in_review' THEN 1 ELSE s.level END,
        row_version = s.row_version + 1, updated_at = :now, updated_by = :actor_id
    FROM ahead a WHERE s.id = a.id
), released AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, at, round, attempt, level,
                                    created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), a.id, 'release', a.old_state, a.new_state, :now, a.round, a.attempt, a.level,
           :now, :actor_id, :now, :actor_id
    FROM ahead a WHERE a.new_state <> a.old_state
), closed AS (
    UPDATE workflow_run SET
        open_count = open_count - CAST(:closing AS int),
        state = CASE WHEN open_count = CAST(:closing AS int) AND state = 'active' THEN 'done' ELSE state END,
        finished_at = CASE WHEN open_count = CAST(:closing AS int) AND state = 'active' THEN :now ELSE finished_at END,
        row_version = row_version + CASE WHEN open_count = CAST(:closing AS int) THEN 1 ELSE 0 END,
        updated_at = :now, updated_by = :actor_id
    WHERE id = :run_id
    RETURNING state
)
SELECT changed.row_version, closed.state AS run_state,
       (SELECT {RELEASED.format("a", "a.new_state")}
        FROM ahead a JOIN process d ON d.id = a.process_id WHERE a.new_state <> a.old_state) AS released
FROM changed, closed
"""


_JSON = [bindparam(name, type_=JSONB(none_as_null=True)) for name in ("makers", "signers")]
CHANGE = text(
    f"{_CHANGE} SELECT row_version, CAST(NULL AS text) AS run_state, CAST(NULL AS text) AS released FROM changed"
).bindparams(*_JSON)
CHANGE_AND_END = text(_CHANGE + _END).bindparams(*_JSON, bindparam("contribution", type_=JSONB))

_DECISIONS = {Name.APPROVE: "approved", Name.REJECT: "rejected"}


@dataclass(frozen=True, slots=True)
class Written:
    row_version: int
    run_state: RunState
    released: tuple[Released, ...]


async def write(uow: UnitOfWork, command: Command, before: ProcessRow, now_is: ProcessRow, acting: Acting) -> Written:
    """Write the difference between the two rows and everything that follows from it. The run is locked."""
    ending = now_is.state.closed or now_is.state is ProcessState.FAILED
    values = _values(command, before, now_is, acting, uow.now)
    if ending:
        values |= {
            "run_id": before.run_id,
            "contribution": [str(id_) for id_ in contribution(now_is)],
            "closing": int(now_is.state.closed),
        }
    statement = CHANGE_AND_END if ending else CHANGE
    written = (await uow.execute(statement, values)).one()
    return Written(
        written.row_version, RunState(written.run_state or before.run_state), released_from(written.released)
    )


def _values(command: Command, before: ProcessRow, row: ProcessRow, acting: Acting, now: datetime) -> dict[str, Any]:
    decision = _DECISIONS.get(command.name)
    return {
        "id": row.id,
        "name": command.name.value,
        "from_state": before.state.value,
        "state": row.state.value,
        "assignee_id": row.assignee_id,
        "maker_id": row.maker_id,
        "makers": [str(id_) for id_ in row.makers] or None,
        "signers": [str(id_) for id_ in row.signers] or None,
        "round": row.round,
        "round_before": before.round,
        "attempt": row.attempt,
        "level": row.level,
        "level_before": before.level,
        "ready_at": row.ready_at,
        "started_at": row.started_at,
        "submitted_at": row.submitted_at,
        "finished_at": row.finished_at,
        "state_before_hold": row.state_before_hold.value if row.state_before_hold else None,
        "review_by": row.review_by,
        "reason": row.reason,
        "comment": row.comment,
        "snapshot_hash": row.snapshot_hash,
        "signed_hash": row.snapshot_hash or before.snapshot_hash,
        "said_reason": command.reason,
        "said_comment": command.comment,
        "decision": decision,
        "role": before.checker_role if decision else None,
        "actor_id": acting.actor.id,
        # The platform itself is no user; its part of the history has no actor.
        "user_id": None if acting.actor.is_system else acting.actor.id,
        "now": now,
    }
