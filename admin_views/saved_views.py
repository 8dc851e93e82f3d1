"""Saved views of a list: private ones and shared ones, and the columns that a person has chosen for it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from admin_views.list_state import ListState, from_saved, names_of, read_state
from app.core.errors import FieldProblem, InvalidRequest, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.entities.queries import ListQuery, get_record, list_records
from app.domain.entities.service import create_record, delete_record, update_record

if TYPE_CHECKING:
    from starlette.responses import Response

    from admin_views.visit import Visit

ENTITY = "saved_view"
# The view that holds the columns a person has chosen; it is no tab, and cannot be confused with one that they name.
COLUMNS = "(my columns)"
MOST_VIEWS = 100


@dataclass(frozen=True, slots=True)
class SavedViews:
    """The views of one list that the actor sees, by name; `columns`: those chosen, none for the list's own."""

    records: tuple[dict[str, Any], ...]
    columns: tuple[str, ...]
    columns_record: dict[str, Any] | None

    def find(self, id_: str) -> dict[str, Any] | None:
        return next((record for record in self.records if str(record["id"]) == id_), None)

    def state_of(self, id_: str) -> ListState | None:
        record = self.find(id_)
        return from_saved(record["state"]) if record else None

    def owns(self, id_: str, user_id: UUID | None) -> bool:
        record = self.find(id_)
        return record is not None and record["owner"] == user_id


NO_VIEWS = SavedViews((), (), None)


async def load_views(uow: UnitOfWork, entity: str) -> SavedViews:
    """The saved views of an entity's list; one statement."""
    query = ListQuery(filter={"entity": entity}, sort="label", limit=MOST_VIEWS)
    records = (await list_records(uow, ENTITY, query)).records
    mine = next((r for r in records if r["label"] == COLUMNS and r["owner"] == uow.actor.id), None)
    state = mine["state"] if mine else None
    columns = from_saved(state).columns if isinstance(state, dict) else ()
    return SavedViews(tuple(r for r in records if r["label"] != COLUMNS), columns, mine)


def view_tabs(views: SavedViews, base: str, *, current: str) -> list[dict[str, Any]]:
    """The tabs above a list; the first one is the whole list."""
    tabs = [{"label": "All", "href": base, "current": not views.find(current), "count": None, "private": False}]
    for record in views.records:
        id_ = str(record["id"])
        address = from_saved(record["state"]).address(base, view=id_)
        tabs.append(
            {
                "label": record["label"],
                "href": address,
                "current": id_ == current,
                "count": None,
                "private": not record["shared"],
            }
        )
    return tabs


async def save_view(visit: "Visit") -> "Response":
    """Keep the filter, search, order and columns of a list under a name."""
    form, parameters = await visit.form(), visit.request.query_params
    entity = visit.runtime.registry.entities.get(parameters.get("entity", ""))
    if entity is None:
        raise NotFound("There is no such list.")
    name = str(form.get("name") or "").strip()
    if not name or name == COLUMNS:
        raise ValidationFailed([FieldProblem("name", "give the view a name", "required")])
    state = read_state(parameters, visit.formats)
    if state.problem:
        raise InvalidRequest(state.problem)
    async with visit.uow() as uow:
        created = await create_record(
            uow,
            ENTITY,
            {
                "owner": str(visit.actor.id),
                "entity": entity.name,
                "label": name,
                "state": state.kept,
                "shared": form.get("shared") == "true",
            },
        )
    base = f"/data/{entity.slug}"
    return visit.go(state.address(base, view=str(created["id"])), flash=f"The view “{name}” is saved.")


async def delete_view(visit: "Visit", view_id: UUID) -> "Response":
    """Remove a saved view; its owner may."""
    async with visit.uow() as uow:
        record = (await get_record(uow, ENTITY, view_id)).records[0]
        await delete_record(uow, ENTITY, view_id, expected_version=record["row_version"])
    entity = visit.runtime.registry.entities.get(record["entity"])
    return visit.go(f"/data/{entity.slug}" if entity else "/", flash=f"The view “{record['label']}” is deleted.")


async def choose_columns(visit: "Visit", entity: str, base: str) -> "Response":
    """Keep the columns of a list for the person, in the order given; none brings the list's own back."""
    form = await visit.form()
    chosen = [] if form.get("reset") else [str(name) for name in form.getlist("column")]
    columns = list(names_of(",".join(chosen)))
    async with visit.uow() as uow:
        known = (await load_views(uow, entity)).columns_record
        state = {"columns": columns}
        if known is not None:
            await update_record(uow, ENTITY, known["id"], {"state": state}, expected_version=known["row_version"])
        elif columns:
            given = {"owner": str(visit.actor.id), "entity": entity, "label": COLUMNS, "state": state, "shared": False}
            await create_record(uow, ENTITY, given)
    kept = read_state(dict(visit.request.query_params), visit.formats)
    return visit.go(kept.address(base, columns=()))
