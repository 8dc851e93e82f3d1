"""One statement that writes a decided transition: state, history, signature, and where it closes, what it releases."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.workflow.acting import Acting, Command
from app.domain.workflow.conditions import not_binding
from app.domain.workflow.edges import ON_START
from app.domain.workflow.gates import begins, begun
from app.domain.workflow.lags import lag_ends
from app.domain.workflow.outcomes import contribution
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.released import Released, released_from
from app.domain.workflow.releasing import RELEASE, RELEASED_NOW, TALLY, pass_edges
from app.domain.workflow.states import Name, ProcessState, RunState

_CHANGE = """
WITH changed AS (
    UPDATE process_run SET
        state = :state, assignee_id = :assignee_id, maker_id = :maker_id, makers = :makers, signers = :signers,
        round = :round, attempt = :attempt, level = :level, ready_at = :ready_at, started_at = :started_at,
        signatures = :signatures, submitted_round = :submitted_round, skip_requested_by_id = :skip_requested_by_id,
        skip_requested_for_id = :skip_requested_for_id, skip_reason = :skip_reason,
        submitted_at = :submitted_at, finished_at = :finished_at, state_before_hold = :state_before_hold,
        review_by = :review_by, reason = :reason, comment = :comment, snapshot_hash = :snapshot_hash,
        output_hash = :output_hash, row_version = row_version + 1, updated_at = :now, updated_by = :actor_id
    WHERE id = :id
    RETURNING row_version
), logged AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, actor_id, at, round, attempt, level,
                                    reason, comment, snapshot_hash, on_behalf_of_id, details,
                                    created_at, created_by, updated_at, updated_by)
    VALUES (uuidv7(), :id, :name, :from_state, :state, :user_id, :now, :round_before, :attempt, :level_before,
            :said_reason, :said_comment, :snapshot_hash, :on_behalf_of_id, :details, :now, :actor_id, :now, :actor_id)
), voided AS (
    UPDATE process_approval SET
        voided_at = :now, row_version = row_version + 1, updated_at = :now, updated_by = :actor_id
    WHERE process_run_id = :id AND decision = 'approved' AND voided_at IS NULL AND level >= CAST(:void_from AS int)
), signed AS (
    INSERT INTO process_approval (id, process_run_id, round, level, role, user_group, decision, actor_id,
                                  on_behalf_of_id, at, snapshot_hash, reason, reason_code, to_level,
                                  created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), :id, :round_before, :level_before, :role, :user_group, :decision, :user_id, :on_behalf_of_id,
           :now, :signed_hash, coalesce(:said_reason, :said_comment), :reason_code, CAST(:to_level AS int),
           :now, :actor_id, :now, :actor_id
    WHERE CAST(:decision AS text) IS NOT NULL
)"""

# A process that begins, ends or fails meets the edges that wait for that, and in its own run they pass here and nowhere
# else; see `releasing`. Lags in plain time are reckoned here, those that need a calendar are given back to be reckoned,
# and so are conditions and runs of other workflows. The cost follows the out-degree, not the run.
_PASSED = f"""
, passed AS (
    UPDATE process_edge e SET
        met_at = :now, satisfied_at = CASE WHEN e.lag_unit IS NULL THEN CAST(:now AS timestamptz) END,
        due_at = CASE e.lag_unit WHEN 'minutes' THEN CAST(:now AS timestamptz) + e.lag_amount * interval '1 minute'
                                 WHEN 'hours' THEN CAST(:now AS timestamptz) + e.lag_amount * interval '1 hour' END,
        outcome = 'met', row_version = e.row_version + 1, updated_at = :now, updated_by = :actor_id
    WHERE e.predecessor_id = :id AND e.run_id = :run_id AND e.satisfied_at IS NULL AND e.met_at IS NULL
      AND (:state = ANY (e.accepts) OR (:begun AND {ON_START}))
    RETURNING e.id, e.successor_id, e.edge_type, e.hardness, e.satisfied_at, e.due_at, e.lag_amount, e.lag_unit
), tied AS MATERIALIZED (
    SELECT e.id, e.successor_id, e.run_id, e.satisfied_at IS NULL AS open, e.condition IS NOT NULL AS conditional
    FROM process_edge e WHERE e.predecessor_id = :id
), left_open AS (
    SELECT coalesce(bool_or(e.open AND e.run_id <> :run_id), false) AS across,
           coalesce(bool_or(e.open AND e.conditional), false) AS conditional
    FROM tied e
), tally AS (
    SELECT e.successor_id AS id, {TALLY}, nullif(CAST(:contribution AS jsonb), CAST('[]' AS jsonb)) AS makers
    FROM tied e LEFT JOIN passed p ON p.id = e.id
    WHERE e.run_id = :run_id
    GROUP BY e.successor_id
)"""
_LAGGING = """
       (SELECT jsonb_agg(jsonb_build_object('id', p.id, 'amount', p.lag_amount, 'unit', p.lag_unit))
        FROM passed p WHERE p.satisfied_at IS NULL AND p.due_at IS NULL)::text AS lagging"""

_START = f"""
{_PASSED}
{RELEASE}
SELECT changed.row_version, CAST(NULL AS text) AS run_state, left_open.across, left_open.conditional, {_LAGGING},
{RELEASED_NOW}
FROM changed, left_open
"""
_END = f"""
{_PASSED}
{RELEASE}
, closed AS (
    UPDATE workflow_run SET
        open_count = open_count - CAST(:closing AS int),
        state = CASE WHEN open_count = CAST(:closing AS int) AND state = 'active' THEN 'done' ELSE state END,
        finished_at = CASE WHEN open_count = CAST(:closing AS int) AND state = 'active' THEN :now ELSE finished_at END,
        row_version = row_version + CASE WHEN open_count = CAST(:closing AS int) THEN 1 ELSE 0 END,
        updated_at = :now, updated_by = :actor_id
    WHERE id = :run_id
    RETURNING state, workflow_id
)
SELECT changed.row_version, closed.state AS run_state,
       left_open.across OR (closed.state = 'done' AND EXISTS (
            SELECT FROM awaited_run w WHERE w.workflow_id = closed.workflow_id AND w.bound_run_id IS NULL)) AS across,
       left_open.conditional, {_LAGGING},
{RELEASED_NOW}
FROM changed, closed, left_open
"""


_JSON = [bindparam(name, type_=JSONB(none_as_null=True)) for name in ("makers", "signers", "details")]
_BEGUN = bindparam("begun", type_=Boolean)
CHANGE = text(f"{_CHANGE} SELECT row_version FROM changed").bindparams(*_JSON)
_HANDS = bindparam("contribution", type_=JSONB)
CHANGE_AND_START = text(_CHANGE + _START).bindparams(*_JSON, _BEGUN, _HANDS)
CHANGE_AND_END = text(_CHANGE + _END).bindparams(*_JSON, _BEGUN, _HANDS)

SETTLE_ACROSS = "workflow.settle_across"

_DECIDED_ANEW = (Name.REJECT, Name.REOPEN, Name.REDO)
_DECISIONS = {Name.APPROVE: "approved", Name.REJECT: "rejected"}


@dataclass(frozen=True, slots=True)
class Written:
    """`finishable`: automatic processes that are done and that the engine may complete now."""

    row_version: int
    run_state: RunState
    released: tuple[Released, ...] = ()
    finishable: tuple[UUID, ...] = ()


async def write(uow: UnitOfWork, command: Command, before: ProcessRow, now_is: ProcessRow, acting: Acting) -> Written:
    """Write the difference between the two rows and everything that follows from it. The run is locked."""
    values = _values(command, before, now_is, acting, uow.now)
    ending = now_is.state.closed or now_is.state is ProcessState.FAILED
    if not ending and not begins(before, now_is):
        written = (await uow.execute(CHANGE, values)).one()
        return Written(written.row_version, before.run_state)
    hands = [str(id_) for id_ in contribution(now_is)] if ending else []
    values |= {"run_id": before.run_id, "begun": begun(now_is), "contribution": hands}
    if ending:
        values["closing"] = int(now_is.state.closed)
    written = (await uow.execute(CHANGE_AND_END if ending else CHANGE_AND_START, values)).one()
    released, finishable = released_from(written.released), tuple(written.finishable)
    more = await pass_edges(uow, await lag_ends(uow, before.run_id, written.lagging))
    if written.conditional:
        among = {"run_id": before.run_id, "predecessor_id": before.id}
        more += await pass_edges(uow, await not_binding(uow, business_date=before.business_date, **among))
    if written.across:
        uow.enqueue(SETTLE_ACROSS, {"target_run_id": before.run_id})
    for each in more:
        released, finishable = (*released, *each.released), (*finishable, *each.finishable)
    return Written(written.row_version, RunState(written.run_state or before.run_state), released, finishable)


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
        "signatures": row.signatures,
        "submitted_round": row.submitted_round,
        "skip_requested_by_id": row.skip_requested_by_id,
        "skip_requested_for_id": row.skip_requested_for_id,
        "skip_reason": row.skip_reason,
        "on_behalf_of_id": acting.actor.on_behalf_of,
        "details": {"controls_not_met": list(command.unmet)} if command.unmet else None,
        # What is decided anew takes back the signatures: from the level on to which it is rejected, or all of them.
        "void_from": (command.to_level or 0) if command.name in _DECIDED_ANEW else None,
        "reason_code": command.reason_code,
        "to_level": command.to_level,
        "ready_at": row.ready_at,
        "started_at": row.started_at,
        "submitted_at": row.submitted_at,
        "finished_at": row.finished_at,
        "state_before_hold": row.state_before_hold.value if row.state_before_hold else None,
        "review_by": row.review_by,
        "reason": row.reason,
        "comment": row.comment,
        "snapshot_hash": row.snapshot_hash,
        "output_hash": row.output_hash,
        "signed_hash": row.snapshot_hash or before.snapshot_hash,
        "said_reason": command.reason,
        "said_comment": command.comment,
        "decision": decision,
        "role": before.checker_role if decision else None,
        "user_group": before.level_rule.group if decision and before.level_rule is not None else None,
        "actor_id": acting.actor.id,
        # The platform itself is no user; its part of the history has no actor.
        "user_id": None if acting.actor.is_system else acting.actor.id,
        "now": now,
    }
