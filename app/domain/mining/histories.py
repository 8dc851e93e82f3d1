"""What happened to each record or run, one case after the other: the source of every log that is written."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from models.schema import FieldType

Between = tuple[datetime | None, datetime | None]
HIDDEN = frozenset({FieldType.SECRET, FieldType.LINES, FieldType.JSON})


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """`transition`: the XES standard's word for what the activity did at that moment, `complete` by default."""

    activity: str
    at: datetime
    resource: str | None
    transition: str = "complete"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    objects: tuple[tuple[str, str, str], ...] = ()  # other objects it is about: type, id, name


@dataclass(frozen=True, slots=True)
class CaseHistory:
    """`name` is unique within a log."""

    type: str
    id: str
    name: str
    attributes: Mapping[str, Any]
    events: tuple[HistoryEvent, ...]


_PERIOD = (
    "(CAST(:since AS timestamptz) IS NULL OR {at} >= :since) AND (CAST(:until AS timestamptz) IS NULL OR {at} < :until)"
)
# The record itself comes with the first of its events only.
_STEPS = """
SELECT t.record_id AS case_id, t.title, t.label AS activity, t.at, t.actor_name AS resource, t.name AS step,
       t.from_state, t.to_state, t.comment,
       CASE WHEN row_number() OVER mine = 1 THEN to_jsonb(r) END AS record,
       min(t.sequence) OVER (PARTITION BY t.record_id) AS began
FROM record_transition t LEFT JOIN {table} r ON r.id = t.record_id
WHERE t.record_entity = :entity AND {period}
WINDOW mine AS (PARTITION BY t.record_id ORDER BY t.sequence)
ORDER BY began, t.sequence
"""
_ENTRIES = """
SELECT a.record_id AS case_id, NULL AS title, a.command AS activity, a.at, a.actor_name AS resource, a.command AS step,
       NULL AS from_state, NULL AS to_state, a.reason AS comment,
       CASE WHEN row_number() OVER mine = 1 THEN to_jsonb(r) END AS record,
       min(a.sequence) OVER (PARTITION BY a.record_id) AS began
FROM audit_entry a LEFT JOIN {table} r ON r.id = a.record_id
WHERE a.entity = :entity AND a.record_id IS NOT NULL AND a.outcome = 'ok' AND {period}
WINDOW mine AS (PARTITION BY a.record_id ORDER BY a.sequence)
ORDER BY began, a.sequence
"""
_RUNS = text(
    f"""
SELECT r.id AS case_id, r.reference, r.label, r.business_date, r.variant, r.state AS run_state, v.number AS version,
       p.id AS process_id, p.code, p.label AS activity, p.kind, s.label AS stage, t.name AS step, t.from_state,
       t.to_state, t.round, t.level, coalesce(u.name, 'Engine') AS resource, t.at, t.reason AS comment
FROM process_transition t
JOIN process_run p ON p.id = t.process_run_id
JOIN stage_run s ON s.id = p.stage_run_id
JOIN workflow_run r ON r.id = p.run_id
JOIN workflow w ON w.id = r.workflow_id AND w.code = :workflow
JOIN workflow_version v ON v.id = r.version_id
LEFT JOIN app_user u ON u.id = t.actor_id
WHERE {_PERIOD.format(at="t.at")}
ORDER BY r.business_date, r.id, t.at, t.id
"""
)

# The engine's transitions in the words of the XES lifecycle extension.
_STANDARD = {
    "release": "schedule", "claim": "assign", "assign": "assign", "start": "start", "begin": "start",
    "submit": "complete", "finish": "complete", "approve": "complete", "reject": "reassign", "hold": "suspend",
    "resume": "resume", "skip": "manualskip", "cancel": "ate_abort", "fail": "pi_abort", "retry": "reassign",
}  # fmt: skip


async def record_histories(uow: UnitOfWork, entity_name: str, between: Between) -> AsyncIterator[CaseHistory]:
    """The steps of each record; of an entity without a lifecycle, what the audit trail says of it."""
    entity, table = uow.registry.entity(entity_name), uow.table(entity_name)
    sql, at = (_STEPS, "t.at") if entity.lifecycle else (_ENTRIES, "a.at")
    # The name of the table comes from the metadata.
    statement = text(sql.format(table=table.fullname, period=_PERIOD.format(at=at)))
    shown = [
        f
        for f in entity.fields
        if f.type not in HIDDEN and f.access_group != "internal" and f.type is not FieldType.COMPUTED
    ]
    names: dict[str, Any] = {}
    async for rows in _by_case(uow, statement, {"entity": entity_name, **_values(between)}):
        first = rows[0]
        record = first["record"] or {}
        title = str(first["title"] or record.get(entity.title_field) or first["case_id"])
        if names.setdefault(title, first["case_id"]) != first["case_id"]:
            title = f"{title} ({first['case_id']})"
        attributes = {f.name: record[f.column] for f in shown if record.get(f.column) is not None}
        yield CaseHistory(entity_name, str(first["case_id"]), title, attributes, tuple(map(_step_event, rows)))


def _step_event(row: Mapping[str, Any]) -> HistoryEvent:
    named = {
        "step": row["step"],
        "from_state": row["from_state"],
        "to_state": row["to_state"],
        "comment": row["comment"],
    }
    attributes = {name: value for name, value in named.items() if value is not None}
    return HistoryEvent(row["activity"], row["at"], row["resource"], attributes=attributes)


async def run_histories(uow: UnitOfWork, workflow: str, between: Between) -> AsyncIterator[CaseHistory]:
    """Every transition of every process of each run. Raises NotFound."""
    if await uow.scalar(text("SELECT id FROM workflow WHERE code = :code"), {"code": workflow}) is None:
        raise NotFound(f"There is no workflow {workflow}.")
    async for rows in _by_case(uow, _RUNS, {"workflow": workflow, **_values(between)}):
        run = rows[0]
        attributes = {
            "label": run["label"],
            "business_date": run["business_date"].isoformat(),
            "variant": run["variant"],
            "state": run["run_state"],
            "version": run["version"],
        }
        events = tuple(map(_process_event, rows))
        yield CaseHistory("workflow_run", str(run["case_id"]), run["reference"], attributes, events)


def _process_event(row: Mapping[str, Any]) -> HistoryEvent:
    names = ("code", "kind", "stage", "step", "from_state", "to_state", "round", "level", "comment")
    attributes = {name: row[name] for name in names if row[name] is not None}
    about = (("process_run", str(row["process_id"]), row["activity"]),)
    transition = _STANDARD.get(row["step"], "unknown")
    return HistoryEvent(row["activity"], row["at"], row["resource"], transition, attributes, about)


async def _by_case(
    uow: UnitOfWork, statement: TextClause, values: Mapping[str, Any]
) -> AsyncIterator[list[Mapping[str, Any]]]:
    """The rows of each case together; one case is in memory at a time."""
    rows: list[Mapping[str, Any]] = []
    async with uow.connection.stream(statement, values) as result:
        async for row in result.mappings():
            if rows and row["case_id"] != rows[0]["case_id"]:
                yield rows
                rows = []
            rows.append(dict(row))
    if rows:
        yield rows


def _values(between: Between) -> dict[str, datetime | None]:
    return {"since": between[0], "until": between[1]}
