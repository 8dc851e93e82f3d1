"""Raise an issue from a process, a run, a job or from nothing; what looks alike is shown while the title is typed."""

from collections.abc import Mapping
from urllib.parse import urlencode
from uuid import UUID

from starlette.responses import Response

from admin_views import issue_view
from admin_views.details import drawing_of
from admin_views.form_endpoints import problems_of, titles_in_form
from admin_views.form_values import Posted, default_raw, given_values, read_posted
from admin_views.forms import Filling, FormPage
from admin_views.issue_view import HREF
from admin_views.record_steps import step_model
from admin_views.titles import titles_of
from admin_views.visit import Visit
from app.core.errors import Conflict, Forbidden, NotFound, ValidationFailed
from app.domain.access.decisions import authorize
from app.domain.access.scope import require_in_scope
from app.domain.support.issue_links import ISSUE, Record, linkable
from app.domain.support.issue_queries import issues_of_record, lifecycles_of_lines
from app.domain.support.issue_similar import similar_issues
from app.domain.support.issues import raise_issue

ASKED = ("title", "description", "category", "urgency", "impact", "group", "assignee", "blocking")
PLACE = ("application", "node")
MOST_RECORDS = 20


async def new_page(visit: Visit) -> Response:
    """Raise an issue, about what it was raised from."""
    query = visit.request.query_params
    records = _records(query.getlist("record"))
    if visit.request.method != "POST":
        defaults = _defaults(visit, {"title": query.get("title", "")[:200]})
        return await _new_form(visit, records, Filling(posted=defaults))
    form = await visit.form()
    records = _records([text for text in form.getlist("record") if isinstance(text, str)])
    model = step_model(visit.runtime.registry, visit.runtime.registry.entity(ISSUE), _names(records))
    posted = read_posted(model, form)
    posted.extra.clear()
    try:
        given = given_values(model, posted, visit.formats, record=None)
        if given.problems:
            raise ValidationFailed(given.problems)
        async with visit.uow() as uow:
            issue_id = await raise_issue(uow, values=given.values, records=records)
    except (ValidationFailed, Conflict, Forbidden) as error:
        filling = Filling(posted=posted, problems=problems_of(error))
        return await _new_form(visit, records, filling, status=error.status)
    return visit.go(f"{HREF}/{issue_id}", flash="The issue is raised.")


def _names(records: list[Record]) -> tuple[str, ...]:
    return ASKED if records else (*ASKED, *PLACE)


def _defaults(visit: Visit, values: Mapping[str, str]) -> Posted:
    """What the form begins with. Without an impact it follows from what the issue is about."""
    entity, raw = visit.runtime.registry.entity(ISSUE), {}
    for name in (*ASKED, *PLACE):
        if name != "impact":
            raw[name] = values.get(name) or default_raw(entity.field(name), visit.formats, variables={})
    return Posted(raw={**raw, "impact": ""})


async def _new_form(visit: Visit, records: list[Record], filling: Filling, *, status: int = 200) -> Response:
    async with visit.uow() as uow:
        authorize(uow, "create", ISSUE)
        entity = uow.registry.entity(ISSUE)
        model = step_model(uow.registry, entity, _names(records))
        filling.other_titles = await titles_in_form(uow, model, filling)
        drawn = FormPage(visit, uow, model, filling, drawing_of(visit, uow, entity, titles=filling.other_titles))
        fields = drawn.controls()
        for field in fields:
            if field["name"] == "impact":
                field |= {"required": False, "help": "Left empty, the critical path and the deadlines say which."}
        titles = await titles_of(uow, records)
        if any(record not in titles for record in records):
            raise NotFound("There is no such record to raise an issue about, or you may not see it.")
        about = [
            {
                "value": f"{record[0]}:{record[1]}",
                "kind": uow.registry.entity(record[0]).label,
                "title": titles[record],
            }
            for record in records
        ]
        typed = drawn.raw(entity.field("title"))
        page = {
            "fields": fields,
            "errors": drawn.summary(),
            "about": about,
            "similar": issue_view.similar(await similar_issues(uow, title=str(typed))),
        }
        return await visit.page(uow, "steps/issue_new.html", "Raise an issue", page=page, status=status)


async def similar_page(visit: Visit) -> Response:
    """Issues with a title like the one being typed, as a fragment."""
    title = visit.request.query_params.get("title", "")
    async with visit.uow() as uow:
        found = issue_view.similar(await similar_issues(uow, title=title))
    return visit.fragment("steps/_issue_similar.html", similar=found)


async def about_page(visit: Visit) -> Response:
    """The issues about a record, as a part of its page, with the way to raise one."""
    records = _records(visit.request.query_params.getlist("record"))
    if len(records) != 1:
        raise NotFound("Say which record.")
    (entity, id_) = records[0]
    async with visit.uow() as uow:
        linkable(uow, entity)
        await require_in_scope(uow, "read", entity, id_)
        lines = await issues_of_record(uow, entity=entity, record_id=id_)
        lifecycles = await lifecycles_of_lines(uow, lines)
        cards = [
            issue_view.card(visit, line, lifecycles.get(line.version_id) if line.version_id else None, now=uow.now)
            for line in lines
        ]
    href = raise_href(entity, id_) if visit.may("create", ISSUE) is not None else None
    return visit.fragment("steps/_issues_about.html", about={"cards": cards, "raise_href": href})


def _records(given: list[str]) -> list[Record]:
    """What `record=process_run:<id>` names, each once."""
    found: dict[Record, None] = {}
    for text in given[:MOST_RECORDS]:
        entity, _, id_ = text.partition(":")
        try:
            found[entity, UUID(id_)] = None
        except ValueError:
            raise NotFound("There is no such record to raise an issue about.") from None
    return list(found)


def raise_href(entity: str, id_: object) -> str:
    """Where an issue about a record is raised."""
    return f"{HREF}/new?{urlencode({'record': f'{entity}:{id_}'})}"
