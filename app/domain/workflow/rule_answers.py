"""What a rule says about processes, and what of it counts.

A rule can never sign with nobody what is decided on, or name more levels than the definition has. A rule that fails
leaves the process as its definition says, with a note of what went wrong.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.core.audit import AuditEntry
from app.core.errors import StepsError
from app.core.uow import UnitOfWork
from app.domain.rules.routing import Moment, Routing, route_processes
from app.domain.workflow.process_row import ProcessRow

READ_FACTS = text(
    """
SELECT p.id, x.code AS rule, w.code AS workflow, p.code AS process, p.kind, r.business_date, p.critical, p.round,
       p.owner_role, n.code AS node,
       ARRAY(SELECT m.code FROM hierarchy_node m WHERE m.path @> n.path ORDER BY nlevel(m.path)) AS node_path
FROM process_run p JOIN process d ON d.id = p.process_id JOIN rule x ON x.id = d.rule_id
JOIN workflow_run r ON r.id = p.run_id JOIN workflow w ON w.id = r.workflow_id
LEFT JOIN hierarchy_node n ON n.id = p.node_id
WHERE p.id = ANY (:ids) ORDER BY p.rank, p.id
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))
APPLY = text(
    """
UPDATE process_run SET owner_role = :owner_role, levels = :levels, routed = :routed, row_version = row_version + 1,
                       updated_at = :now, updated_by = :actor_id
WHERE id = :id
"""
).bindparams(bindparam("routed", type_=JSONB))


async def ask_rules(uow: UnitOfWork, process_run_ids: Sequence[UUID], moment: Moment) -> dict[UUID, Routing]:
    """What their rules say; one statement for the facts. Processes whose rule fails are left out, and noted."""
    by_rule: defaultdict[str, list[tuple[UUID, dict[str, Any]]]] = defaultdict(list)
    for found in (await uow.execute(READ_FACTS, {"ids": list(process_run_ids)})).mappings():
        facts = {name: value for name, value in found.items() if name not in ("id", "rule") and value is not None}
        by_rule[found["rule"]].append((found["id"], facts))
    answers: dict[UUID, Routing] = {}
    for code, processes in sorted(by_rule.items()):
        try:
            answers |= await route_processes(
                uow, code=code, moment=moment, processes=processes, at=processes[0][1]["business_date"]
            )
        except StepsError as error:
            for id_, _ in processes:
                context = {"rule": code, "moment": moment.value}
                _note(uow, id_, f"The rule {code} did not decide: {error.detail}", context)
    return answers


def levels_of(row: ProcessRow, routing: Routing) -> int:
    """How many levels approve it: at most those that are defined, and at least one of what is decided on."""
    if routing.approval_levels is None:
        return row.levels
    least = 1 if row.kind.decided else 0
    return max(min(routing.approval_levels, len(row.approval_levels)), min(least, len(row.approval_levels)))


async def apply_answer(uow: UnitOfWork, row: ProcessRow, routing: Routing, *, moment: Moment) -> tuple[str | None, int]:
    """Write what the rule changes of the process; returns its owner and its levels. The process is locked."""
    moves = moment is Moment.READY and row.assignee_id is None and routing.owner_role is not None
    owner = routing.owner_role if moves else row.owner_role
    levels = levels_of(row, routing)
    routed = {
        "rule": routing.rule,
        "version": routing.version,
        "moment": moment.value,
        "reason": routing.reason,
        "owner_role": owner,
        "levels": levels,
        "skip": routing.skip,
    }
    values = {"id": row.id, "owner_role": owner, "levels": levels, "routed": routed, "now": uow.now}
    await uow.execute(APPLY, {**values, "actor_id": uow.actor.id})
    if (owner, levels) != (row.owner_role, row.levels):
        uow.audit(
            AuditEntry(
                command="route",
                entity="process_run",
                record_id=row.id,
                before={"owner_role": row.owner_role, "levels": row.levels},
                after={"owner_role": owner, "levels": levels},
                reason=routing.reason,
                context={"run": row.run_reference, "process": row.code, "rule": routing.rule,
                         "version": routing.version, "moment": moment.value},
            )
        )  # fmt: skip
    return owner, levels


def note_refused(uow: UnitOfWork, row: ProcessRow, routing: Routing, why: str) -> None:
    """That a rule wanted a skip which the definition does not allow."""
    _note(uow, row.id, why, {"rule": routing.rule, "version": routing.version, "process": row.code})


def _note(uow: UnitOfWork, id_: UUID, why: str, context: dict[str, Any]) -> None:
    uow.audit(
        AuditEntry(command="route_refused", entity="process_run", record_id=id_, reason=why[:2_000], context=context)
    )
