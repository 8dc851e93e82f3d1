"""What is wrong with a policy that only its entity, its calendar and the rest of the platform show. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.core.errors import FieldProblem
from app.core.filters import FilterError, parse
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.errors import SlaError
from models.registry import Registry
from models.schema import EntityDef, EntityKind, FieldType
from models.sla import BUSINESS_DATE, CONDITIONS, OWN_DEADLINE, PolicyDef

ZONE_SAMPLE = "UTC"


@dataclass(frozen=True, slots=True)
class Around:
    """What a policy can refer to. `calendars`: those with a published version."""

    registry: Registry
    calendars: frozenset[str]


def problems_in(definition: PolicyDef, entity: EntityDef | None, around: Around) -> list[FieldProblem]:
    """Every reason why a version cannot be published, each at its place."""
    if entity is None:
        return [FieldProblem("entity", "There is no such kind of record; choose another.")]
    return [*_entity(entity), *_conditions(definition, entity, around), *_fields(definition, entity, around),
            *_targets(definition, entity, around), *_ends(definition)]  # fmt: skip


def measurable(entity: EntityDef) -> bool:
    """Whether policies can be about records of this kind: they are written one by one, and people work on them."""
    return entity.kind is not EntityKind.CHILD and entity.module not in ("sla", "jobs", "notifications", "identity")


def _entity(entity: EntityDef) -> Iterator[FieldProblem]:
    if not measurable(entity):
        yield FieldProblem("entity", f"{entity.label_plural} are not measured; choose records that people work on.")


def _conditions(definition: PolicyDef, entity: EntityDef, around: Around) -> Iterator[FieldProblem]:
    given = [(name, getattr(definition, name)) for name in CONDITIONS]
    given += [(f"targets.{number}.when", target.when) for number, target in enumerate(definition.targets)]
    for place, condition in given:
        if condition is None:
            continue
        try:
            parse(condition, entity, around.registry)
        except FilterError as error:
            yield FieldProblem(place, f"The condition does not fit {entity.label_plural.lower()}: {error}")


def _fields(definition: PolicyDef, entity: EntityDef, around: Around) -> Iterator[FieldProblem]:
    if definition.start_from is not None:
        instants = (FieldType.DATETIME,)
        if definition.start_from != "created_at" and not _is(entity, definition.start_from, instants, around.registry):
            yield FieldProblem("start_from", "Choose a field that holds a date and time.")
    if definition.measure == "deadline" and definition.base_date != BUSINESS_DATE:
        types = (FieldType.DATE, FieldType.DATETIME)
        if definition.base_date != "created_at" and not _is(entity, definition.base_date, types, around.registry):
            yield FieldProblem("base_date", "Choose a date field of the record, or the business date.")
    if definition.zone not in (None, "calendar") and not _is(
        entity, definition.zone or "", (FieldType.TEXT, FieldType.CHOICE), around.registry
    ):
        yield FieldProblem("zone", "Choose the calendar's zone, or a text field that names one such as Europe/London.")


def _is(entity: EntityDef, path: str, types: Iterable[FieldType], registry: Registry) -> bool:
    """Whether a path through references ends in a field of one of these types."""
    here, (*way, last) = entity, path.split(".")
    for name in way:
        if not here.has_field(name) or here.field(name).target is None:
            return False
        here = registry.entity(here.field(name).target or "")
    return here.has_field(last) and here.field(last).type in types


def _targets(definition: PolicyDef, entity: EntityDef, around: Around) -> Iterator[FieldProblem]:
    if definition.calendar is not None and definition.calendar not in around.calendars:
        yield FieldProblem("calendar", f"The calendar {definition.calendar} has no published version; publish one.")
    for number, target in enumerate(definition.targets):
        if target.by is None or (target.by == OWN_DEADLINE and definition.protected):
            continue
        if definition.calendar is None:
            yield FieldProblem("calendar", "A deadline counts working days: choose whose.")
        zoned = len(target.by.split()) != 2
        if not zoned and definition.zone is None:
            yield FieldProblem(f"targets.{number}.by", "Name a zone, such as 18:00 Europe/London, or where it is from.")
            continue
        try:
            parse_deadline(target.by if zoned else f"{target.by} {ZONE_SAMPLE}")
        except SlaError as error:
            yield FieldProblem(f"targets.{number}.by", error.detail)
    open_ended = [number for number, target in enumerate(definition.targets[:-1]) if not target.when]
    for number in open_ended:
        yield FieldProblem(f"targets.{number}.when", "Every record passes this, so the targets below never count.")


def _ends(definition: PolicyDef) -> Iterator[FieldProblem]:
    if not definition.protected and not definition.stop and not definition.cancel:
        yield FieldProblem("stop", "Say when the work is done; a clock that nothing stops always ends late.")
