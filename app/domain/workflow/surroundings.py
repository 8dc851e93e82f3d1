"""What the linter has to know of the world outside a definition, read from the database."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from app.core.filters import FilterError, parse
from app.core.uow import UnitOfWork
from app.domain.jobs.execute import ACTIONS
from app.domain.workflow.definitions import Dependency, WorkflowDefinition
from app.domain.workflow.findings import OtherWorkflow, RoutingRule, Surroundings
from app.domain.workflow.wait_patterns import event_entity

READ_SURROUNDINGS = text(
    """
SELECT ARRAY(SELECT code FROM role) AS roles,
       EXISTS (SELECT FROM calendar c JOIN calendar_version v ON v.calendar_id = c.id
               WHERE c.code = :calendar AND v.state = 'published') AS calendar_published,
       (SELECT coalesce(jsonb_object_agg(x.code, jsonb_build_object(
                   'purpose', x.purpose, 'active', x.active, 'published', EXISTS (
                       SELECT FROM rule_version y WHERE y.rule_id = x.id AND y.state = 'published'))), '{}')
        FROM rule x WHERE x.code = ANY (:rules))::text AS rules
"""
).bindparams(bindparam("rules", type_=ARRAY(TEXT)))
# The workflows that are waited for, and those that their published versions wait for, however far.
READ_OTHERS = text(
    """
WITH RECURSIVE reached AS (
    SELECT id FROM workflow WHERE code = ANY (:codes)
    UNION
    SELECT d.other_workflow_id
    FROM reached r JOIN workflow_version v ON v.workflow_id = r.id AND v.state = 'published'
    JOIN process_dependency d ON d.version_id = v.id AND d.other_workflow_id IS NOT NULL
)
SELECT w.code, w.label, v.id IS NOT NULL AS published,
       (SELECT coalesce(jsonb_object_agg(p.code, p.label), '{}') FROM process p WHERE p.version_id = v.id)::text
           AS processes,
       (SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                    'from', coalesce(a.code, d.other_process), 'to', b.code, 'type', d.edge_type,
                    'hardness', d.hardness, 'workflow', o.code, 'run_selector', d.run_selector))), '[]')
        FROM process_dependency d JOIN process b ON b.id = d.successor_id LEFT JOIN process a ON a.id = d.predecessor_id
        LEFT JOIN workflow o ON o.id = d.other_workflow_id WHERE d.version_id = v.id)::text AS dependencies
FROM reached r JOIN workflow w ON w.id = r.id
LEFT JOIN workflow_version v ON v.workflow_id = w.id AND v.state = 'published'
WHERE w.code <> :own
"""
).bindparams(bindparam("codes", type_=ARRAY(TEXT)))


async def surroundings_of(uow: UnitOfWork, definition: WorkflowDefinition) -> Surroundings:
    """One statement, and another where the workflow waits for others."""
    rules = sorted({process.rule for process, _ in definition.processes() if process.rule})
    row = (await uow.execute(READ_SURROUNDINGS, {"calendar": definition.calendar, "rules": rules})).one()
    actions = uow.resources.services.get(ACTIONS)
    return Surroundings(
        roles=frozenset(row.roles),
        actions=None if actions is None else frozenset(actions),
        calendar_published=row.calendar_published,
        workflows=await _others(uow, definition),
        condition_problem=condition_problem(uow),
        rules={code: RoutingRule(**found) for code, found in orjson.loads(row.rules).items()},
        event_problem=event_problem(uow),
    )


def event_problem(uow: UnitOfWork) -> Callable[[str, Mapping[str, Any] | None], str | None]:
    """A check of events that are waited for, with the filter on their record: what is wrong, None if nothing."""

    def check(event: str, condition: Mapping[str, Any] | None) -> str | None:
        entity = event_entity(event)
        if entity is None:
            return "write the entity and the name of the event, such as rate_load.confirmed, or run:CODE of a workflow"
        if entity not in uow.registry.entities:
            return f"there is no entity {entity}"
        try:
            if condition is not None:
                parse(dict(condition), uow.registry.entity(entity), uow.registry)
        except FilterError as problem:
            return str(problem.detail).rstrip(".")
        return None

    return check


def condition_problem(uow: UnitOfWork) -> Callable[[Mapping[str, Any]], str | None]:
    """A check of filters on process runs: what is wrong with one, None if nothing."""

    def check(condition: Mapping[str, Any]) -> str | None:
        try:
            parse(dict(condition), uow.registry.entity("process_run"), uow.registry)
        except FilterError as problem:
            return str(problem.detail).rstrip(".")
        return None

    return check


async def _others(uow: UnitOfWork, definition: WorkflowDefinition) -> dict[str, OtherWorkflow]:
    codes = sorted({edge.workflow for edge in definition.dependencies if edge.workflow})
    if not codes:
        return {}
    rows = await uow.execute(READ_OTHERS, {"codes": codes, "own": definition.code})
    return {
        row.code: OtherWorkflow(
            row.label,
            row.published,
            orjson.loads(row.processes),
            tuple(Dependency.model_validate(edge) for edge in orjson.loads(row.dependencies)),
        )
        for row in rows
    }
