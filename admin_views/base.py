"""The view of one entity: SQLAdmin's ModelView with every read and write led through the product's own services.

SQLAdmin opens sessions of its own, commits by itself and knows nothing of row scope, versions or the audit trail. Here
no statement of its own can run at all (`_run_query` and its kin refuse). What its interface promises, creating,
changing and deleting a model, is kept by the services that the API uses too, in one transaction with the audit entry.
"""

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn
from uuid import UUID

from sqladmin import ModelView
from sqladmin.authorization import Action
from sqlalchemy.sql.elements import ClauseElement
from starlette.requests import Request
from starlette.responses import Response

from admin_views import bulk_steps, export, form_endpoints, lists, record_history, record_step_pages, saved_views
from admin_views.visit import Visit, json_answer, record_id
from app.core.errors import Forbidden, InvalidRequest, NotFound
from app.domain.access.scope import require_in_scope
from app.domain.entities.lookups import lookup_choices
from app.domain.entities.service import create_record, delete_record, update_record
from models.schema import EntityDef

if TYPE_CHECKING:
    from admin_views.site import StepsAdmin

LOOKUP_LIMIT = 50


class StepsModelView(ModelView):
    """The pages of one entity."""

    entity: ClassVar[EntityDef]
    _admin_ref: ClassVar["StepsAdmin"]

    @property
    def path(self) -> str:
        return f"/data/{self.entity.slug}"

    # -- pages -------------------------------------------------------------------------------------------------------

    async def list_page(self, visit: Visit) -> Response:
        async with visit.uow() as uow:
            page = await lists.list_page(visit, self, uow)
            return await visit.page(uow, "steps/list.html", self.entity.label_plural, page=page)

    async def new_page(self, visit: Visit) -> Response:
        if visit.request.method == "POST":
            return await form_endpoints.take_new(visit, self)
        return await form_endpoints.show_new(visit, self)

    async def detail_page(self, visit: Visit) -> Response:
        asked = visit.request.query_params.get("tab", "")
        known = ("history",) if self.entity.history else ()
        tab = asked if asked in (*known, "steps") else "details"
        return await record_step_pages.show_record(visit, self, self.record_id(visit), tab=tab)

    async def step_page(self, visit: Visit) -> Response:
        """Take a step of a record's lifecycle."""
        return await record_step_pages.take_step(visit, self, self.record_id(visit))

    async def bulk_step_page(self, visit: Visit) -> Response:
        """Say what a step would do to the chosen records, then take it."""
        return await bulk_steps.take_steps(visit, self)

    async def edit_page(self, visit: Visit) -> Response:
        id_ = self.record_id(visit)
        if visit.request.method == "POST":
            return await form_endpoints.take_edit(visit, self, id_)
        return await form_endpoints.show_edit(visit, self, id_)

    async def delete_page(self, visit: Visit) -> Response:
        await self.delete_model(visit.request, self.record_id(visit))
        return visit.go(self.path, flash=f"{self.entity.label} deleted.")

    async def history_page(self, visit: Visit) -> Response:
        """Older entries, as a fragment."""
        before = visit.request.query_params.get("before", "")
        if not (before.isascii() and before.isdigit() and len(before) < 19):
            raise InvalidRequest("before: the number of an audit entry is needed")
        async with visit.uow() as uow:
            panel = await record_history.history_panel(visit, self, uow, self.record_id(visit), before=int(before))
        return visit.fragment("steps/history.html", history=panel)

    async def lookup_page(self, visit: Visit) -> Response:
        """What may be chosen in a reference field, searched and limited, as JSON."""
        parameters = visit.request.query_params
        asked = parameters.get("limit", "")
        limit = min(int(asked), LOOKUP_LIMIT) if asked.isascii() and asked.isdigit() and 0 < len(asked) < 5 else 20
        limit = max(limit, 1)
        async with visit.uow() as uow:
            name, words = visit.request.path_params["field"], parameters.get("q", "")[:200]
            choices = await lookup_choices(uow, self.entity.name, name, search=words, limit=limit + 1)
        items = [{"id": str(c.id), "label": c.title or "(untitled)", "sub": c.subtitle} for c in choices[:limit]]
        return json_answer({"items": items, "more": len(choices) > limit})

    async def export_page(self, visit: Visit) -> Response:
        return await export.export_page(visit, self)

    async def columns_page(self, visit: Visit) -> Response:
        return await saved_views.choose_columns(visit, self.entity.name, self.path)

    def record_id(self, visit: Visit) -> UUID:
        id_ = record_id(visit.request)
        if id_ is None:
            raise NotFound(f"There is no such {self.entity.label.lower()}, or you may not see it.")
        return id_

    def require_writable(self) -> None:
        """Raises Forbidden where records are written by the platform or with another record."""
        if not self.can_edit:
            raise Forbidden(f"{self.entity.label_plural} are not entered here: the platform writes them.")

    # -- what SQLAdmin's interface promises ---------------------------------------------------------------------------

    async def insert_model(self, request: Request, data: dict[str, Any]) -> dict[str, Any]:
        """Create a record through the service, audited in the same transaction; return it."""
        async with visit_of(request).uow() as uow:
            return await create_record(uow, self.entity.name, data)

    async def update_model(self, request: Request, pk: str, data: dict[str, Any]) -> dict[str, Any]:
        """Change a record through the service; `data["row_version"]` is the version that was edited."""
        values = dict(data)
        expected = int(values.pop("row_version", 0))
        async with visit_of(request).uow() as uow:
            return await update_record(uow, self.entity.name, UUID(pk), values, expected_version=expected)

    async def delete_model(self, request: Request, pk: Any) -> None:
        """Delete a record through the service; the form says which version it has seen."""
        given = (await visit_of(request).form()).get("row_version")
        version = int(given) if isinstance(given, str) and given.isascii() and given.isdigit() else 0
        async with visit_of(request).uow() as uow:
            await require_in_scope(uow, "delete", self.entity.name, UUID(str(pk)))
            await delete_record(uow, self.entity.name, UUID(str(pk)), expected_version=version)

    def is_accessible(self, request: Request) -> bool:
        return self.has_permission(request, Action.LIST)

    async def _run_query(self, stmt: ClauseElement) -> NoReturn:
        _refuse_own_statement()

    async def _run_arbitrary_query(self, stmt: ClauseElement) -> NoReturn:
        _refuse_own_statement()

    def _run_query_sync(self, stmt: ClauseElement) -> NoReturn:
        _refuse_own_statement()

    def _run_arbitrary_query_sync(self, stmt: ClauseElement) -> NoReturn:
        _refuse_own_statement()


def visit_of(request: Request) -> Visit:
    visit: Visit = request.state.steps_visit
    return visit


def _refuse_own_statement() -> NoReturn:
    raise RuntimeError("records are read and written by app.domain.entities, within the actor's scope")
