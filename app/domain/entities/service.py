"""Write records of any entity: create, change, delete, in bulk too. Screens, API and imports all come through here."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, Forbidden, ValidationFailed
from app.core.events import RecordCreated, RecordDeleted, RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize
from app.domain.access.fields import writable_fields
from app.domain.access.scope import require_in_scope
from app.domain.entities.codec import Codec, codec_of
from app.domain.entities.lines import check_lines, lines_fields, write_lines
from app.domain.entities.numbering import next_references
from app.domain.entities.queries import variables
from app.domain.entities.record_checks import further_problems
from app.domain.entities.record_states import add_first_state, require_editable
from app.domain.entities.references import check_references
from app.domain.entities.validation import Resolve, check
from app.domain.entities.writing import Origin, insert_records, lock_record, require_inside, update_row
from models.schema import EntityDef, EntityKind, FieldType

MAX_BULK = 10_000


async def create_record(uow: UnitOfWork, entity_name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Create one record and return it. Raises Forbidden, ValidationFailed, Conflict."""
    records = await create_records(uow, entity_name, [given], single=True)
    return records[0]


async def create_records(
    uow: UnitOfWork,
    entity_name: str,
    given: Sequence[Mapping[str, Any]],
    *,
    single: bool = False,
    origins: Sequence[Origin] | None = None,
) -> list[dict[str, Any]]:
    """Create many records with a fixed number of statements; all or none. `origins`: of those that a log brings.

    Raises:
        ValidationFailed: problems of every record, by path `3.field` (or `field` when `single`).
    """
    decision = authorize(uow, "create", entity_name)
    entity = _writable_entity(uow, entity_name)
    if len(given) > MAX_BULK:
        raise ValidationFailed([FieldProblem("", f"at most {MAX_BULK} records at once")])
    writable = frozenset(f.name for f in writable_fields(uow.resources.policy, uow.actor, entity))
    problems: list[FieldProblem] = []
    checked: list[tuple[str, dict[str, Any]]] = []
    lines: list[dict[str, list[dict[str, Any]]]] = []
    given = await _with_numbers(uow, entity, given)
    for number, values in enumerate(given):
        prefix = "" if single else f"{number}."
        result = check(
            entity,
            uow.registry,
            values,
            existing=None,
            writable=writable,
            variables=variables(uow),
            prefix=prefix,
            resolve=_blank,
        )
        problems += result.problems
        own_lines = _take_lines(entity, result.values)
        lines.append({})
        for field in lines_fields(entity):
            if field.name in own_lines:
                lines[-1][field.name], wrong = await check_lines(uow, field, own_lines[field.name] or [])
                problems += wrong
        add_first_state(uow, entity, result.values, variables(uow))
        checked.append((prefix, result.values))
    if not problems:
        problems += await check_references(uow, entity, checked)
    if not problems:
        problems += await further_problems(uow, entity, checked)
    if problems:
        raise ValidationFailed(problems)
    rows = await insert_records(uow, entity, [values for _, values in checked], origins)
    await require_inside(uow, "create", entity, [row["id"] for row in rows])
    codec = codec_of(uow.registry, entity_name)
    created = [codec.record(row) for row in rows]
    for record, own in zip(created, lines, strict=True):
        for field in lines_fields(entity):
            if own.get(field.name):
                await write_lines(uow, field, record["id"], own[field.name])
            record[field.name] = own.get(field.name, [])
        _record_creation(uow, entity, codec, decision, record)
    return created


async def _with_numbers(
    uow: UnitOfWork, entity: EntityDef, given: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    numbering = entity.reference_number
    if numbering is None:
        return given
    numbers = iter(await next_references(uow, entity, sum(not v.get(numbering.field) for v in given)))
    return [v if v.get(numbering.field) else {**v, numbering.field: next(numbers)} for v in given]


def _blank(_entity: str, _id: UUID) -> None:
    """A condition that looks through a reference sees nothing before the record is written."""
    return


def _take_lines(entity: EntityDef, values: dict[str, Any]) -> dict[str, Any]:
    return {field.name: values.pop(field.name) for field in lines_fields(entity) if field.name in values}


def _writable_entity(uow: UnitOfWork, entity_name: str) -> EntityDef:
    entity = uow.registry.entity(entity_name)
    if entity.managed and not uow.actor.is_system:
        raise Forbidden(f"{entity.label_plural} are written by the platform itself; they cannot be entered or changed.")
    if entity.kind is EntityKind.CHILD:
        raise Forbidden(f"{entity.label_plural} are changed with the record that they belong to.")
    return entity


def _record_creation(
    uow: UnitOfWork, entity: EntityDef, codec: Codec, decision: Decision, record: dict[str, Any]
) -> None:
    uow.audit(_entry(entity, "create", decision, record["id"], after=_auditable(entity, codec, record)))
    uow.emit(RecordCreated(at=uow.now, entity=entity.name, record_id=record["id"]))
    uow.touch(f"entity:{entity.name}")


def _auditable(entity: EntityDef, codec: Codec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the trail keeps them: JSON, without secrets and internal fields."""
    return {
        name: codec.kinds[name].to_json(value)
        if entity.field(name).type is not FieldType.LINES
        else [{k: v for k, v in line.items() if k != "id"} for line in value or ()]
        for name, value in values.items()
        if entity.has_field(name)
        and value is not None
        and entity.field(name).access_group != "internal"
        and entity.field(name).type is not FieldType.SECRET
    }


def _entry(entity: EntityDef, command: str, decision: Decision, record_id: UUID, **more: Any) -> AuditEntry:
    grant = decision.grants[0].id if decision.grants else None
    return AuditEntry(
        command=f"{entity.name}.{command}",
        entity=entity.name,
        record_id=record_id,
        grant_id=grant,
        allowed_by=decision.allowed_by,
        **more,
    )


async def update_record(
    uow: UnitOfWork,
    entity_name: str,
    record_id: UUID,
    given: Mapping[str, Any],
    *,
    expected_version: int,
    open_fields: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Change the given fields of one record and return it; nothing is written when nothing differs.

    `open_fields` may be changed though the record's state allows no change: a step of its lifecycle asks for them.

    Raises:
        StaleVersion: somebody changed it since `expected_version`; `context` has the present version and who.
        NotFound, Forbidden, ValidationFailed, Conflict.
    """
    decision = await require_in_scope(uow, "update", entity_name, record_id)
    entity = _writable_entity(uow, entity_name)
    codec = codec_of(uow.registry, entity_name)
    before = await lock_record(uow, entity, codec, record_id, expected_version)
    writable = frozenset(f.name for f in writable_fields(uow.resources.policy, uow.actor, entity))
    result = check(
        entity,
        uow.registry,
        given,
        existing=before,
        writable=writable,
        variables=variables(uow),
        resolve=await _resolver(uow, entity, before),
    )
    problems = list(result.problems)
    lines: dict[str, list[dict[str, Any]]] = {}
    for name, value in _take_lines(entity, result.values).items():
        lines[name], wrong = await check_lines(uow, entity.field(name), value or [])
        problems += wrong
    changed = {name: value for name, value in result.values.items() if not _equal(before.get(name), value)}
    if not problems:
        problems += await check_references(uow, entity, [("", changed)])
    if not problems and changed:
        problems += await further_problems(uow, entity, [("", {**before, **changed})])
    if problems:
        raise ValidationFailed(problems)
    if not changed and not lines:
        return before
    await require_editable(uow, entity, before, fields=frozenset((*changed, *lines)), open_fields=open_fields)
    after = await update_row(uow, entity, codec, before, changed)
    if any(entity.field(name).is_reference for name in changed):
        await require_inside(uow, "update", entity, [record_id])
    for name, rows in lines.items():
        await write_lines(uow, entity.field(name), record_id, rows)
        after[name] = rows
    old = _auditable(entity, codec, {name: before.get(name) for name in changed})
    new = _auditable(entity, codec, {**{name: after.get(name) for name in changed}, **lines})
    uow.audit(
        _entry(
            entity,
            "update",
            decision,
            record_id,
            before={name: old.get(name) for name in changed},
            after={**dict.fromkeys(changed), **new},
        )
    )
    uow.emit(RecordUpdated(at=uow.now, entity=entity_name, record_id=record_id, fields=(*changed, *lines)))
    uow.touch(f"entity:{entity_name}", f"{entity_name}:{record_id}")
    return after


def _equal(old: Any, new: Any) -> bool:
    return bool(old == new) and (old is None) == (new is None)


async def _resolver(uow: UnitOfWork, entity: EntityDef, before: Mapping[str, Any]) -> Resolve:
    """Conditions that look through a reference see the record referred to; most entities have none."""
    targets: dict[tuple[str, UUID], Mapping[str, Any]] = {}
    for field in entity.fields:
        conditions = [c for c in (field.required_if, field.visible_if, field.read_only_if) if c]
        through = {name.split(".")[0] for condition in conditions for name in condition if "." in name}
        for name in through:
            reference = entity.field(name) if entity.has_field(name) else None
            if reference is None or not reference.target or before.get(name) is None:
                continue
            table = uow.table(reference.target)
            row = (await uow.execute(select(table).where(table.c.id == before[name]))).mappings().one_or_none()
            if row is not None:
                targets[reference.target, before[name]] = codec_of(uow.registry, reference.target).record(row)
    return lambda target, id_: targets.get((target, id_))


async def delete_record(uow: UnitOfWork, entity_name: str, record_id: UUID, *, expected_version: int) -> None:
    """Delete one record, or mark it deleted where the entity says so. Raises Conflict while others refer to it."""
    decision = await require_in_scope(uow, "delete", entity_name, record_id)
    entity = _writable_entity(uow, entity_name)
    codec = codec_of(uow.registry, entity_name)
    before = await lock_record(uow, entity, codec, record_id, expected_version)
    await require_editable(uow, entity, before)
    table = uow.table(entity_name)
    if entity.soft_delete:
        stamp = {"row_version": before["row_version"] + 1, "updated_at": uow.now, "updated_by": uow.actor.id}
        await uow.execute(update(table).where(table.c.id == record_id).values(deleted_at=uow.now, **stamp))
    else:
        await uow.execute(delete(table).where(table.c.id == record_id))
    uow.audit(_entry(entity, "delete", decision, record_id, before=_auditable(entity, codec, before)))
    uow.emit(RecordDeleted(at=uow.now, entity=entity_name, record_id=record_id))
    uow.touch(f"entity:{entity_name}", f"{entity_name}:{record_id}")
