"""The history of a record on the screen: who changed what, from which value to which, and when."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from admin_views.cells import Drawing, cell_of
from admin_views.titles import titles_of
from app.core.uow import UnitOfWork
from app.domain.entities.history import history
from models.fieldtypes import FieldError, kind_of
from models.schema import EntityDef, FieldDef, FieldType

if TYPE_CHECKING:
    from admin_views.base import StepsModelView
    from admin_views.visit import Visit

PAGE = 30
_VERBS = {"create": "Created", "update": "Changed", "delete": "Deleted"}


async def history_panel(
    visit: "Visit", view: "StepsModelView", uow: UnitOfWork, id_: UUID, *, before: int | None = None
) -> dict[str, Any]:
    """The `history` of steps/history.html, newest first; `before`: the sequence to continue below."""
    entity = view.entity
    entries = await history(uow, entity.name, id_, before=before, limit=PAGE + 1)
    shown = entries[:PAGE]
    titles = await titles_of(uow, set(_references(entity, shown)))
    drawing = Drawing(
        registry=uow.registry,
        formats=visit.formats,
        readable=lambda _entity: False,
        titles=titles,
        whole=True,
    )
    more = f"{view.path}/{id_}/history?before={shown[-1]['sequence']}" if len(entries) > PAGE else None
    return {
        "entries": [
            {
                "at_text": visit.formats.moment(entry["at"], uow.now),
                "at_iso": entry["at"].isoformat(),
                "who": entry["actor_name"],
                "on_behalf_of": None,
                "what": said(entity, entry["command"]),
                "reason": entry["reason"],
                "changes": changes(entity, entry, drawing),
                "sequence": visit.formats.number(entry["sequence"]),
                "href": None,
            }
            for entry in shown
        ],
        "more_href": more,
        "sealed_text": None,
    }


def said(entity: EntityDef, command: str) -> str:
    """A command in words: trade.update is "Changed", process_run.transition:submit is "Submit"."""
    verb = command.removeprefix(f"{entity.name}.").removeprefix("transition:")
    return _VERBS.get(verb) or verb.replace("_", " ").replace(".", " ").capitalize()


def changes(entity: EntityDef, entry: Mapping[str, Any], drawing: Drawing) -> list[dict[str, Any]]:
    """Label, old and new value of each field in the entry; the old one is None where the record was just made."""
    before, after = entry["before"], entry["after"]
    named = {*(before or ()), *(after or ())}
    found = []
    for field in entity.fields:
        name = field.name
        if name not in named:
            continue
        old = None if before is None else text_of(field, before.get(name), drawing)
        new = "" if after is None else text_of(field, after.get(name), drawing)
        found.append({"label": field.label, "before": old, "after": new})
    return found


def text_of(field: FieldDef, json_value: Any, drawing: Drawing) -> str:
    """A value of the trail, which is JSON, as a person reads it."""
    if json_value is None:
        return ""
    if field.type is FieldType.LINES:
        count = len(json_value)
        return f"{count} {'line' if count == 1 else 'lines'}"
    if field.type is FieldType.JSON:
        return str(cell_of(field, json_value, drawing)["text"])[:500]
    try:
        value = kind_of(field).parse(field, json_value)
    except FieldError:
        return str(json_value)  # an entry from before the definition was changed
    cell = cell_of(field, value, drawing)
    return "(not available)" if cell["kind"] == "masked" else str(cell["text"])


def _references(entity: EntityDef, entries: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, UUID]]:
    fields = [field for field in entity.fields if field.is_reference]
    for entry in entries:
        for values in (entry["before"], entry["after"]):
            for field in fields:
                value = (values or {}).get(field.name)
                if value:
                    yield field.target or "", UUID(str(value))
