"""The draft of a workflow: begin one, bring one in from a file, and hold it while it is changed."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import RowMapping, insert, select, text

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.definition_store import save_draft
from app.domain.workflow.package_loader import dump_workflow, load_workflow
from models.base import uuid7

# Structural changes queue here, so that the order of stages and processes is worked out by one of them at a time.
LOCK_VERSION = text(
    """
SELECT v.id, v.number, v.state, w.id AS workflow_id, w.code, w.label
FROM workflow_version v JOIN workflow w ON w.id = v.workflow_id
WHERE v.id = :id FOR NO KEY UPDATE OF v
"""
)
LOCK_WORKFLOW = text(
    """
SELECT w.id, w.label,
       (SELECT coalesce(max(number), 0) + 1 FROM workflow_version WHERE workflow_id = w.id) AS next_number
FROM workflow w WHERE w.code = :code FOR NO KEY UPDATE
"""
)
FIND_DRAFT = text(
    """
SELECT v.id, v.number FROM workflow_version v JOIN workflow w ON w.id = v.workflow_id
WHERE w.code = :code AND v.state = 'draft'
"""
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A version that may change, locked."""

    id: UUID
    number: int
    state: str
    workflow_id: UUID
    code: str
    label: str


async def lock_draft(uow: UnitOfWork, version_id: UUID) -> Draft:
    """Lock a version for a change of its structure.

    Raises:
        NotFound: there is no such version.
        Conflict: it is no draft.
    """
    row = (await uow.execute(LOCK_VERSION, {"id": version_id})).mappings().first()
    if row is None:
        raise NotFound("There is no such workflow version.")
    draft = Draft(**row)
    if draft.state != "draft":
        raise Conflict(
            f"Version {draft.number} is {draft.state} and never changes; make a new draft of it and change that."
        )
    return draft


async def lock_item(uow: UnitOfWork, entity: str, id_: UUID, expected_version: int) -> RowMapping:
    """Lock a stage, process or dependency on the version of it that somebody has seen; return its columns.

    Raises:
        NotFound: it is not there any more.
        StaleVersion: somebody has changed it since; says who and what it is called now.
    """
    table, users = uow.table(entity), uow.table("user")
    statement = select(table).where(table.c.id == id_).with_for_update()
    row = (await uow.execute(statement)).mappings().first()
    label = uow.registry.entity(entity).label.lower()
    if row is None:
        raise NotFound(f"There is no such {label} any more; somebody may have removed it.")
    if row["row_version"] != expected_version:
        who = await uow.scalar(select(users.c.name).where(users.c.id == row["updated_by"]))
        name = f"“{row['label']}”" if "label" in row else f"This {label}"
        raise StaleVersion(
            f"{name} was changed by {who or 'somebody'} after you opened it. Load it again and repeat your change.",
            context={"current_version": row["row_version"], "expected_version": expected_version},
        )
    return row


async def begin_draft(uow: UnitOfWork, *, workflow_code: str) -> UUID:
    """Begin an empty draft; return its id.

    Raises:
        NotFound: no such workflow.
        Conflict: the workflow has a draft already.
    """
    decision = authorize(uow, "configure", "workflow_version")
    workflow = (await uow.execute(LOCK_WORKFLOW, {"code": workflow_code})).first()
    if workflow is None:
        raise NotFound(f"There is no workflow {workflow_code}.")
    if (await uow.execute(FIND_DRAFT, {"code": workflow_code})).first() is not None:
        raise Conflict(f"{workflow.label} has a draft already; publish or discard it first.")
    version_id = uuid7()
    stamp = {"created_at": uow.now, "created_by": uow.actor.id, "updated_at": uow.now, "updated_by": uow.actor.id}
    values = {"id": version_id, "workflow_id": workflow.id, "number": workflow.next_number, "state": "draft", **stamp}
    await uow.execute(insert(uow.table("workflow_version")).values(values))
    uow.touch("workflows", f"workflow:{workflow.id}")
    uow.audit(
        AuditEntry(
            command="begin_draft",
            entity="workflow_version",
            record_id=version_id,
            after={"workflow": workflow_code, "number": workflow.next_number},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return version_id


async def import_draft(
    uow: UnitOfWork, *, content: str, workflow_code: str | None = None, replace_draft: bool = False
) -> UUID:
    """Make a file's definition the draft of its workflow, which comes into being if need be; return the version's id.

    Raises:
        InvalidRequest, ValidationFailed: the file cannot be read, or names what does not exist.
        Conflict: the workflow has a draft, and the caller has not said that it goes.
    """
    authorize(uow, "configure", "workflow_version")
    definition = load_workflow(content)
    if workflow_code is not None and definition.code != workflow_code:
        message = f"The file defines {definition.code}, not {workflow_code}; import it there, or correct its code."
        raise ValidationFailed([FieldProblem("file", message, "other_workflow")])
    draft = (await uow.execute(FIND_DRAFT, {"code": definition.code})).first()
    if draft is not None and not replace_draft:
        raise Conflict(
            f"{definition.label} has a draft already (version {draft.number}). Publish or discard it, or say that the "
            "file replaces it.",
            context={"draft": str(draft.id), "number": draft.number},
        )
    return await save_draft(uow, definition=definition)


async def export_definition(uow: UnitOfWork, *, version_id: UUID) -> str:
    """The whole version as YAML that `import_draft` reads back to an equal one; the export goes on record."""
    decision = authorize(uow, "read", "workflow_version")
    definition = await read_definition(uow, version_id)
    uow.audit(
        AuditEntry(
            command="export",
            entity="workflow_version",
            record_id=version_id,
            context={"workflow": definition.code},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return dump_workflow(definition)
