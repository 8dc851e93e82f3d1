"""Publishing a draft: checked by the linter, given a digest, and from then on never changed."""

import hashlib
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select, text

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from app.core.events import RecordCreated, RecordUpdated
from app.core.findings import Finding, Severity
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.definitions import WorkflowDefinition
from app.domain.workflow.events import VersionPublished
from app.domain.workflow.linter import lint
from app.domain.workflow.surroundings import surroundings_of

LOCK_VERSION = text(
    """
SELECT v.state, v.number, w.id AS workflow_id, w.code FROM workflow w JOIN workflow_version v ON v.workflow_id = w.id
WHERE v.id = :id FOR UPDATE OF w, v
"""
)
RETIRE = text(
    """
UPDATE workflow_version SET state = 'retired', row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE workflow_id = :workflow_id AND state = 'published'
"""
)
PUBLISH = text(
    """
UPDATE workflow_version SET
    state = 'published', digest = :digest, notes = coalesce(:notes, notes), published_at = :now,
    published_by_id = :user_id, row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE id = :id
"""
)


async def check_version(uow: UnitOfWork, *, version_id: UUID) -> list[Finding]:
    """What the linter says about a version, errors first."""
    authorize(uow, "read", "workflow_version")
    return await _findings(uow, await read_definition(uow, version_id))


async def publish(uow: UnitOfWork, *, version_id: UUID, notes: str | None = None) -> str:
    """Make the draft the version that new runs are made from; the one before it retires. Returns the digest.

    Raises:
        Conflict: it is no draft.
        ValidationFailed: the linter has found errors; each problem is one, with its place and what to do.
    """
    decision = authorize(uow, "configure", "workflow_version")
    row = (await uow.execute(LOCK_VERSION, {"id": version_id})).first()
    if row is None:
        raise NotFound("There is no such workflow version.")
    if row.state != "draft":
        raise Conflict(f"Version {row.number} of {row.code} is {row.state}; only a draft can be published.")
    definition = await read_definition(uow, version_id)
    findings = await _findings(uow, definition)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        problems = [FieldProblem(f.place or "workflow", f"{f.message} {f.satisfy}", f.rule) for f in errors]
        raise ValidationFailed(problems)
    digest = definition_digest(definition)
    by = uow.actor.id
    await uow.execute(RETIRE, {"workflow_id": row.workflow_id, "now": uow.now, "by": by})
    user_id = None if uow.actor.is_system else by
    values: dict[str, Any] = {"id": version_id, "digest": digest, "notes": notes, "now": uow.now, "by": by}
    await uow.execute(PUBLISH, {**values, "user_id": user_id})
    uow.emit(VersionPublished(at=uow.now, workflow_id=row.workflow_id, version_id=version_id))
    uow.touch("workflows", f"workflow:{row.workflow_id}")
    uow.audit(
        AuditEntry(
            command="publish",
            entity="workflow_version",
            record_id=version_id,
            before={"state": "draft"},
            after={"state": "published", "number": row.number, "digest": digest},
            reason=notes,
            context={"workflow": row.code, "warnings": len(findings)},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return digest


def definition_digest(definition: WorkflowDefinition) -> str:
    """SHA-256 of the definition: equal definitions have equal digests."""
    return hashlib.sha256(orjson.dumps(definition.plain(), option=orjson.OPT_SORT_KEYS)).hexdigest()


async def _findings(uow: UnitOfWork, definition: WorkflowDefinition) -> list[Finding]:
    return lint(definition, await surroundings_of(uow, definition))


_IN_A_VERSION = frozenset({"stage", "process", "process_dependency"})


async def refuse_change_of_published(uow: UnitOfWork, event: RecordCreated | RecordUpdated) -> None:
    """Hold back what would change a published version through the general forms and the API.

    Raises:
        Conflict: the record is part of a version that is not a draft.
    """
    if event.entity not in _IN_A_VERSION:
        return
    table, versions = uow.table(event.entity), uow.table("workflow_version")
    statement = select(versions.c.number, versions.c.state).join(table, table.c.version_id == versions.c.id)
    row = (await uow.execute(statement.where(table.c.id == event.record_id))).first()
    if row is not None and row.state != "draft":
        raise Conflict(
            f"Version {row.number} is {row.state} and never changes; make a new draft of it and change that."
        )
