"""What was put into one process run and done to it: evidence, answers, audit entries, jobs; and what is beside it.

One statement, because a page shows all of it. The caller has read the process run under its actor's scope.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, literal, select, text, tuple_

from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.fields import readable_fields
from app.domain.access.scope import scope
from app.domain.workflow.process_row import ProcessRow

MOST_ENTRIES = 200
MOST_JOBS = 20

_FILES = text(
    """
(SELECT coalesce(jsonb_agg(jsonb_build_object(
    'id', f.id, 'purpose', f.purpose, 'name', f.name, 'versions',
    (SELECT jsonb_agg(jsonb_build_object('number', v.number, 'sha256', v.sha256, 'size', v.size, 'by', u.name,
                                         'by_id', v.created_by, 'at', v.created_at) ORDER BY v.number DESC)
     FROM file_version v LEFT JOIN app_user u ON u.id = v.created_by WHERE v.file_id = f.id)
    ) ORDER BY f.name, f.id), '[]')
 FROM file f
 WHERE f.record_entity = 'process_run' AND f.record_id = :id AND f.deleted_at IS NULL)::text AS files
"""
)
_EVIDENCE = text(
    """
(SELECT coalesce(jsonb_agg(jsonb_build_object('code', e.code, 'label', e.label, 'mandatory', e.mandatory,
                                              'file_types', e.file_types) ORDER BY e.position), '[]')
 FROM process_evidence e WHERE e.parent_id = :process_id)::text AS evidence
"""
)
_ANSWERS = text(
    """
(SELECT coalesce(jsonb_object_agg(x.item, jsonb_build_object('by', u.name, 'by_id', x.actor_id, 'at', x.at)), '{}')
 FROM checklist_answer x LEFT JOIN app_user u ON u.id = x.actor_id WHERE x.process_run_id = :id)::text AS answers
"""
)
_ENTRIES = text(
    """
(SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM (
    SELECT a.sequence, a.at, a.actor_id AS by_id, a.actor_name AS by, a.command, a.before, a.after, a.reason
    FROM audit_entry a
    WHERE a.entity = 'process_run' AND a.record_id = :id AND a.outcome = 'ok' AND a.command NOT LIKE 'transition:%'
    ORDER BY a.sequence DESC LIMIT :most_entries) t)::text AS entries
"""
)
_JOBS = text(
    """
(SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM (
    SELECT j.id, j.function, j.state, j.attempt, j.max_attempts, j.error, j.output_fingerprint, j.started_at,
           j.finished_at,
           (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'number', k.number, 'state', k.state, 'worker', k.worker, 'started_at', k.started_at,
                'finished_at', k.finished_at, 'error', k.error, 'log', k.log) ORDER BY k.number DESC), '[]')
            FROM job_attempt k WHERE k.job_run_id = j.id) AS attempts
    FROM job_run j WHERE j.process_run_id = :id ORDER BY j.created_at DESC, j.id DESC LIMIT :most_jobs) t)::text AS jobs
"""
)
_RESULTS = text(
    """
(SELECT coalesce(jsonb_agg(jsonb_build_object('id', q.id, 'label', q.label, 'result', j.result) ORDER BY q.rank), '[]')
 FROM process_edge e JOIN process_run q ON q.id = e.predecessor_id AND q.kind = 'automatic'
 CROSS JOIN LATERAL (SELECT k.result FROM job_run k WHERE k.process_run_id = q.id AND k.state = 'succeeded'
                     ORDER BY k.id DESC LIMIT 1) j
 WHERE e.successor_id = :id)::text AS results
"""
)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who did something and when; without an id the platform itself."""

    by: str | None
    by_id: UUID | None
    at: datetime


@dataclass(frozen=True, slots=True)
class FileVersion:
    number: int
    sha256: str
    size: int
    added: Stamp


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file of the process, the latest version first."""

    id: UUID
    purpose: str | None
    name: str
    versions: tuple[FileVersion, ...]


@dataclass(frozen=True, slots=True)
class WantedEvidence:
    code: str
    label: str
    mandatory: bool
    file_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """An audit entry that is no transition: a tick, a draft, a field."""

    sequence: int
    done: Stamp
    command: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    reason: str | None


@dataclass(frozen=True, slots=True)
class JobAttempt:
    number: int
    state: str
    worker: str | None
    started_at: datetime
    finished_at: datetime | None
    error: str | None
    log: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ProcessJob:
    id: UUID
    function: str
    state: str
    attempt: int
    max_attempts: int
    error: str | None
    output_fingerprint: str | None
    started_at: datetime | None
    finished_at: datetime | None
    attempts: tuple[JobAttempt, ...]


@dataclass(frozen=True, slots=True)
class PredecessorResult:
    """What the job of an automatic predecessor reported."""

    process_run_id: UUID
    label: str
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    files: tuple[AttachedFile, ...]
    evidence: tuple[WantedEvidence, ...]
    answers: Mapping[str, Stamp]
    entries: tuple[Entry, ...]
    jobs: tuple[ProcessJob, ...]
    results: tuple[PredecessorResult, ...]
    previous_id: UUID | None
    next_id: UUID | None


async def process_record(uow: UnitOfWork, row: ProcessRow, *, rank: int) -> ProcessRecord:
    """Read it in one statement. What the actor may not read of it, such as files, is left out."""
    statement = select(
        _FILES if _may_read(uow, "file") else _nothing("files"),
        _EVIDENCE,
        _ANSWERS,
        _ENTRIES,
        _JOBS if _may_read(uow, "job_run") else _nothing("jobs"),
        _RESULTS if _may_read(uow, "job_run") else _nothing("results"),
        _beside(uow, row, rank, after=False).label("previous_id"),
        _beside(uow, row, rank, after=True).label("next_id"),
    )
    values = {"id": row.id, "process_id": row.process_id, "most_entries": MOST_ENTRIES, "most_jobs": MOST_JOBS}
    found = (await uow.execute(statement, values)).one()
    shown = {f.name for f in readable_fields(uow.resources.policy, uow.actor, uow.registry.entity("process_run"))}
    return ProcessRecord(
        files=tuple(_file(file) for file in orjson.loads(found.files)),
        evidence=tuple(_wanted(wanted) for wanted in orjson.loads(found.evidence)),
        answers={item: _stamp(answer) for item, answer in orjson.loads(found.answers).items()},
        entries=tuple(_entry(uow, entry, shown) for entry in orjson.loads(found.entries)),
        jobs=tuple(_job(job) for job in orjson.loads(found.jobs)),
        results=tuple(
            PredecessorResult(UUID(r["id"]), r["label"], r["result"])
            for r in orjson.loads(found.results)
            if isinstance(r["result"], dict) and r["result"]
        ),
        previous_id=found.previous_id,
        next_id=found.next_id,
    )


def _may_read(uow: UnitOfWork, entity: str) -> bool:
    return decide(uow.resources.policy, uow.registry, uow.actor, "read", entity) is not None


def _nothing(name: str) -> ColumnElement[Any]:
    return literal("[]").label(name)


def _beside(uow: UnitOfWork, row: ProcessRow, rank: int, *, after: bool) -> ColumnElement[Any]:
    """The next process of the run that the actor may see, or the one before."""
    table = uow.table("process_run")
    here, there = tuple_(literal(rank), literal(row.id)), tuple_(table.c.rank, table.c.id)
    order = (table.c.rank, table.c.id) if after else (table.c.rank.desc(), table.c.id.desc())
    wanted = select(table.c.id).where(table.c.run_id == row.run_id, there > here if after else there < here)
    return scope(wanted, uow, "read", "process_run").order_by(*order).limit(1).scalar_subquery()


def _stamp(values: Mapping[str, Any]) -> Stamp:
    return Stamp(values["by"], _id(values["by_id"]), datetime.fromisoformat(values["at"]))


def _id(value: str | None) -> UUID | None:
    return UUID(value) if value else None


def _at(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _file(values: Mapping[str, Any]) -> AttachedFile:
    versions = tuple(FileVersion(v["number"], v["sha256"], v["size"], _stamp(v)) for v in values["versions"] or ())
    return AttachedFile(UUID(values["id"]), values["purpose"], values["name"], versions)


def _wanted(values: Mapping[str, Any]) -> WantedEvidence:
    types = tuple(part.strip().lower().lstrip(".") for part in (values["file_types"] or "").split(",") if part.strip())
    return WantedEvidence(values["code"], values["label"], values["mandatory"], types)


def _entry(uow: UnitOfWork, values: Mapping[str, Any], shown: set[str]) -> Entry:
    entity = uow.registry.entity("process_run")

    def visible(changed: Mapping[str, Any] | None) -> dict[str, Any]:
        return {n: v for n, v in (changed or {}).items() if n in shown or not entity.has_field(n)}

    return Entry(
        values["sequence"],
        _stamp(values),
        values["command"],
        visible(values["before"]),
        visible(values["after"]),
        values["reason"],
    )


def _job(values: Mapping[str, Any]) -> ProcessJob:
    attempts = tuple(
        JobAttempt(
            a["number"],
            a["state"],
            a["worker"],
            datetime.fromisoformat(a["started_at"]),
            _at(a["finished_at"]),
            a["error"],
            tuple(a["log"] or ()),
        )
        for a in values["attempts"]
    )
    return ProcessJob(
        UUID(values["id"]),
        values["function"],
        values["state"],
        values["attempt"],
        values["max_attempts"],
        values["error"],
        values["output_fingerprint"],
        _at(values["started_at"]),
        _at(values["finished_at"]),
        attempts,
    )
