"""Workflows: the list, the versions of one with their runs, drafts, files, and the comparison of two versions."""

from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from sqlalchemy import select, text
from starlette.datastructures import FormData, UploadFile
from starlette.responses import RedirectResponse, Response

from admin_views.designer_view import STATES, Address, diff_rows, diff_tally, version_rows
from admin_views.pages import PageRoute
from admin_views.run_start import start_offer
from admin_views.visit import Visit
from app.core.errors import InvalidRequest, NotFound, StepsError, Unauthenticated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.workflow.definition_store import discard_draft, new_draft_from
from app.domain.workflow.drafts import begin_draft, export_definition, import_draft
from app.domain.workflow.impact import VersionSummary, compare_versions, versions_of
from app.domain.workflow.package_loader import MAX_BYTES
from app.domain.workflow.structure import version_head

VERSION = "workflow_version"
# What a file carries goes through the memory of one request.
MAX_UPLOAD = min(MAX_BYTES, 1_500_000)

READ_WORKFLOWS = text(
    """
SELECT w.id, w.code, w.label, w.active, a.label AS application,
       max(v.number) FILTER (WHERE v.state = 'published') AS published,
       max(v.published_at) FILTER (WHERE v.state = 'published') AS published_at,
       max(v.number) FILTER (WHERE v.state = 'draft') AS draft,
       (SELECT count(*) FROM workflow_run r
        WHERE r.workflow_id = w.id AND r.state IN ('active', 'on_hold')) AS open_runs
FROM workflow w
JOIN application a ON a.id = w.application_id
LEFT JOIN workflow_version v ON v.workflow_id = w.id
WHERE w.id = ANY (:ids)
GROUP BY w.id, a.label ORDER BY w.label
"""
)


async def list_page(visit: Visit) -> Response:
    """Every workflow with its version in force, its draft, and how many runs are in progress."""
    async with visit.uow() as uow:
        authorize(uow, "read", "workflow")
        workflows = uow.table("workflow")
        seen = (await uow.execute(scope(select(workflows.c.id), uow, "read", "workflow"))).scalars().all()
        found = (await uow.execute(READ_WORKFLOWS, {"ids": list(seen)})).all()
        rows = [
            {
                "label": row.label,
                "code": row.code,
                "href": f"/workflows/{quote(row.code)}",
                "application": row.application,
                "active": row.active,
                "published": row.published,
                "published_href": Address(row.code, row.published).path if row.published else None,
                "since": visit.formats.date(visit.formats.local(row.published_at)) if row.published_at else "",
                "draft": row.draft,
                "draft_href": Address(row.code, row.draft).path if row.draft else None,
                "open_runs": row.open_runs,
                "runs_href": f"/runs?{urlencode({'state': 'active', 'workflow': row.code})}",
            }
            for row in found
        ]
        page = {"rows": rows, "may_create": visit.may("create", "workflow") is not None, "error": ""}
        return await visit.page(uow, "steps/workflows.html", "Workflows", page=page)


async def workflow_page(visit: Visit) -> Response:
    """One workflow, by its code or its id: its versions, the runs made from each, what can be done next."""
    code = visit.request.path_params["id"]
    if (by_id := _uuid(code)) is not None:
        async with visit.uow() as uow:
            workflow = await find_workflow(uow, id_=by_id)
        return RedirectResponse(f"/workflows/{quote(workflow['code'])}", status_code=303)
    return await _show(visit, code)


async def _show(visit: Visit, code: str, error: StepsError | None = None) -> Response:
    async with visit.uow() as uow:
        workflow = await find_workflow(uow, code=code)
        versions = await versions_of(uow, workflow_id=workflow["id"])
        may = visit.may("configure", VERSION) is not None
        draft = next((v for v in versions if v.state == "draft"), None)
        published = next((v for v in versions if v.state == "published"), None)
        page = {
            **workflow,
            "path": f"/workflows/{quote(code)}",
            "record_href": f"/data/workflows/{workflow['id']}/edit" if visit.may("update", "workflow") else None,
            "history_href": f"/data/workflows/{workflow['id']}?tab=history",
            "versions": version_rows(code, versions, visit.formats),
            "numbers": [v.number for v in versions],
            "latest": [versions[1].number, versions[0].number] if len(versions) > 1 else [],
            "draft": draft.number if draft else None,
            "draft_href": Address(code, draft.number).path if draft else None,
            "published": published.number if published else None,
            "may": may,
            "runs_href": f"/runs?{urlencode({'workflow': code})}",
            "migrate_href": f"/workflows/{quote(code)}/migrate" if may and _can_migrate(versions) else None,
            "schedules": await _schedules(uow, workflow["id"]),
            "start": await start_offer(visit, uow, code=code),
            "error": error.detail if error is not None else "",
            "draft_in_way": error is not None and "draft" in error.context,
            "topic": f"workflow:{workflow['id']}" if visit.site.listener is not None else None,
        }
        status = error.status if error is not None else 200
        return await visit.page(uow, "steps/workflow.html", workflow["label"], status=status, page=page)


def _can_migrate(versions: list[VersionSummary]) -> bool:
    """Whether runs are in progress on a version that is not the one in force."""
    return any(v.open_runs and v.state != "published" for v in versions)


async def find_workflow(uow: UnitOfWork, *, code: str | None = None, id_: UUID | None = None) -> dict[str, Any]:
    authorize(uow, "read", "workflow")
    table, applications, calendars = uow.table("workflow"), uow.table("application"), uow.table("calendar")
    statement = (
        select(
            table.c.id, table.c.code, table.c.label, table.c.active, table.c.description,
            applications.c.label.label("application"), calendars.c.label.label("calendar"),
        )
        .join(applications, applications.c.id == table.c.application_id)
        .join(calendars, calendars.c.id == table.c.calendar_id)
        .where(table.c.code == code if code is not None else table.c.id == id_)
    )  # fmt: skip
    row = (await uow.execute(scope(statement, uow, "read", "workflow"))).mappings().first()
    if row is None:
        raise NotFound("There is no such workflow, or you may not see it.")
    return dict(row)


async def _schedules(uow: UnitOfWork, workflow_id: UUID) -> list[dict[str, str]]:
    """The schedules that begin its runs, where the person may see any."""
    entity = uow.registry.entities.get("schedule")
    if entity is None or not entity.has_field("workflow"):
        return []
    table = uow.table("schedule")
    title = table.c[entity.field(entity.title_field).column]
    statement = select(table.c.id, title.label("title")).where(table.c.workflow_id == workflow_id)
    rows = await uow.execute(scope(statement, uow, "read", "schedule").limit(20))
    return [{"label": str(row.title), "href": f"/schedules/{row.id}"} for row in rows]


# -- drafts and files --------------------------------------------------------------------------------------------------


async def draft_page(visit: Visit) -> Response:
    """Begin a draft: of a version, or an empty one."""
    code, form = visit.request.path_params["code"], await visit.form()
    try:
        async with visit.uow() as uow:
            if number := _text(form, "number"):
                head = await version_head(uow, code=code, number=_number(number))
                made = await new_draft_from(uow, version_id=head.id)
            else:
                made = await begin_draft(uow, workflow_code=code)
            draft = await version_head(uow, version_id=made)
    except (Unauthenticated, NotFound):
        raise
    except StepsError as error:
        return await _show(visit, code, error)
    return visit.go(Address(code, draft.number).path, flash="The draft is made. Nothing changes for anybody yet.")


async def discard_page(visit: Visit) -> Response:
    """Delete the draft with everything in it."""
    code, form = visit.request.path_params["code"], await visit.form()
    try:
        async with visit.uow() as uow:
            head = await version_head(uow, code=code, number=_number(_text(form, "number")))
            await discard_draft(uow, version_id=head.id)
    except (Unauthenticated, NotFound):
        raise
    except StepsError as error:
        return await _show(visit, code, error)
    return visit.go(f"/workflows/{quote(code)}", flash=f"The draft of version {head.number} is discarded.")


async def import_page(visit: Visit) -> Response:
    """Make a file's definition the draft of this workflow."""
    code, form = visit.request.path_params["code"], await visit.form()
    try:
        content = await _uploaded(form)
        async with visit.uow() as uow:
            replacing = _text(form, "replace") == "yes"
            made = await import_draft(uow, content=content, workflow_code=code, replace_draft=replacing)
            draft = await version_head(uow, version_id=made)
    except (Unauthenticated, NotFound):
        raise
    except StepsError as error:
        return await _show(visit, code, error)
    return visit.go(Address(code, draft.number).path, flash="The file is the draft now; check it, then publish.")


async def export_page(visit: Visit) -> Response:
    """A version as a file that the import reads. POST, because it goes on record."""
    code, form = visit.request.path_params["code"], await visit.form()
    async with visit.uow() as uow:
        head = await version_head(uow, code=code, number=_number(_text(form, "number")))
        content = await export_definition(uow, version_id=head.id)
    name = quote(f"{code}_v{head.number}.yaml")
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
    return Response(content.encode(), media_type="application/yaml; charset=utf-8", headers=headers)


async def _uploaded(form: FormData) -> str:
    upload = form.get("file")
    if not isinstance(upload, UploadFile) or not upload.filename:
        raise InvalidRequest("Choose a file first.")
    content = await upload.read(MAX_UPLOAD + 1)
    if len(content) > MAX_UPLOAD:
        raise InvalidRequest("The file is larger than 1.5 MB; import it with the API.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest("The file is not UTF-8 text.") from None


# -- comparison --------------------------------------------------------------------------------------------------------


async def compare_page(visit: Visit) -> Response:
    """Two versions beside each other; without a choice the latest two."""
    code, query = visit.request.path_params["code"], visit.request.query_params
    async with visit.uow() as uow:
        workflow = await find_workflow(uow, code=code)
        versions = await versions_of(uow, workflow_id=workflow["id"])
        by_number = {version.number: version for version in versions}
        newest = [version.number for version in versions[:2]] or [0]
        before = by_number.get(_number(query.get("from") or str(newest[-1])))
        after = by_number.get(_number(query.get("to") or str(newest[0])))
        if before is None or after is None:
            raise NotFound("There is no such version of this workflow.")
        diff = await compare_versions(uow, before=before.id, after=after.id)
        page = {
            "code": code,
            "label": workflow["label"],
            "path": f"/workflows/{quote(code)}",
            "numbers": [{"number": v.number, "word": STATES.get(v.state, ("", v.state))[1]} for v in versions],
            "from": before.number,
            "to": after.number,
            "from_href": Address(code, before.number).path,
            "to_href": Address(code, after.number).path,
            "tally": diff_tally(diff),
            "groups": diff_rows(diff, uow.registry),
        }
        title = f"{workflow['label']}: version {before.number} and {after.number}"
        return await visit.page(uow, "steps/workflow_compare.html", title, page=page)


async def by_id_page(visit: Visit) -> Response:
    """Lead from a version's id, as lists and trails carry it, to its page."""
    id_ = _uuid(visit.request.path_params["id"])
    if id_ is None:
        raise NotFound("There is no such workflow version.")
    async with visit.uow() as uow:
        head = await version_head(uow, version_id=id_)
    return RedirectResponse(Address(head.code, head.number).path, status_code=303)


# -- reading what was sent ---------------------------------------------------------------------------------------------


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def _number(given: str) -> int:
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        raise NotFound("There is no such version of this workflow.")
    return int(given)


def _uuid(given: str) -> UUID | None:
    try:
        return UUID(given)
    except ValueError:
        return None


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/workflows", list_page),
    PageRoute("/workflows/{id}", workflow_page),
    PageRoute("/workflows/{code}/draft", draft_page, ("POST",)),
    PageRoute("/workflows/{code}/discard", discard_page, ("POST",)),
    PageRoute("/workflows/{code}/import", import_page, ("POST",)),
    PageRoute("/workflows/{code}/export", export_page, ("POST",)),
    PageRoute("/workflows/{code}/compare", compare_page),
    PageRoute("/workflow-versions/{id}", by_id_page),
)
