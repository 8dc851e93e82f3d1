"""SLA policies: which there are, one with its versions, and the editor of a draft that is tried before it counts."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text
from starlette.responses import Response

from admin_views.formats import Formats
from admin_views.lifecycle_view import condition_fields, condition_in_words, titles_in
from admin_views.navigation import record_path
from admin_views.pages import PageRoute
from admin_views.sla import duration_words, tabs_of
from admin_views.sla_form import CONDITION_WORDS, POINTS, definition_from, empty_form, form_of, in_words, posted_form
from admin_views.visit import Visit, record_id
from app.core.errors import FieldProblem, NotFound, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.entities.queries import ListQuery, list_records
from app.domain.sla.backfill import reach_of
from app.domain.sla.linter import measurable
from app.domain.sla.publishing import (
    create_policy,
    discard,
    findings_of,
    new_draft,
    publish,
    save_draft,
    send_back,
    set_active,
    submit,
)
from app.domain.sla.store import read_policy
from app.domain.sla.trials import Simulation, Trial, simulate, try_policy
from models.schema import EntityDef, FieldType
from models.sla import BUSINESS_DATE, CONDITIONS, OWN_DEADLINE, PolicyDef

HREF = "/sla/policies"
GONE = "There is no such SLA policy, or you may not see it."
READ_ALL = text(
    """
SELECT p.id, p.code, p.label, p.entity, p.measure, p.active, p.protected, p.description,
       max(v.number) FILTER (WHERE v.state = 'published') AS published,
       max(v.number) FILTER (WHERE v.state IN ('draft', 'in_review')) AS draft,
       bool_or(v.state = 'in_review') AS in_review,
       (SELECT count(*) FROM sla_clock c WHERE c.policy_id = p.id AND c.state IN ('running', 'paused')) AS open
FROM sla_policy p LEFT JOIN sla_policy_version v ON v.policy_id = p.id
GROUP BY p.id ORDER BY p.entity, p.label
"""
)
READ_VERSIONS = text(
    """
SELECT v.id, v.number, v.state, v.definition, v.row_version, v.notes, v.published_at, v.changed_by_id,
       c.name AS changed_by, u.name AS published_by,
       (SELECT count(*) FROM sla_clock k WHERE k.policy_version_id = v.id AND k.state IN ('running', 'paused')) AS open
FROM sla_policy_version v
LEFT JOIN app_user c ON c.id = v.changed_by_id LEFT JOIN app_user u ON u.id = v.published_by_id
WHERE v.policy_id = :id ORDER BY v.number DESC
"""
)
STATES = {"draft": ("draft", "Draft"), "in_review": ("waiting", "In review"), "published": ("done", "In force"),
          "retired": ("void", "Replaced")}  # fmt: skip


async def list_page(visit: Visit) -> Response:
    """Every policy, by what it is about."""
    return await _show_list(visit)


async def _show_list(visit: Visit, error: StepsError | None = None, typed: Mapping[str, str] | None = None) -> Response:
    async with visit.uow() as uow:
        authorize(uow, "read", "sla_policy")
        entities = uow.registry.entities
        may = visit.may("configure", "sla_policy_version") is not None  # others would count clocks of other desks
        rows = [
            {
                "href": f"{HREF}/{row.id}",
                "label": row.label,
                "description": row.description or "",
                "entity": entities[row.entity].label_plural if row.entity in entities else row.entity or "",
                "measure": "Deadline" if row.measure == "deadline" else "Working time",
                "published": row.published,
                "draft": row.draft,
                "in_review": bool(row.in_review),
                "active": row.active,
                "protected": bool(row.protected),
                "open": row.open if may else None,
                "open_href": f"/sla?policy={row.code}",
            }
            for row in await uow.execute(READ_ALL)
        ]
        named = sorted(((e.name, e.label_plural) for e in entities.values() if measurable(e)), key=lambda each: each[1])
        page = {
            "tabs": tabs_of(visit, HREF),
            "rows": rows,
            "may": may,
            "entities": named,
            "typed": typed or {},
            "errors": {p.path: p.message for p in error.problems} if error else {},
            "error": error.detail if error is not None and not error.problems else "",
        }
        status = error.status if error is not None else 200
        return await visit.page(uow, "steps/sla_policies.html", "SLA policies", page=page, status=status)


async def create_page(visit: Visit) -> Response:
    """Begin a policy: its name, its code and what it is about; the rest is written in the editor."""
    form = await visit.form()
    typed = {name: str(form.get(name, "")).strip() for name in ("code", "label", "entity")}
    given = {**definition_from(empty_form()), **typed, "target": "PT4H"}
    given = {name: value for name, value in given.items() if name not in ("entity", "targets")}
    try:
        async with visit.uow() as uow:
            draft = await create_policy(uow, entity=typed["entity"], given=given)
    except StepsError as error:
        if error.status not in (409, 422):
            raise
        return await _show_list(visit, error, typed)
    return visit.go(f"{HREF}/{draft.policy_id}", flash="The draft is yours to write. Somebody else publishes it.")


async def policy_page(visit: Visit) -> Response:
    """A policy: the draft where there is one, else the version in force, or the one that is asked for."""
    return await _show(visit, _id(visit))


async def _show(
    visit: Visit,
    id_: UUID,
    *,
    error: StepsError | None = None,
    form: Mapping[str, Any] | None = None,
    tried: Mapping[str, Any] | None = None,
) -> Response:
    async with visit.uow() as uow:
        authorize(uow, "read", "sla_policy_version")
        policy = await _policy(uow, id_)
        versions = (await uow.execute(READ_VERSIONS, {"id": id_})).all()
        shown = _chosen(list(versions), visit.request.query_params.get("version"))
        definition = PolicyDef.model_validate(shown.definition) if shown is not None else None
        may = visit.may("configure", "sla_policy_version") is not None
        editable = may and shown is not None and shown.state == "draft"
        entity = uow.registry.entities.get(policy.entity or "")
        problems = list(error.problems) if error else []
        if definition is not None and shown is not None and shown.state in ("draft", "in_review") and not problems:
            problems = await findings_of(uow, definition, policy.entity)
        page: dict[str, Any] = {
            "tabs": tabs_of(visit, ""),
            "id": str(id_),
            "path": f"{HREF}/{id_}",
            "code": policy.code,
            "label": policy.label,
            "entity": entity.label_plural if entity is not None else policy.entity,
            "active": policy.active,
            "protected": bool(policy.protected),
            "may": may,
            "versions": [_version(row, visit.formats, f"{HREF}/{id_}", shown, may) for row in versions],
            "version": _head(shown, visit) if shown is not None else None,
            "has_draft": any(row.state in ("draft", "in_review") for row in versions),
            "problems": [{"place": _place(problem.path), "message": problem.message} for problem in problems],
            "error": error.detail if error is not None and not error.problems else "",
            "reading": _reading(uow, definition, entity) if definition is not None and not editable else None,
            "editor": None,
            "reach": None,
            "tried": tried,
        }
        if editable and definition is not None and shown is not None:
            page["editor"] = await _editor(uow, policy, definition, entity, form)
        waits = shown is not None and shown.state in ("draft", "in_review")
        if may and waits and shown is not None and not problems and not policy.protected:
            page["reach"] = await reach_of(uow, version_id=shown.id)
        status = error.status if error is not None else 200
        return await visit.page(uow, "steps/sla_policy.html", policy.label, page=page, status=status)


def _chosen(versions: list[Row[Any]], asked: str | None) -> Row[Any] | None:
    if asked:
        found = next((row for row in versions if str(row.number) == asked), None)
        if found is None:
            raise NotFound("The policy has no such version.")
        return found
    first = next((row for row in versions if row.state in ("draft", "in_review")), None)
    return first or next((row for row in versions if row.state == "published"), versions[0] if versions else None)


def _version(row: Row[Any], formats: Formats, path: str, shown: Row[Any] | None, may: bool) -> dict[str, Any]:
    tone, word = STATES[row.state]
    return {
        "number": row.number,
        "href": f"{path}?version={row.number}",
        "current": shown is not None and shown.id == row.id,
        "tone": tone,
        "word": word,
        "at": formats.instant(row.published_at) if row.published_at else "",
        "by": row.published_by or "",
        "changed_by": row.changed_by or "",
        "open": row.open if may else None,
        "notes": row.notes or "",
    }


def _head(row: Row[Any], visit: Visit) -> dict[str, Any]:
    tone, word = STATES[row.state]
    return {
        "id": str(row.id), "number": row.number, "state": row.state, "tone": tone, "word": word,
        "row_version": row.row_version, "changed_by": row.changed_by or "", "notes": row.notes or "",
        "mine": row.changed_by_id == visit.actor.id,
    }  # fmt: skip


def _reading(uow: UnitOfWork, definition: PolicyDef, entity: EntityDef | None) -> dict[str, Any]:
    """A version in words."""
    lines = [
        {"label": CONDITION_WORDS[name][0], "value": condition_in_words(value, entity, uow.registry)}
        for name in CONDITIONS
        if (value := getattr(definition, name))
    ]
    targets = []
    for target in definition.targets:
        promised = duration_words(target.within) if target.within is not None else target.by or ""
        if target.by == OWN_DEADLINE:
            promised = "the deadline that the workflow gives it"
        when = condition_in_words(target.when, entity, uow.registry) if target.when else "every record"
        targets.append({"when": when, "promise": promised})
    return {
        "measure": "A deadline, which is never paused" if definition.measure == "deadline" else "Working time",
        "calendar": definition.calendar or ("" if definition.protected else "every hour of every day"),
        "since": definition.start_from or "",
        "base": "" if definition.base_date == BUSINESS_DATE else definition.base_date,
        "conditions": lines,
        "targets": targets,
        "thresholds": in_words(definition),
        "description": definition.description,
    }


async def _editor(
    uow: UnitOfWork, policy: Row[Any], definition: PolicyDef, entity: EntityDef | None, form: Mapping[str, Any] | None
) -> dict[str, Any]:
    calendars = uow.table("calendar")
    rows = await uow.execute(select(calendars.c.code, calendars.c.label).order_by(calendars.c.label))
    conditions = [getattr(definition, name) for name in CONDITIONS] + [target.when for target in definition.targets]
    dates = _fields(entity, FieldType.DATE, FieldType.DATETIME)
    return {
        "form": form or form_of(definition.plain()),
        "words": CONDITION_WORDS,
        "points": POINTS,
        "calendars": [("", "None: every hour of every day"), *((row.code, row.label) for row in rows)],
        "measures": [("duration", "Working time"), ("deadline", "A deadline")],
        "instants": [("", "When the clock starts"), ("created_at", "Created"), *_fields(entity, FieldType.DATETIME)],
        "dates": [(BUSINESS_DATE, "The business date"), ("created_at", "Created"), *dates],
        "zones": [
            ("", "The deadline names it"),
            ("calendar", "That of the calendar"),
            *_fields(entity, FieldType.TEXT),
        ],
        "fields": condition_fields(uow, entity) if entity is not None else [],
        "titles": await titles_in(uow, entity, conditions) if entity is not None else {},
        "protected": bool(policy.protected),
    }


def _fields(entity: EntityDef | None, *types: FieldType) -> list[tuple[str, str]]:
    return [(f.name, f.label) for f in entity.fields if f.type in types] if entity is not None else []


def _place(path: str) -> str:
    """Where a problem stands, in the words of the editor."""
    first, *rest = path.split(".")
    if first in CONDITION_WORDS:
        return CONDITION_WORDS[first][0]
    word = first.replace("_", " ").capitalize()
    return f"{word.removesuffix('s')} {int(rest[0]) + 1}" if rest and rest[0].isdigit() else word


# -- what the editor and the buttons send ------------------------------------------------------------------------------


async def save_page(visit: Visit) -> Response:
    """Save the draft as it stands in the form; `then` tries it, puts it through the past, or gives it to review."""
    id_, form = _id(visit), await visit.form()
    given, then = posted_form(form), str(form.get("then", ""))
    tried: dict[str, Any] | None = None
    try:
        definition = definition_from(given)
        async with visit.uow() as uow:
            policy = await _policy(uow, id_)
            if policy.protected:
                definition = await _only_thresholds(uow, id_, definition)
            if then == "try":
                tried = await _tried(visit, uow, policy, definition, str(form.get("record", "")))
            elif then == "simulate":
                found = await simulate(uow, entity=policy.entity, given={**definition, "code": policy.code})
                tried = _simulated(visit, uow, policy, found)
            else:
                version = str(form.get("row_version", ""))
                draft = await save_draft(
                    uow,
                    policy_id=id_,
                    given=definition,
                    notes=given["notes"] or None,
                    expected_version=int(version) if version.isascii() and version.isdigit() else None,
                )
                if then == "submit":
                    await submit(uow, version_id=draft.version_id)
    except StepsError as error:
        if error.status not in (400, 404, 409, 412, 422):
            raise
        return await _show(visit, id_, error=error, form=given)
    if tried is not None:
        return await _show(visit, id_, form=given, tried=tried)
    said = "Given to review: somebody else looks it through and publishes it." if then == "submit" else "Saved."
    return visit.go(f"{HREF}/{id_}", flash=said)


async def _only_thresholds(uow: UnitOfWork, id_: UUID, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of the platform's own policy the editor shows only what may be changed."""
    versions = (await uow.execute(READ_VERSIONS, {"id": id_})).all()
    published = next(row.definition for row in versions if row.state == "published")
    return {**published, "thresholds": given.get("thresholds", []), "label": given.get("label") or published["label"]}


async def _tried(
    visit: Visit, uow: UnitOfWork, policy: Row[Any], definition: Mapping[str, Any], record: str
) -> dict[str, Any]:
    """What the policy makes of one record, found by its id or by its title."""
    given = {**definition, "code": policy.code}
    read_policy(given)
    found_id = _uuid(record)
    if found_id is None:
        page = await list_records(uow, policy.entity, ListQuery(search=record, limit=1, sort="-created_at"))
        if not page.records:
            raise ValidationFailed([FieldProblem("record", "No record has this in its title; try another.")])
        found_id = page.records[0]["id"]
    _, trial = await try_policy(uow, entity=policy.entity, given=given, record_id=found_id)
    assert trial is not None
    return {"kind": "record", **_trial(visit, uow, policy, trial)}


def _trial(visit: Visit, uow: UnitOfWork, policy: Row[Any], trial: Trial) -> dict[str, Any]:
    clock, formats = trial.clock, visit.formats
    moments = sorted([*trial.missed, *trial.schedule], key=lambda each: each[1])
    return {
        "title": trial.title,
        "href": record_path(uow.registry.entity(policy.entity), trial.record_id),
        "starts": clock is not None,
        "state": clock.state.value.capitalize() if clock else "",
        "started": formats.instant(clock.started_at) if clock else "",
        "due": formats.instant(clock.due_at) if clock else "",
        "target": duration_words(clock.target) if clock else "",
        "breached": formats.instant(clock.breached_at) if clock and clock.breached_at else "",
        "fires": [
            {"threshold": code.replace("_", " ").capitalize(), "at": formats.instant(at)} for code, at in moments
        ],
    }


def _named(code: str) -> str:
    return code.replace("_", " ").replace("-", " ").capitalize()


def _simulated(visit: Visit, uow: UnitOfWork, policy: Row[Any], found: Simulation) -> dict[str, Any]:
    ended = found.met + found.missed
    return {
        "kind": "past",
        "records": found.records,
        "clocks": found.clocks,
        "met": found.met,
        "missed": found.missed,
        "open": found.open_,
        "late": found.late,
        "cancelled": found.cancelled,
        "share": f"{100 * found.met / ended:.1f} %" if ended else "",
        "latest": [_trial(visit, uow, policy, trial) for trial in found.latest],
    }


async def move_page(visit: Visit) -> Response:
    """Publish, send back, discard, begin a draft, or switch the policy off or on."""
    id_, form = _id(visit), await visit.form()
    how, reason = visit.request.path_params["how"], str(form.get("reason", "")).strip()
    version_id = _uuid(str(form.get("version", "")))
    try:
        async with visit.uow() as uow:
            await _policy(uow, id_)
            if how == "draft":
                await new_draft(uow, policy_id=id_)
            elif how in ("off", "on"):
                await set_active(uow, policy_id=id_, active=how == "on", reason=reason)
            elif version_id is None:
                raise NotFound("The policy has no such version.")
            elif how == "publish":
                backfill = form.get("backfill") == "yes"
                await publish(uow, version_id=version_id, notes=reason or None, backfill=backfill)
            elif how == "send-back":
                await send_back(uow, version_id=version_id, reason=reason)
            elif how == "discard":
                await discard(uow, version_id=version_id)
            else:
                raise NotFound("There is no such page.")
            left = await uow.scalar(select(uow.table("sla_policy").c.id).where(uow.table("sla_policy").c.id == id_))
    except StepsError as error:
        if error.status not in (403, 409, 422) or (error.status == 403 and how != "publish"):
            raise
        return await _show(visit, id_, error=error)
    said = {
        "publish": "Published: clocks that start from now on follow it.",
        "send-back": "Sent back to its author.",
        "discard": "The draft is discarded.",
        "draft": "A draft is begun; what is in force stays.",
        "off": "Switched off: no clock starts; those that run go on.",
        "on": "Switched on.",
    }
    return visit.go(f"{HREF}/{id_}" if left else HREF, flash=said[how])


async def _policy(uow: UnitOfWork, id_: UUID) -> Row[Any]:
    policies = uow.table("sla_policy")
    row = (await uow.execute(select(policies).where(policies.c.id == id_))).first()
    if row is None:
        raise NotFound(GONE)
    return row


def _uuid(given: str) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError:
        return None


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound(GONE)
    return id_


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/sla/policies", list_page),
    PageRoute("/sla/policies/new", create_page, ("POST",)),
    PageRoute("/sla/policies/{id}", policy_page),
    PageRoute("/sla/policies/{id}/save", save_page, ("POST",)),
    PageRoute("/sla/policies/{id}/{how}", move_page, ("POST",)),
)
