"""Edges that become satisfied, and what that releases: the one place where counters of a process go down.

An edge counts its successor down once, because only an unsatisfied edge is updated and the run of the successor is
locked. Hard edges count in `waiting_on` (its beginning) or `finish_waiting_on` (its end), soft ones in
`soft_waiting_on`, advisory ones nowhere. The cost follows the number of edges that pass, not the size of the run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import DateTime, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.workflow import work_queue
from app.domain.workflow.edges import GATES_START, Outcome
from app.domain.workflow.graph import ENTRY_STATE
from app.domain.workflow.released import RELEASED, Released, may_begin, released_from
from app.domain.workflow.states import DECIDED, ProcessState, RunState

_ENTRY_AHEAD = ENTRY_STATE.format(
    waiting_on="s.waiting_on - t.starts", earliest_start="s.earliest_start", kind="s.kind"
)

# What the edges `p` count in; an edge that has only met its lag is not satisfied yet.
TALLY = f"""
           count(p.id) FILTER (WHERE p.satisfied_at IS NOT NULL) AS passes,
           count(p.id) FILTER (WHERE p.satisfied_at IS NOT NULL AND p.hardness = 'hard' AND p.{GATES_START}) AS starts,
           count(p.id) FILTER (WHERE p.satisfied_at IS NOT NULL AND p.hardness = 'hard' AND NOT p.{GATES_START})
               AS finishes,
           count(p.id) FILTER (WHERE p.satisfied_at IS NOT NULL AND p.hardness = 'soft') AS softs"""

# Follows a CTE `tally`: for each successor what passes, and those whose work it builds on if it is an approval.
RELEASE = f"""
, ahead AS (
    SELECT s.id, s.run_id, s.process_id, s.code, s.kind, s.state AS old_state, s.round, s.attempt, s.level,
           s.arrived_at, s.waiting_on - t.starts AS waiting_on,
           coalesce(s.finish_waiting_on, 0) - t.finishes AS finish_waiting_on,
           coalesce(s.soft_waiting_on, 0) - t.softs AS soft_waiting_on,
           CASE WHEN s.state = 'blocked' THEN {_ENTRY_AHEAD} ELSE s.state END AS new_state,
           CASE WHEN s.kind {DECIDED} AND t.makers IS NOT NULL
                THEN (SELECT jsonb_agg(DISTINCT m.id)
                      FROM jsonb_array_elements(coalesce(s.makers, '[]') || t.makers) AS m(id))
                ELSE s.makers END AS makers
    FROM tally t JOIN process_run s ON s.id = t.id
    WHERE t.passes > 0 OR s.kind {DECIDED}
), moved AS (
    UPDATE process_run s SET
        waiting_on = a.waiting_on, finish_waiting_on = a.finish_waiting_on, soft_waiting_on = a.soft_waiting_on,
        state = a.new_state, makers = a.makers,
        maker_id = CASE WHEN a.kind {DECIDED} AND jsonb_array_length(a.makers) = 1 THEN CAST(a.makers ->> 0 AS uuid)
                        WHEN a.kind {DECIDED} THEN NULL ELSE s.maker_id END,
        ready_at = CASE WHEN a.old_state = 'blocked' AND a.new_state IN ('ready', 'in_review', 'waiting_external')
                        THEN :now
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
)"""

# Automatic work that has been done and may be completed now, and waits for what has come already.
_FINISHABLE = """a.new_state = 'waiting_external' AND a.finish_waiting_on = 0
            AND (a.kind = 'automatic' OR (a.kind = 'wait_for' AND a.arrived_at IS NOT NULL))"""
RELEASED_NOW = f"""
       (SELECT {RELEASED.format("a", "a.new_state")}
        FROM ahead a JOIN process d ON d.id = a.process_id WHERE a.new_state <> a.old_state) AS released,
       ARRAY(SELECT a.id FROM ahead a WHERE {_FINISHABLE}) AS finishable"""

_TALLY = f"""
, tally AS (
    SELECT p.successor_id AS id, {TALLY},
           (SELECT jsonb_agg(DISTINCT m.id)
            FROM passed x JOIN process_run q ON q.id = x.predecessor_id AND q.kind <> 'automatic'
            CROSS JOIN LATERAL jsonb_array_elements(coalesce(q.makers, '[]') || coalesce(q.signers, '[]')) AS m(id)
            WHERE x.successor_id = p.successor_id AND x.outcome IS DISTINCT FROM 'not_binding') AS makers
    FROM passed p GROUP BY p.successor_id
)"""
_BY_RUN = f"""
SELECT r.id AS run_id, r.state AS run_state, x.released, x.finishable
FROM (SELECT a.run_id, {RELEASED.format("a", "a.new_state").removesuffix("::text")}
                           FILTER (WHERE a.new_state <> a.old_state) AS released,
             array_agg(a.id) FILTER (WHERE {_FINISHABLE}) AS finishable
      FROM ahead a JOIN process d ON d.id = a.process_id GROUP BY a.run_id) x
JOIN workflow_run r ON r.id = x.run_id
ORDER BY r.id
"""
# An edge whose lag is not over keeps the instant at which it will be.
_PASS = f"""
passed AS (
    UPDATE process_edge e SET
        met_at = coalesce(g.met_at, e.met_at), due_at = CASE WHEN g.due_at > :now THEN g.due_at END,
        satisfied_at = CASE WHEN g.due_at > :now THEN NULL ELSE CAST(:now AS timestamptz) END, outcome = g.outcome,
        row_version = e.row_version + 1, updated_at = :now, updated_by = :actor_id
    FROM given g WHERE e.id = g.id AND e.satisfied_at IS NULL
    RETURNING e.id, e.predecessor_id, e.successor_id, e.edge_type, e.hardness, e.satisfied_at, e.outcome
)
{_TALLY}
{RELEASE}
{_BY_RUN}"""
PASS_THESE = text(
    f"""
WITH given AS (
    SELECT * FROM unnest(:ids, :met, :due, :outcomes) AS g (id, met_at, due_at, outcome)
), {_PASS}"""
).bindparams(
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("met", type_=ARRAY(DateTime(timezone=True))),
    bindparam("due", type_=ARRAY(DateTime(timezone=True))),
    bindparam("outcomes", type_=ARRAY(Text)),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("actor_id", type_=Uuid),
)
PASS_DUE = text(
    f"""
WITH given AS (
    SELECT e.id, e.met_at, e.due_at, 'met' AS outcome FROM process_edge e
    WHERE e.run_id = ANY (:runs) AND e.due_at <= :now
), {_PASS}"""
).bindparams(
    bindparam("runs", type_=ARRAY(Uuid)),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("actor_id", type_=Uuid),
)


@dataclass(frozen=True, slots=True)
class Passing:
    """An edge that is to pass: since when its predecessor is as far, and when its lag is over (now, if not later)."""

    id: UUID
    met_at: datetime | None
    due_at: datetime | None = None
    outcome: Outcome = Outcome.MET


@dataclass(frozen=True, slots=True)
class Releases:
    """What has changed in one run. `finishable`: automatic processes that the engine may complete now."""

    run_id: UUID
    run_state: RunState
    released: tuple[Released, ...]
    finishable: tuple[UUID, ...]


async def pass_edges(uow: UnitOfWork, edges: Iterable[Passing]) -> tuple[Releases, ...]:
    """Let the edges pass, or note when their lag will be over. The runs of their successors are locked."""
    given = list(edges)
    if not given:
        return ()
    values = {
        "ids": [edge.id for edge in given],
        "met": [edge.met_at for edge in given],
        "due": [edge.due_at for edge in given],
        "outcomes": [edge.outcome.value for edge in given],
    }
    return await _releases(uow, PASS_THESE, values)


async def pass_due(uow: UnitOfWork, run_ids: Sequence[UUID]) -> tuple[Releases, ...]:
    """Let the edges of these runs pass whose lag is over. The runs are locked."""
    return await _releases(uow, PASS_DUE, {"runs": list(run_ids)})


async def _releases(uow: UnitOfWork, statement: Any, values: dict[str, Any]) -> tuple[Releases, ...]:
    rows = await uow.execute(statement, {**values, "now": uow.now, "actor_id": uow.actor.id})
    return tuple(
        Releases(
            row.run_id,
            RunState(row.run_state),
            released_from(orjson.dumps(row.released).decode() if row.released else None),
            tuple(row.finishable or ()),
        )
        for row in rows
    )


async def tell(uow: UnitOfWork, releases: Iterable[Releases]) -> None:
    """Events, live topics and jobs. While a run is on hold nothing is sent to a worker; its resumption does that."""
    for each in releases:
        uow.touch(f"run:{each.run_id}", *(f"process_run:{item.id}" for item in each.released))
        begin_now = tuple(item for item in each.released if item.state is not ProcessState.PLANNED)
        if begin_now:
            uow.emit(may_begin(begin_now, run_id=each.run_id, at=uow.now))
        if each.run_state is RunState.ACTIVE:
            await work_queue.queue(uow, begin_now)
