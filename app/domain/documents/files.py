"""Attach, open, list and remove the files of records. Who may see the record sees its files, and nobody else.

The bytes are stored before the transaction commits: one that fails leaves an object that nothing refers to.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Row, insert, literal, select, true, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, NotFound, StaleVersion, ValidationFailed
from app.core.events import RecordCreated, RecordDeleted, RecordUpdated
from app.core.file_store import MEGABYTE, Content, FileStore, Sample
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize, decide, refusal
from app.domain.access.scope import condition_of, record_in_scope, require_in_scope, viewer_of
from app.domain.documents.evidence import ProcessFiles, attachable, place_of, process_files
from app.domain.documents.media_types import check_content, media_type_of
from app.domain.documents.names import file_name
from app.domain.entities.codec import codec_of
from app.domain.entities.queries import variables
from app.domain.entities.record_states import add_first_state, require_editable
from models.base import uuid7
from models.schema import EntityDef

FILE = "file"
VERSION = "file_version"
MAX_BYTES = 100 * MEGABYTE
PURPOSE = re.compile(r"[a-z][a-z0-9_]{0,47}")
ATTACHMENT = "attachment"
GONE = "There is no such file, or you may not see it."

Record = tuple[str, UUID]  # entity, id


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in its latest version. `size` in bytes."""

    id: UUID
    record: Record | None
    purpose: str
    name: str
    version: int
    media_type: str
    size: int
    sha256: str
    row_version: int
    updated_at: datetime
    updated_by: UUID | None


@dataclass(frozen=True, slots=True)
class FileContent:
    """One version, ready to be sent. `stream` is read once, within or after the unit of work."""

    stream: AsyncIterator[bytes]
    file_id: UUID
    name: str
    version: int
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileVersion:
    number: int
    media_type: str
    size: int
    sha256: str
    original_name: str
    created_at: datetime
    created_by: UUID | None


async def attach_file(
    uow: UnitOfWork,
    *,
    record: Record,
    name: str,
    content: Content,
    purpose: str = ATTACHMENT,
    media_type: str | None = None,
) -> StoredFile:
    """Attach a file to a record, or a new version of it when the record has one of this name and purpose.

    `purpose` is the code of the evidence it serves as. `media_type` is what the sender declared; what counts is the
    ending, and that the bytes fit it.

    Raises:
        NotFound, Forbidden: the record is not in sight, or not in the part where the actor may add files.
        ValidationFailed: the name or purpose cannot be used, or records of this kind take no files.
        UnsupportedMedia, TooLarge: what it is, or how much.
        Conflict: the process it belongs to has been submitted or closed.
        TransitionRefused: the lifecycle of the file there is lets nobody change it in its state.
    """
    authorize(uow, "create", FILE)
    entity, record_id = record
    definition = attachable(uow.registry, entity)
    await require_in_scope(uow, "read", entity, record_id)
    clean = file_name(name)
    if not PURPOSE.fullmatch(purpose):
        raise ValidationFailed([FieldProblem("purpose", "write lower case letters, digits and _, at most 48")])
    process = await process_files(uow, record, purpose, lock=False)
    media = media_type_of(clean, declared=media_type, allowed=process.endings if process else None)
    if process is not None:
        process.require_changeable()

    def accept(sample: Sample) -> None:
        check_content(clean, media, sample)

    store: FileStore = uow.resources.services["file_store"]
    stored = await store.put(content, limit=MAX_BYTES, accept=accept)
    # The upload may have taken minutes: only now is the process held still.
    process = await process_files(uow, record, purpose, lock=True)
    if process is not None:
        process.require_changeable()
    values = {"media_type": media.name, "size": stored.size, "sha256": stored.sha256}
    row = await _upsert(uow, definition, record_id, name=clean, purpose=purpose, values=values)
    action = "create" if row.version_number == 1 else "update"
    if action == "update":
        await _require_editable(uow, row)
    decision = await _require_covered(uow, action, definition, row.id)
    stamp = {"created_at": uow.now, "created_by": uow.actor.id, "updated_at": uow.now, "updated_by": uow.actor.id}
    version = {"file_id": row.id, "number": row.version_number, "original_name": clean, **values}
    await uow.execute(insert(uow.table(VERSION)).values(id=uuid7(), row_version=1, **version, **stamp))
    after = {"name": clean, "purpose": purpose, "version": row.version_number, **values}
    _audit(uow, "attach" if action == "create" else "replace", row.id, record, decision, after=after)
    if action == "create":
        uow.emit(RecordCreated(at=uow.now, entity=FILE, record_id=row.id))
    else:
        uow.emit(RecordUpdated(at=uow.now, entity=FILE, record_id=row.id, fields=("version_number", "sha256")))
    _touch(uow, row.id, record, process)
    return _stored(row)


async def _upsert(
    uow: UnitOfWork, definition: EntityDef, record_id: UUID, *, name: str, purpose: str, values: dict[str, Any]
) -> Row[Any]:
    """One statement decides what is new and counts the version: of uploads at the same time each gets its own."""
    table = uow.table(FILE)
    node_id, application_id = await place_of(uow, definition, record_id)
    written = {**values, "node_id": node_id, "application_id": application_id, "updated_at": uow.now}
    written["updated_by"] = uow.actor.id
    statement = upsert(table).values(
        id=uuid7(),
        name=name,
        purpose=purpose,
        record_entity=definition.name,
        record_id=record_id,
        version_number=1,
        row_version=1,
        created_at=uow.now,
        created_by=uow.actor.id,
        **written,
        **_first_state(uow, definition, record_id, name=name, purpose=purpose),
    )
    statement = statement.on_conflict_do_update(
        index_elements=["record_entity", "record_id", "purpose", "name"],
        index_where=table.c.deleted_at.is_(None),
        set_={**written, "version_number": table.c.version_number + 1, "row_version": table.c.row_version + 1},
    )
    return (await uow.execute(statement.returning(*table.c))).one()


async def open_file(uow: UnitOfWork, file_id: UUID, *, version: int | None = None) -> FileContent:
    """The bytes of a file, in its latest version or the named one.

    Raises: NotFound when there is none, or the actor sees neither it nor its record; Unavailable.
    """
    authorize(uow, "read", FILE)
    row = await _visible(uow, file_id)
    versions = uow.table(VERSION)
    number = version if version is not None else row.version_number
    found = (
        await uow.execute(select(versions).where(versions.c.file_id == file_id, versions.c.number == number))
    ).first()
    if found is None:
        raise NotFound(f"“{row.name}” has no version {number}; its latest one is {row.version_number}.")
    store: FileStore = uow.resources.services["file_store"]
    return FileContent(
        stream=await store.open(found.sha256),
        file_id=file_id,
        name=row.name,
        version=found.number,
        media_type=found.media_type,
        size=found.size,
        sha256=found.sha256,
    )


async def list_files(uow: UnitOfWork, *, record: Record) -> list[StoredFile]:
    """The files of a record that the actor may see, by purpose and name. Raises: NotFound, Forbidden."""
    decision = authorize(uow, "read", FILE)
    entity, record_id = record
    await require_in_scope(uow, "read", entity, record_id)
    table = uow.table(FILE).alias()
    definition = uow.registry.entity(entity)
    statement = (
        select(table)
        .where(table.c.record_entity == entity, table.c.record_id == record_id)
        .where(_condition(uow, "read", definition, decision, table))
        .order_by(table.c.purpose, table.c.name)
    )
    return [_stored(row) for row in await uow.execute(statement)]


async def file_versions(uow: UnitOfWork, file_id: UUID) -> list[FileVersion]:
    """Every version of a file, the latest first. Raises: NotFound."""
    authorize(uow, "read", FILE)
    await _visible(uow, file_id)
    table = uow.table(VERSION)
    rows = await uow.execute(select(table).where(table.c.file_id == file_id).order_by(table.c.number.desc()))
    return [
        FileVersion(r.number, r.media_type, r.size, r.sha256, r.original_name, r.created_at, r.created_by) for r in rows
    ]


async def delete_file(uow: UnitOfWork, *, file_id: UUID, expected_version: int, reason: str) -> None:
    """Take a file off its record; its versions are kept, and no list shows it any more.

    Raises: NotFound, Forbidden, StaleVersion; Conflict when it is evidence of a submitted or closed process.
    """
    authorize(uow, "delete", FILE)
    if not reason.strip():
        raise ValidationFailed([FieldProblem("reason", "say why the file is removed", "required")])
    row = await _visible(uow, file_id)
    record = _record_of(row)
    process = None
    if record is not None:
        process = await process_files(uow, record, row.purpose, lock=True)
        if process is not None:
            process.require_changeable()
    await _require_editable(uow, row)
    decision = await _require_covered(uow, "delete", uow.registry.entity(record[0]) if record else None, file_id)
    table = uow.table(FILE)
    stamp = {"deleted_at": uow.now, "updated_at": uow.now, "updated_by": uow.actor.id}
    statement = (
        update(table)
        .where(table.c.id == file_id, table.c.row_version == expected_version, table.c.deleted_at.is_(None))
        .values(**stamp, row_version=table.c.row_version + 1)
        .returning(table.c.id)
    )
    if await uow.scalar(statement) is None:
        raise StaleVersion(f"“{row.name}” was changed since you opened it; look at it again before you remove it.")
    before = {"name": row.name, "purpose": row.purpose, "version": row.version_number, "sha256": row.sha256}
    _audit(uow, "delete", file_id, record, decision, before=before, reason=reason.strip())
    uow.emit(RecordDeleted(at=uow.now, entity=FILE, record_id=file_id))
    _touch(uow, file_id, record, process)


def _first_state(uow: UnitOfWork, definition: EntityDef, record_id: UUID, *, name: str, purpose: str) -> dict[str, Any]:
    """Where a new file begins, where files of this kind have a lifecycle."""
    entity = uow.registry.entity(FILE)
    values: dict[str, Any] = {"name": name, "purpose": purpose, "record": (definition.name, record_id)}
    known = set(values)
    add_first_state(uow, entity, values, variables(uow))
    return codec_of(uow.registry, FILE).columns({n: v for n, v in values.items() if n not in known})


async def _require_editable(uow: UnitOfWork, row: Row[Any]) -> None:
    """Raises TransitionRefused for a file that its lifecycle keeps as it is, such as one that is released."""
    record = codec_of(uow.registry, FILE).record(dict(row._mapping))
    await require_editable(uow, uow.registry.entity(FILE), record)


# -- who may -----------------------------------------------------------------------------------------------------------


def _seen_with(uow: UnitOfWork, record: EntityDef | None) -> EntityDef:
    """The file's own definition, limited to places in the same way as the record that it belongs to."""
    definition = uow.registry.entity(FILE)
    if record is None:
        return definition
    located = record.application is not None or record.application_field is not None
    return definition.model_copy(
        update={
            "scope_field": definition.scope_field if record.scope_field else None,
            "scope_ancestors": record.scope_ancestors,
            "application_field": definition.application_field if located else None,
        }
    )


def _condition(
    uow: UnitOfWork, action: str, record: EntityDef | None, decision: Decision, table: FromClause
) -> ColumnElement[bool]:
    """`table` is an alias: conditions on the plain table are kept for everybody, by the entity's name."""
    definition = _seen_with(uow, record)
    found = condition_of(viewer_of(uow), action, definition, decision, table)
    return true() if found is None else found


async def _visible(uow: UnitOfWork, file_id: UUID) -> Row[Any]:
    """The file's row, when its record is in sight and its own place too. Raises: NotFound."""
    table = uow.table(FILE)
    row = (await uow.execute(select(table).where(table.c.id == file_id, table.c.deleted_at.is_(None)))).first()
    if row is None:
        raise NotFound(GONE)
    record = _record_of(row)
    definition = None
    if record is not None:
        definition = uow.registry.entities.get(record[0])
        if definition is None or not await record_in_scope(uow, "read", *record):
            raise NotFound(GONE)
    decision = decide(uow.resources.policy, uow.registry, uow.actor, "read", FILE)
    if decision is None or not await _covers(uow, "read", definition, decision, file_id):
        raise NotFound(GONE)
    return row


async def _require_covered(uow: UnitOfWork, action: str, record: EntityDef | None, file_id: UUID) -> Decision:
    """Raises: Forbidden when the grants for this action do not reach the file's place."""
    policy, registry, actor = uow.resources.policy, uow.registry, uow.actor
    decision = decide(policy, registry, actor, action, FILE)
    if decision is None:
        raise refusal(policy, registry, actor, action, FILE)
    if not await _covers(uow, action, record, decision, file_id):
        raise refusal(policy, registry, actor, action, FILE, on_record=True)
    return decision


async def _covers(uow: UnitOfWork, action: str, record: EntityDef | None, decision: Decision, file_id: UUID) -> bool:
    table = uow.table(FILE).alias()
    statement = select(literal(1)).where(table.c.id == file_id, _condition(uow, action, record, decision, table))
    return await uow.scalar(statement) is not None


# -- rows --------------------------------------------------------------------------------------------------------------


def _record_of(row: Row[Any]) -> Record | None:
    return (row.record_entity, row.record_id) if row.record_id is not None else None


def _stored(row: Row[Any]) -> StoredFile:
    return StoredFile(
        id=row.id,
        record=_record_of(row),
        purpose=row.purpose,
        name=row.name,
        version=row.version_number,
        media_type=row.media_type,
        size=row.size,
        sha256=row.sha256,
        row_version=row.row_version,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


def _audit(uow: UnitOfWork, verb: str, file_id: UUID, record: Record | None, decision: Decision, **more: Any) -> None:
    context = {"record_entity": record[0], "record_id": record[1]} if record else {}
    uow.audit(
        AuditEntry(
            command=f"{FILE}.{verb}",
            entity=FILE,
            record_id=file_id,
            context=context,
            grant_id=decision.grant_id,
            allowed_by=decision.allowed_by,
            **more,
        )
    )


def _touch(uow: UnitOfWork, file_id: UUID, record: Record | None, process: ProcessFiles | None) -> None:
    uow.touch("entity:file", f"file:{file_id}")
    if record is not None:
        uow.touch(f"{record[0]}:{record[1]}")
    if process is not None:
        uow.touch(f"run:{process.run_id}")
