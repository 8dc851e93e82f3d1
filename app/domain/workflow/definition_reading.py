"""A workflow version out of its rows."""

from collections import defaultdict
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.workflow.definitions import WorkflowDefinition
from app.domain.workflow.package_loader import read_workflow

READ_WORKFLOW = text(
    """
SELECT w.code, w.label, a.code AS application, c.code AS calendar, n.code AS node, w.description,
       coalesce((SELECT h.code FROM hierarchy h WHERE h.id = n.hierarchy_id),
                (SELECT h.code FROM process p JOIN hierarchy_node q ON q.id = p.node_id
                 JOIN hierarchy h ON h.id = q.hierarchy_id WHERE p.version_id = v.id ORDER BY p.rank LIMIT 1)
       ) AS node_hierarchy
FROM workflow_version v
JOIN workflow w ON w.id = v.workflow_id
JOIN application a ON a.id = w.application_id
JOIN calendar c ON c.id = w.calendar_id
LEFT JOIN hierarchy_node n ON n.id = w.node_id
WHERE v.id = :id
"""
)
READ_STAGES = text("SELECT id, parent_id, code, label, deadline FROM stage WHERE version_id = :id ORDER BY rank, id")
READ_PROCESSES = text(
    """
SELECT p.id, p.stage_id, p.code, p.label, p.kind, p.owner_role, n.code AS node, p.action, p.parameters::text,
       p.instructions, p.deadline, p.earliest_start, p.warn_minutes, p.expected_minutes, p.critical, p.require_comment,
       (SELECT x.code FROM rule x WHERE x.id = p.rule_id) AS rule,
       CASE WHEN p.wait_kind IS NOT NULL THEN jsonb_build_object(
           'kind', p.wait_kind, 'source', coalesce(p.wait_from, 'inbox'), 'folder', p.wait_folder,
           'pattern', p.wait_pattern, 'event', p.wait_event, 'condition', nullif(p.wait_condition, 'null'),
           'until', p.wait_until, 'early', coalesce(p.accept_early, false)) END::text AS wait,
       p.skip_allowed, coalesce(p.skip_second_person, false) AS skip_second_person, p.max_attempts, p.backoff_seconds,
       (SELECT jsonb_agg(jsonb_build_object(
                   'level', l.level, 'role', l.role, 'group', y.code, 'needed', coalesce(l.needed, 1),
                   'deadline', l.deadline) ORDER BY l.level)
        FROM process_approval_level l LEFT JOIN user_group y ON y.id = l.user_group_id
        WHERE l.parent_id = p.id)::text AS approval_levels,
       (SELECT jsonb_build_object(
                   'groups', coalesce(jsonb_agg(y.code ORDER BY c.position) FILTER (WHERE y.id IS NOT NULL), '[]'),
                   'users', coalesce(jsonb_agg(u.email ORDER BY c.position) FILTER (WHERE u.id IS NOT NULL), '[]'))
        FROM process_candidate c
        LEFT JOIN user_group y ON y.id = c.user_group_id LEFT JOIN app_user u ON u.id = c.user_id
        WHERE c.parent_id = p.id)::text AS candidates,
       (SELECT jsonb_agg(jsonb_build_object(
                         'code', e.code, 'label', e.label, 'required', e.mandatory, 'min_count', e.min_count,
                         'min_rows', e.min_rows, 'tie_column', e.tie_column, 'tie_figure', e.tie_figure,
                         'file_types', regexp_split_to_array(coalesce(e.file_types, ''), '\\s*,\\s*'))
                         ORDER BY e.position)
        FROM process_evidence e WHERE e.parent_id = p.id)::text AS evidence,
       (SELECT jsonb_agg(jsonb_build_object('code', i.code, 'label', i.label, 'required', i.mandatory)
                         ORDER BY i.position)
        FROM process_checklist_item i WHERE i.parent_id = p.id)::text AS checklist,
       (SELECT jsonb_agg(jsonb_build_object('code', q.code, 'label', q.label, 'type', q.answer_type,
                         'required', q.mandatory, 'expected', q.expected, 'options',
                         CASE WHEN coalesce(q.options, '') = '' THEN '[]'
                              ELSE to_jsonb(regexp_split_to_array(q.options, '\\s*,\\s*')) END) ORDER BY q.position)
        FROM process_question q WHERE q.parent_id = p.id)::text AS questions
FROM process p LEFT JOIN hierarchy_node n ON n.id = p.node_id
WHERE p.version_id = :id ORDER BY p.rank, p.id
"""
)
READ_DEPENDENCIES = text(
    """
SELECT coalesce(a.code, d.other_process) AS "from", b.code AS "to", d.edge_type AS type, d.hardness, d.accepts,
       d.lag_amount, d.lag_unit, d.condition::text, w.code AS workflow, d.run_selector, d.run_node, c.code AS calendar,
       d.expected_by
FROM process_dependency d
JOIN process b ON b.id = d.successor_id
LEFT JOIN process a ON a.id = d.predecessor_id
LEFT JOIN workflow w ON w.id = d.other_workflow_id
LEFT JOIN calendar c ON c.id = d.selector_calendar_id
WHERE d.version_id = :id ORDER BY b.rank, a.rank, w.code, d.other_process, d.edge_type
"""
)
_JSON = ("parameters", "approval_levels", "candidates", "evidence", "checklist", "questions", "wait")


async def read_definition(uow: UnitOfWork, version_id: UUID) -> WorkflowDefinition:
    """Read a version whole, in four statements. Raises NotFound."""
    head = (await uow.execute(READ_WORKFLOW, {"id": version_id})).mappings().first()
    if head is None:
        raise NotFound("There is no such workflow version.")
    stages = (await uow.execute(READ_STAGES, {"id": version_id})).mappings().all()
    processes: defaultdict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in (await uow.execute(READ_PROCESSES, {"id": version_id})).mappings():
        processes[row["stage_id"]].append(_process(dict(row)))
    built: dict[UUID, dict[str, Any]] = {}
    top: list[dict[str, Any]] = []
    for stage in stages:
        data: dict[str, Any] = {"code": stage["code"], "label": stage["label"], "deadline": stage["deadline"]}
        data |= {"processes": processes[stage["id"]], "stages": []}
        built[stage["id"]] = data
        (built[stage["parent_id"]]["stages"] if stage["parent_id"] else top).append(data)
    dependencies = (await uow.execute(READ_DEPENDENCIES, {"id": version_id})).mappings().all()
    return read_workflow({**head, "stages": top, "dependencies": [_dependency(dict(edge)) for edge in dependencies]})


def _dependency(row: dict[str, Any]) -> dict[str, Any]:
    amount, unit = row.pop("lag_amount"), row.pop("lag_unit")
    if amount is not None:
        row["lag"] = {"amount": amount, "unit": unit}
    row["condition"] = orjson.loads(row["condition"]) if row["condition"] else None
    return row


def _process(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "stage_id"):
        row.pop(name)
    for name in _JSON:
        value = row.pop(name)
        if value is not None:
            row[name] = orjson.loads(value)
    retry = {name: row.pop(name) for name in ("max_attempts", "backoff_seconds")}
    row["retry"] = {name: value for name, value in retry.items() if value is not None}  # none: only workers retry
    for name in ("warn_minutes", "expected_minutes"):
        if row[name] is None:
            row.pop(name)
    return row
