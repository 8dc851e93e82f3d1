"""Calendars: the year at a glance, the week, what comes from where, and the way of a changed version into force."""

from datetime import date
from typing import Any
from uuid import UUID

from starlette.responses import Response

from admin_views import calendar_forms, calendar_view
from admin_views.navigation import record_path
from admin_views.pages import PageRoute
from admin_views.visit import Visit, record_id
from app.core.errors import NotFound, StepsError, Unauthenticated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.calendars import drafts, versions
from app.domain.calendars.calendars import Calendar
from app.domain.calendars.contents import Content, content_of, differences, made_of, version_row
from app.domain.calendars.errors import SlaError
from app.domain.calendars.holiday_import import HolidaySource, known_places
from app.domain.calendars.queries import VersionLine, calendar_head, calendar_lines, named_days, uses_of, versions_of
from app.domain.calendars.store import calendar_of_version
from app.domain.calendars.trial import EXAMPLES, start_of, try_out
from app.domain.calendars.wall_time import zone_info
from app.domain.sla.recalculation_preview import MovedDeadline, preview_of

CALENDAR, VERSION = "calendar", "calendar_version"
FIRST_YEAR, LAST_YEAR = 1902, 2198
NEW_HREF = "/data/calendars/new"


async def calendars_page(visit: Visit) -> Response:
    """Every calendar: what is in force, what waits for a review, when it is closed next."""
    async with visit.uow() as uow:
        rows = [_line(visit, row) for row in await calendar_lines(uow)]
        page = {"rows": rows, "may_create": visit.may("create", CALENDAR) is not None, "new_href": NEW_HREF}
        return await visit.page(uow, "steps/calendars.html", "Calendars", page=page)


def _line(visit: Visit, row: Any) -> dict[str, Any]:
    formats, href = visit.formats, f"/calendars/{row['id']}"
    made = f"{row['composition']} of {row['parts']}" if row["composition"] else ""
    return {
        "href": href,
        "code": row["code"],
        "label": row["label"],
        "zone": row["zone"],
        "made": f"{made[:1].upper()}{made[1:]}",
        "number": row["number"],
        "since": formats.date(row["published_at"].date()) if row["published_at"] else "",
        "next": formats.date(row["next_day"]) if row["next_day"] else "",
        "until": str(row["last_holiday"].year) if row["last_holiday"] else "",
        "draft": row["draft"],
        "draft_state": row["draft_state"],
        "draft_label": f"{calendar_view.STATES[row['draft_state']]} {row['draft']}" if row["draft"] else "",
        "draft_href": f"{href}?version={row['draft']}" if row["draft"] else "",
    }


async def calendar_page(visit: Visit) -> Response:
    """One calendar in one of its versions: the draft where there is one, else that in force, or one that is named."""
    return await _show(visit, _id(visit))


async def _show(visit: Visit, id_: UUID, error: StepsError | None = None, wanted: UUID | None = None) -> Response:
    query = visit.request.query_params
    async with visit.uow() as uow:
        head = await calendar_head(uow, id_)
        listed = await versions_of(uow, id_)
        shown = _chosen(listed, query.get("version"), wanted)
        today = uow.now.astimezone(zone_info(head["zone"])).date()
        year = _year(query.get("year"), today)
        row = await version_row(uow, shown.id) if shown else None
        content = await content_of(uow, row) if row is not None else Content(week={})
        calendar, problem = await _usable(uow, shown)
        named = await named_days(uow, content)
        base = _compared(listed, shown, query.get("compare"))
        before = await content_of(uow, await version_row(uow, base.id)) if base else None
        href = f"/calendars/{id_}"
        mine = f"{href}?version={shown.number}" if shown else href
        may_edit = visit.may("update", VERSION) is not None
        editable = may_edit and shown is not None and shown.state == "draft"
        page: dict[str, Any] = {
            "href": href,
            "self": f"{mine}{'&' if shown else '?'}year={year}",
            "label": head["label"],
            "code": head["code"],
            "zone": head["zone"],
            "today": today.isoformat(),
            "facts": _facts(visit, shown, content, head["zone"]),
            "version": _version(shown, listed) if shown else None,
            "year": calendar_view.year_view(
                calendar, named, year, today, await named_days(uow, before) if before else None
            ),
            "previous_href": f"{mine}{'&' if shown else '?'}year={year - 1}" if year > FIRST_YEAR else None,
            "next_href": f"{mine}{'&' if shown else '?'}year={year + 1}" if year < LAST_YEAR else None,
            "days": calendar_view.day_rows(named, year, calendar, visit.formats),
            "week": calendar_view.week_rows(content),
            "composed": content.composition is not None,
            "composition": content.composition.value if content.composition else "",
            "parts": {str(part) for part, _ in content.parts},
            "part_rows": [{"code": code, "href": f"/calendars/{part}"} for part, code in content.parts],
            "others": [each for each in await calendar_lines(uow) if each["id"] != id_] if editable else [],
            "versions": calendar_view.version_lines(listed, shown, href, visit.formats),
            "differences": calendar_view.difference_rows(differences(before, content)) if before else None,
            "compared": base.number if base else None,
            "compare_given": bool(query.get("compare")),
            "uses": [_use(visit, use) for use in await uses_of(uow, id_, head["code"])],
            "editable": editable,
            "may_begin": may_edit and not any(each.state != "published" for each in listed),
            "edit_href": f"/data/calendars/{id_}/edit" if visit.may("update", CALENDAR) else None,
            "history_href": f"/data/calendars/{id_}?tab=history",
            "sources": [source.value for source in HolidaySource],
            "places": known_places() if editable else [],
            "kinds": [{"value": kind, "label": words[2]} for kind, words in calendar_view.KINDS.items()],
            "problem": problem,
            "error": error.detail if error else "",
            "errors": {each.path: each.message for each in error.problems} if error else {},
            "trial": _trial(visit, calendar, named, head["zone"], today),
        }
        status = error.status if error else 200
        return await visit.page(uow, "steps/calendar.html", head["label"], status=status, page=page)


def _chosen(listed: list[VersionLine], asked: str | None, wanted: UUID | None) -> VersionLine | None:
    if wanted is not None:
        return next((version for version in listed if version.id == wanted), None)
    if asked:
        return _named(listed, asked)
    unpublished = next((version for version in listed if version.state != "published"), None)
    return unpublished or (listed[0] if listed else None)


def _named(listed: list[VersionLine], asked: str) -> VersionLine:
    found = next((version for version in listed if str(version.number) == asked), None)
    if found is None:
        raise NotFound("The calendar has no such version.")
    return found


def _compared(listed: list[VersionLine], shown: VersionLine | None, asked: str | None) -> VersionLine | None:
    """The version to compare with: the one that is asked for; for a draft the one in force."""
    if asked:
        return _named(listed, asked)
    if shown is None or shown.state == "published":
        return None
    return next((version for version in listed if version.state == "published"), None)


def _year(asked: str | None, today: date) -> int:
    if asked and asked.isascii() and asked.isdigit() and FIRST_YEAR <= int(asked[:5]) <= LAST_YEAR:
        return int(asked)
    return today.year


async def _usable(uow: UnitOfWork, shown: VersionLine | None) -> tuple[Calendar | None, str]:
    """The version as a calendar, or what keeps it from being one."""
    if shown is None:
        return None, ""
    try:
        return await calendar_of_version(uow, shown.id), ""
    except SlaError as error:
        return None, error.detail


def _facts(visit: Visit, shown: VersionLine | None, content: Content, zone: str) -> list[dict[str, Any]]:
    if shown is None:
        return [{"label": "Time zone", "value": zone}]
    when = visit.formats.date(shown.published_at.date()) if shown.published_at else ""
    return [
        {"label": "Time zone", "value": zone},
        {"label": "Works when", "value": made_of(content)},
        {"label": "Published", "value": " by ".join(filter(None, (when, shown.published_by)))},
        {"label": "Why" if shown.state == "published" else "Note", "value": shown.reason or shown.notes},
        {"label": "Review asked by", "value": shown.submitted_by if shown.state == "in_review" else None},
    ]


def _version(shown: VersionLine, listed: list[VersionLine]) -> dict[str, Any]:
    in_force = next((version for version in listed if version.state == "published"), None)
    label = calendar_view.STATES[shown.state]
    if shown.state == "published":
        label = "In force" if shown == in_force else "Superseded"
    return {
        "id": str(shown.id),
        "path": f"/calendar-versions/{shown.id}",
        "number": shown.number,
        "state": shown.state,
        "tone": "void" if label == "Superseded" else calendar_view.TONES[shown.state],
        "label": label,
        "row_version": shown.row_version,
        "notes": shown.notes or "",
        "review_note": shown.review_note or "",
        "superseded": in_force is not None and shown.number < in_force.number,
    }


def _use(visit: Visit, use: Any) -> dict[str, Any]:
    entity = visit.runtime.registry.entity(use.entity)
    label = "Calendars made of it" if use.entity == CALENDAR else entity.label_plural
    records = [{"label": label, "href": record_path(entity, id_)} for id_, label in use.records]
    return {
        "label": label,
        "icon": entity.icon,
        "count": len(records),
        "records": records[:6],
        "more": len(records) - 6,
    }


def _trial(visit: Visit, calendar: Calendar | None, named: Any, zone: str, today: date) -> dict[str, Any]:
    """The box in which a start and a promise are tried out."""
    query = visit.request.query_params
    start, promise = query.get("start", f"{today.isoformat()}T09:00"), query.get("promise", "")
    found: dict[str, Any] = {"start": start, "promise": promise, "examples": EXAMPLES, "answer": None, "error": ""}
    if calendar is None or not promise:
        return found
    names = {day: "; ".join(f"{code} {special.label}".strip() for code, special in told) for day, told in named.items()}
    try:
        answer = try_out(calendar, start_of(start, zone), promise[:100], names=names)
        local = answer.due_at.astimezone(zone_info(zone))
        found["answer"] = calendar_view.answer_view(answer, start, zone, visit.formats, local)
    except SlaError as error:
        found["error"] = error.detail
    return found


# -- drafts ------------------------------------------------------------------------------------------------------------


async def draft_page(visit: Visit) -> Response:
    """Begin a draft of the version in force."""
    id_ = _id(visit)
    try:
        async with visit.uow() as uow:
            version = await drafts.new_draft(uow, calendar_id=id_)
            number = (await version_row(uow, version))["number"]
    except (Unauthenticated, NotFound):
        raise
    except StepsError as error:
        return await _show(visit, id_, error)
    return visit.go(f"/calendars/{id_}?version={number}", flash="The draft is yours to change; what is in force stays.")


async def version_page(visit: Visit) -> Response:
    """Where a version is shown: on the page of its calendar."""
    async with visit.uow() as uow:
        authorize(uow, "read", VERSION)
        row = await version_row(uow, _id(visit))
    return visit.go(f"/calendars/{row['calendar_id']}?version={row['number']}")


async def change_page(visit: Visit) -> Response:
    """Change a draft: its week, days, what it is made of, or holidays that are imported."""
    id_, change = _id(visit), visit.request.path_params["change"]
    form = await visit.form()
    typed = {name: value.strip() for name, value in form.items() if isinstance(value, str)}
    async with visit.uow() as uow:
        row, today = await version_row(uow, id_), uow.now.date()
    year = _year(typed.get("year"), today)
    try:
        async with visit.uow() as uow:
            match change:
                case "week":
                    said = await calendar_forms.set_week(uow, id_, typed)
                case "days":
                    said, year = await calendar_forms.add_days(uow, id_, typed)
                case "removal":
                    said = await calendar_forms.remove_days(uow, id_, [str(day) for day in form.getlist("day")], typed)
                case "composition":
                    said = await calendar_forms.compose(uow, id_, [str(part) for part in form.getlist("part")], typed)
                case "import":
                    said, year = await calendar_forms.import_holidays(uow, id_, typed)
                case _:
                    raise NotFound("There is no such page.")
    except (Unauthenticated, NotFound):
        raise
    except StepsError as error:
        return await _show(visit, row["calendar_id"], error, id_)
    return visit.go(f"/calendars/{row['calendar_id']}?version={row['number']}&year={year}", flash=said)


# -- into force --------------------------------------------------------------------------------------------------------


async def review_page(visit: Visit) -> Response:
    """What a version changes and which deadlines it moves; whoever may, publishes it here or sends it back."""
    return await _review(visit, _id(visit))


async def _review(visit: Visit, id_: UUID, error: StepsError | None = None) -> Response:
    async with visit.uow() as uow:
        authorize(uow, "read", VERSION)
        row = await version_row(uow, id_)
        listed = await versions_of(uow, row["calendar_id"])
        shown = next(version for version in listed if version.id == id_)
        content = await content_of(uow, row)
        in_force = next((version for version in listed if version.state == "published"), None)
        before = await content_of(uow, await version_row(uow, in_force.id)) if in_force else None
        preview, problem = None, ""
        if shown.state != "published":
            try:
                found = await preview_of(uow, version_id=id_)
                preview = calendar_view.preview_view(
                    found, visit.formats, uow.now, lambda moved: _record_href(visit, moved)
                )
            except SlaError as trouble:
                problem = trouble.detail
        href = f"/calendars/{row['calendar_id']}"
        wrote = await versions.has_written(uow, id_)
        may_publish = visit.may("transition:publish", VERSION) is not None and shown.state == "in_review"
        page = {
            "href": f"{href}?version={shown.number}",
            "label": row["calendar"],
            "code": row["code"],
            "version": _version(shown, listed),
            "in_force": in_force.number if in_force else None,
            "facts": [
                {"label": "Asked by", "value": shown.submitted_by},
                {"label": "Asked", "value": visit.formats.instant(shown.submitted_at) if shown.submitted_at else ""},
                {"label": "Note", "value": shown.notes},
            ],
            "differences": calendar_view.difference_rows(differences(before or Content(week={}), content)),
            "preview": preview,
            "problem": problem,
            "wrote": wrote,
            "may_ask": visit.may("update", VERSION) is not None and shown.state == "draft" and not problem,
            "may_publish": may_publish and not wrote and not problem,
            "may_send_back": may_publish,
            "may_discard": visit.may("transition:discard", VERSION) is not None and shown.state != "published",
            "needs_second": may_publish and wrote,
            "error": error.detail if error else "",
        }
        title = f"{row['calendar']}: version {shown.number}"
        status = error.status if error else 200
        return await visit.page(uow, "steps/calendar_review.html", title, status=status, page=page)


def _record_href(visit: Visit, moved: MovedDeadline) -> str | None:
    entity = visit.runtime.registry.entities.get(moved.entity)
    return record_path(entity, moved.record_id) if entity is not None and moved.entity != "stage_run" else None


async def act_page(visit: Visit) -> Response:
    """Ask for a review, publish, send back, or discard."""
    id_, action = _id(visit), visit.request.path_params["action"]
    form = await visit.form()
    typed = {name: value.strip() for name, value in form.items() if isinstance(value, str)}
    seen, reason = calendar_forms.seen(typed), typed.get("reason", "")
    async with visit.uow() as uow:
        row = await version_row(uow, id_)
    here, calendar = f"/calendar-versions/{id_}/review", f"/calendars/{row['calendar_id']}"
    try:
        async with visit.uow() as uow:
            match action:
                case "ask":
                    await versions.ask_for_review(uow, version_id=id_, expected_version=seen)
                    after, said = here, "A second person can look through it now and publish it."
                case "publish":
                    await versions.publish_version(uow, version_id=id_, expected_version=seen, reason=reason)
                    after, said = calendar, f"Version {row['number']} is in force; open deadlines follow it."
                case "send-back":
                    await versions.send_back(uow, version_id=id_, expected_version=seen, reason=reason)
                    after, said = f"{calendar}?version={row['number']}", "It is a draft again."
                case "discard":
                    await versions.discard_draft(uow, version_id=id_)
                    after, said = calendar, f"Version {row['number']} is discarded."
                case _:
                    raise NotFound("There is no such page.")
    except (Unauthenticated, NotFound):
        raise
    except StepsError as error:
        return await _review(visit, id_, error)
    return visit.go(after, flash=said)


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such calendar.")
    return id_


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/calendars", calendars_page),
    PageRoute("/calendars/{id}", calendar_page),
    PageRoute("/calendars/{id}/draft", draft_page, ("POST",)),
    PageRoute("/calendar-versions/{id}", version_page),
    PageRoute("/calendar-versions/{id}/review", review_page),
    PageRoute("/calendar-versions/{id}/change/{change}", change_page, ("POST",)),
    PageRoute("/calendar-versions/{id}/{action}", act_page, ("POST",)),
)
