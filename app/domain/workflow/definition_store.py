"""Workflow definitions in rows: a draft is written whole, any version is read back whole."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import bindparam, delete, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.definitions import ProcessDefinition, StageDefinition, Wait, WaitKind, WorkflowDefinition
from models.base import uuid7

UPSERT_WORKFLOW = text(
    """
INSERT INTO workflow (id, code, label, application_id, calendar_id, node_id, description, active,
                      created_at, created_by, updated_at, updated_by)
VALUES (:id, :code, :label, :application_id, :calendar_id, :node_id, :description, true, :now, :by, :now, :by)
ON CONFLICT (code) DO UPDATE SET
    label = excluded.label, application_id = excluded.application_id, calendar_id = excluded.calendar_id,
    node_id = excluded.node_id, description = excluded.description, row_version = workflow.row_version + 1,
    updated_at = excluded.updated_at, updated_by = excluded.updated_by
RETURNING id
"""
)
# The workflow's row is locked by the upsert, so two saves of the same draft come one after the other.
FIND_DRAFT = text(
    """
SELECT (SELECT id FROM workflow_version WHERE workflow_id = :workflow_id AND state = 'draft') AS draft_id,
       (SELECT coalesce(max(number), 0) + 1 FROM workflow_version WHERE workflow_id = :workflow_id) AS next_number
"""
)
_CODES = ("nodes", "workflows", "calendars", "groups", "users", "rules")
FIND_NAMES = text(
    """
SELECT (SELECT id FROM application WHERE code = :application) AS application_id,
       (SELECT id FROM calendar WHERE code = :calendar) AS calendar_id,
       (SELECT coalesce(jsonb_object_agg(n.code, n.id), '{}')
        FROM hierarchy_node n JOIN hierarchy h ON h.id = n.hierarchy_id
        WHERE h.code = :hierarchy AND n.code = ANY (:nodes))::text AS nodes,
       (SELECT coalesce(jsonb_object_agg(code, id), '{}')
        FROM workflow WHERE code = ANY (:workflows))::text AS workflows,
       (SELECT coalesce(jsonb_object_agg(code, id), '{}')
        FROM calendar WHERE code = ANY (:calendars))::text AS calendars,
       (SELECT coalesce(jsonb_object_agg(code, id), '{}') FROM user_group WHERE code = ANY (:groups))::text AS groups,
       (SELECT coalesce(jsonb_object_agg(code, id), '{}') FROM rule WHERE code = ANY (:rules))::text AS rules,
       (SELECT coalesce(jsonb_object_agg(email, id), '{}')
        FROM app_user WHERE email = ANY (:users) AND deleted_at IS NULL)::text AS users
"""
).bindparams(*(bindparam(name, type_=ARRAY(TEXT)) for name in _CODES))


async def save_draft(uow: UnitOfWork, *, definition: WorkflowDefinition, notes: str | None = None) -> UUID:
    """Write the definition as the workflow's draft, in place of the draft there is; return the version's id.

    Raises:
        ValidationFailed: it names an application, calendar, node or process that does not exist, or a code twice.
    """
    decision = authorize(uow, "configure", "workflow_version")
    named = await _resolve(uow, definition)
    workflow_id = await uow.scalar(
        UPSERT_WORKFLOW,
        {
            "id": uuid7(),
            "code": definition.code,
            "label": definition.label,
            "application_id": named.application_id,
            "calendar_id": named.calendar_id,
            "node_id": named.node(definition.node),
            "description": definition.description,
            "now": uow.now,
            "by": uow.actor.id,
        },
    )
    version_id = await _empty_draft(uow, workflow_id, notes)
    named.workflows[definition.code] = workflow_id  # a process may wait for an earlier run of its own workflow
    await _insert_content(uow, version_id, definition, named)
    uow.touch("workflows", f"workflow:{workflow_id}")
    uow.audit(
        AuditEntry(
            command="save_draft",
            entity="workflow_version",
            record_id=version_id,
            after={"workflow": definition.code, "processes": sum(1 for _ in definition.processes())},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return version_id


async def new_draft_from(uow: UnitOfWork, *, version_id: UUID) -> UUID:
    """Copy a version, published or not, to a new draft; return its id.

    Raises:
        Conflict: the workflow has a draft already.
    """
    authorize(uow, "configure", "workflow_version")
    definition = await read_definition(uow, version_id)
    versions = uow.table("workflow_version")
    workflow_id = select(versions.c.workflow_id).where(versions.c.id == version_id).scalar_subquery()
    drafts = select(versions.c.id).where(versions.c.workflow_id == workflow_id, versions.c.state == "draft")
    if await uow.scalar(drafts) is not None:
        raise Conflict(f"{definition.label} has a draft already; publish or discard it first.")
    return await save_draft(uow, definition=definition)


async def discard_draft(uow: UnitOfWork, *, version_id: UUID) -> None:
    """Delete a draft with its stages, processes and dependencies.

    Raises:
        Conflict: it has been published; a published version never changes.
    """
    decision = authorize(uow, "configure", "workflow_version")
    versions = uow.table("workflow_version")
    state = await uow.scalar(select(versions.c.state).where(versions.c.id == version_id).with_for_update())
    if state is None:
        raise NotFound("There is no such workflow version.")
    if state != "draft":
        raise Conflict(
            "This version has been published: it never changes and is never deleted. Make a new draft of it."
        )
    await uow.execute(delete(versions).where(versions.c.id == version_id))
    uow.touch("workflows")
    uow.audit(
        AuditEntry(
            command="discard_draft",
            entity="workflow_version",
            record_id=version_id,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )


class _Named:
    """What the codes in a definition stand for."""

    def __init__(
        self,
        *,
        application_id: UUID,
        calendar_id: UUID,
        nodes: Mapping[str, UUID],
        workflows: dict[str, UUID],
        calendars: Mapping[str, UUID],
        groups: Mapping[str, UUID],
        users: Mapping[str, UUID],
        rules: Mapping[str, UUID],
    ) -> None:
        self.application_id = application_id
        self.calendar_id = calendar_id
        self.nodes = nodes
        self.workflows = workflows
        self.calendars = calendars
        self.groups = groups
        self.users = users
        self.rules = rules

    def node(self, code: str | None) -> UUID | None:
        return None if code is None else self.nodes[code]


async def _resolve(uow: UnitOfWork, definition: WorkflowDefinition) -> _Named:
    used = {p.node for p, _ in definition.processes() if p.node} | ({definition.node} if definition.node else set())
    values = {
        "application": definition.application,
        "calendar": definition.calendar,
        "hierarchy": definition.node_hierarchy,
        "nodes": sorted(used),
        "workflows": sorted({edge.workflow for edge in definition.dependencies if edge.workflow}),
        "calendars": sorted({edge.calendar for edge in definition.dependencies if edge.calendar}),
        "groups": sorted({code for _, code in _groups(definition)}),
        "users": sorted({email for process, _ in definition.processes() for email in process.candidates.users}),
        "rules": sorted({process.rule for process, _ in definition.processes() if process.rule}),
    }
    row = (await uow.execute(FIND_NAMES, values)).one()
    application_id, calendar_id = row.application_id, row.calendar_id
    nodes, workflows, calendars = (_ids(found) for found in (row.nodes, row.workflows, row.calendars))
    groups, users, rules = _ids(row.groups), _ids(row.users), _ids(row.rules)
    problems = list(_inconsistent(definition))
    problems += [
        FieldProblem(f"process {process}.group", f"There is no user group {code}; create it first.", "unknown")
        for process, code in _groups(definition)
        if code not in groups
    ]
    problems += [
        FieldProblem(f"process {process.code}.candidates", f"There is no user {email}.", "unknown")
        for process, _ in definition.processes()
        for email in process.candidates.users
        if email not in users
    ]
    problems += [
        FieldProblem(f"process {process.code}.rule", f"There is no rule {process.rule}; create it first.", "unknown")
        for process, _ in definition.processes()
        if process.rule and process.rule not in rules
    ]
    for number, edge in enumerate(definition.dependencies):
        if edge.workflow is not None and edge.workflow not in {*workflows, definition.code}:
            detail = f"There is no workflow {edge.workflow}; create it first."
            problems.append(FieldProblem(f"dependencies.{number}.workflow", detail, "unknown"))
        if edge.calendar is not None and edge.calendar not in calendars:
            detail = f"There is no calendar {edge.calendar}."
            problems.append(FieldProblem(f"dependencies.{number}.calendar", detail, "unknown"))
    if application_id is None:
        problems.append(FieldProblem("application", f"There is no application {definition.application}.", "unknown"))
    if calendar_id is None:
        problems.append(FieldProblem("calendar", f"There is no calendar {definition.calendar}.", "unknown"))
    hierarchy = definition.node_hierarchy or "(none: say node_hierarchy)"
    problems += [
        FieldProblem("node", f"There is no node {code} in the hierarchy {hierarchy}.", "unknown")
        for code in sorted(used - nodes.keys())
    ]
    if problems:
        raise ValidationFailed(problems)
    return _Named(
        application_id=application_id,
        calendar_id=calendar_id,
        nodes=nodes,
        workflows=workflows,
        calendars=calendars,
        groups=groups,
        users=users,
        rules=rules,
    )


def _groups(definition: WorkflowDefinition) -> list[tuple[str, str]]:
    """Each process with a group that it names."""
    return [
        (process.code, code)
        for process, _ in definition.processes()
        for code in (*process.candidates.groups, *(level.group for level in process.approval_levels if level.group))
    ]


def _ids(json_text: str) -> dict[str, UUID]:
    return {code: UUID(id_) for code, id_ in orjson.loads(json_text).items()}


def _inconsistent(definition: WorkflowDefinition) -> Iterable[FieldProblem]:
    processes = [process.code for process, _ in definition.processes()]
    stages = [stage.code for stage, _ in definition.walk()]
    for what, codes in (("process", processes), ("stage", stages)):
        for code, count in Counter(codes).items():
            if count > 1:
                yield FieldProblem(f"{what} {code}", f"{count} of them have this code; give each its own.", "duplicate")
    known = set(processes)
    edges: Counter[tuple[str, str, str]] = Counter()
    for number, edge in enumerate(definition.dependencies):
        place = f" of {edge.workflow} ({edge.run_selector})" if edge.workflow else ""
        edges[f"{edge.predecessor}{place}", edge.successor, edge.type] += 1
        for side, code in (("from", edge.predecessor), ("to", edge.successor)):
            if code not in known and (edge.within or side == "to"):
                yield FieldProblem(f"dependencies.{number}.{side}", f"There is no process {code}.", "unknown")
        if edge.predecessor == edge.successor and edge.within:
            yield FieldProblem(f"dependencies.{number}", f"{edge.predecessor} cannot wait for itself.", "cycle")
    for (before, after, type_), count in edges.items():
        if count > 1:
            detail = f"{after} depends on {before} {count} times as {type_}; keep one."
            yield FieldProblem("dependencies", detail, "duplicate")


async def _empty_draft(uow: UnitOfWork, workflow_id: UUID, notes: str | None) -> UUID:
    row = (await uow.execute(FIND_DRAFT, {"workflow_id": workflow_id})).one()
    if row.draft_id is not None:
        for entity in ("process_dependency", "process", "stage"):
            table = uow.table(entity)
            await uow.execute(delete(table).where(table.c.version_id == row.draft_id))
        draft: UUID = row.draft_id
        return draft
    version_id = uuid7()
    version = {
        "id": version_id,
        "workflow_id": workflow_id,
        "number": row.next_number,
        "state": "draft",
        "notes": notes,
    }
    await uow.execute(insert(uow.table("workflow_version")).values({**version, **_stamp(uow)}))
    return version_id


async def _insert_content(uow: UnitOfWork, version_id: UUID, definition: WorkflowDefinition, named: _Named) -> None:
    rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    stage_ids = _stages(rows, version_id, definition)
    process_ids: dict[str, UUID] = {}
    for rank, (process, stage) in enumerate(definition.processes(), start=1):
        process_ids[process.code] = uuid7()
        _process(rows, process, process_ids[process.code], named)
        place = {"version_id": version_id, "stage_id": stage_ids[stage.code], "rank": rank}
        rows["process"][-1] |= place | {"node_id": named.node(process.node)}
    for edge in definition.dependencies:
        rows["process_dependency"].append(
            {
                "id": uuid7(),
                "version_id": version_id,
                "predecessor_id": process_ids[edge.predecessor] if edge.within else None,
                "successor_id": process_ids[edge.successor],
                "edge_type": edge.type.value,
                "hardness": edge.hardness.value,
                "accepts": list(edge.accepts),
                "lag_amount": edge.lag.amount if edge.lag else None,
                "lag_unit": edge.lag.unit.value if edge.lag else None,
                "condition": edge.condition,
                "other_workflow_id": named.workflows[edge.workflow] if edge.workflow else None,
                "other_process": edge.predecessor if edge.workflow else None,
                "run_selector": edge.run_selector.value if edge.run_selector else None,
                "run_node": edge.run_node.value if edge.run_node else None,
                "selector_calendar_id": named.calendars[edge.calendar] if edge.calendar else None,
                "expected_by": edge.expected_by,
            }
        )
    stamp = _stamp(uow)
    order = ("stage", "process", "process_approval_level", "process_candidate", "process_evidence",
             "process_checklist_item", "process_question", "process_dependency")  # fmt: skip
    for entity in order:
        if rows[entity]:
            await uow.execute(insert(uow.table(entity)), [{**row, **stamp} for row in rows[entity]])


def _stages(
    rows: defaultdict[str, list[dict[str, Any]]], version_id: UUID, definition: WorkflowDefinition
) -> dict[str, UUID]:
    ids: dict[str, UUID] = {}
    paths: dict[str, str] = {}
    for rank, (stage, above) in enumerate(definition.walk(), start=1):
        ids[stage.code] = uuid7()
        parent: StageDefinition | None = above[-1] if above else None
        label = ids[stage.code].hex
        paths[stage.code] = f"{paths[parent.code]}.{label}" if parent else label
        rows["stage"].append(
            {
                "id": ids[stage.code],
                "version_id": version_id,
                "parent_id": ids[parent.code] if parent else None,
                "path": paths[stage.code],
                "code": stage.code,
                "label": stage.label,
                "rank": rank,
                "deadline": stage.deadline,
            }
        )
    return ids


def _process(
    rows: defaultdict[str, list[dict[str, Any]]], process: ProcessDefinition, id_: UUID, named: _Named
) -> None:
    plain = ("code", "label", "owner_role", "action", "instructions", "deadline", "earliest_start", "warn_minutes",
             "expected_minutes", "critical", "require_comment", "skip_allowed", "skip_second_person")  # fmt: skip
    rows["process"].append(
        {
            "id": id_,
            "kind": process.kind.value,
            "parameters": process.parameters or None,
            "max_attempts": process.retry.max_attempts,
            "backoff_seconds": process.retry.backoff_seconds,
            "rule_id": named.rules[process.rule] if process.rule else None,
            **_wait(process.wait),
            **{name: getattr(process, name) for name in plain},
        }
    )
    for position, level in enumerate(process.approval_levels):
        rows["process_approval_level"].append(
            _line(id_, position)
            | {
                "level": level.level,
                "role": level.role,
                "user_group_id": named.groups[level.group] if level.group else None,
                "needed": level.needed,
                "deadline": level.deadline,
            }
        )
    candidates: list[tuple[UUID | None, UUID | None]] = [
        (named.groups[code], None) for code in process.candidates.groups
    ]
    candidates += [(None, named.users[email]) for email in process.candidates.users]
    for position, (group_id, user_id) in enumerate(candidates):
        rows["process_candidate"].append(_line(id_, position) | {"user_group_id": group_id, "user_id": user_id})
    for position, wanted in enumerate(process.evidence):
        rows["process_evidence"].append(
            _line(id_, position)
            | {
                "code": wanted.code,
                "label": wanted.label,
                "mandatory": wanted.required,
                "file_types": ",".join(wanted.file_types),
                "min_count": wanted.min_count,
                "min_rows": wanted.min_rows,
                "tie_column": wanted.tie_column,
                "tie_figure": wanted.tie_figure,
            }
        )
    for position, item in enumerate(process.checklist):
        rows["process_checklist_item"].append(
            _line(id_, position) | {"code": item.code, "label": item.label, "mandatory": item.required}
        )
    for position, question in enumerate(process.questions):
        rows["process_question"].append(
            _line(id_, position)
            | {
                "code": question.code,
                "label": question.label,
                "answer_type": question.type.value,
                "mandatory": question.required,
                "options": ",".join(question.options) or None,
                "expected": question.expected,
            }
        )


def _wait(wait: Wait | None) -> dict[str, Any]:
    """Columns of every process, so that all rows have the same."""
    return {
        "wait_kind": wait.kind.value if wait else None,
        "wait_from": wait.source if wait and wait.kind is WaitKind.FILE else None,
        "wait_folder": wait.folder if wait else None,
        "wait_pattern": wait.pattern if wait else None,
        "wait_event": wait.event if wait else None,
        "wait_condition": wait.condition if wait else None,
        "wait_until": wait.until if wait else None,
        "accept_early": wait.early if wait else False,
    }


def _line(parent_id: UUID, position: int) -> dict[str, Any]:
    return {"id": uuid7(), "parent_id": parent_id, "position": position}


def _stamp(uow: UnitOfWork) -> dict[str, Any]:
    at, by = uow.now, uow.actor.id
    return {"created_at": at, "created_by": by, "updated_at": at, "updated_by": by}
