"""A template of messages: its words in a draft beside what they make of a real record, and its versions."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select
from starlette.datastructures import FormData
from starlette.responses import Response

from admin_views.navigation import RECORD_PAGES
from admin_views.pages import PageRoute
from admin_views.visit import Visit, record_id
from app.core.errors import FieldProblem, NotFound, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.notify import template_versions
from app.domain.notify.template_versions import TEMPLATE, VERSION, Preview
from app.domain.notify.templates import PARTS
from app.domain.notify.wording import names_of

HREF = RECORD_PAGES[TEMPLATE]
LABELS = {
    "subject": "Subject",
    "text_body": "Text of the mail",
    "html_body": "HTML of the mail",
    "in_app_body": "In the product",
}
ROWS = {"subject": 1, "text_body": 7, "html_body": 9, "in_app_body": 4}
HELP = {
    "subject": "Also the title in the product; empty means the words of the product.",
    "text_body": "Empty means the words of the product.",
    "html_body": "Empty means the text as it is.",
    "in_app_body": "Empty means the words of the product.",
}
TONES = {"draft": "draft", "published": "active", "retired": "void"}


async def template_page(visit: Visit) -> Response:
    """One template."""
    return await _show(visit, _id(visit))


async def _show(
    visit: Visit,
    id_: UUID,
    *,
    given: Mapping[str, str] | None = None,
    problems: tuple[FieldProblem, ...] = (),
    error: StepsError | None = None,
) -> Response:
    async with visit.uow() as uow:
        await require_in_scope(uow, "read", TEMPLATE, id_)
        table, versions = uow.table(TEMPLATE), uow.table(VERSION)
        row = (await uow.execute(select(table).where(table.c.id == id_))).mappings().one()
        known = (
            (
                await uow.execute(
                    select(versions).where(versions.c.template_id == id_).order_by(versions.c.number.desc())
                )
            )
            .mappings()
            .all()
        )
        draft = next((version for version in known if version["state"] == "draft"), None)
        published = next((version for version in known if version["state"] == "published"), None)
        words = given if given is not None else _words(draft or published or {})
        shown = await template_versions.preview(uow, template_id=id_, given=words) if any(words.values()) else None
        known_entity = uow.registry.entities.get(row["entity"])
        by_name = {problem.path: problem.message for problem in problems}
        page = {
            "title": row["label"],
            "code": row["code"],
            "href": f"{HREF}/{id_}",
            "entity": known_entity.label if known_entity else row["entity"],
            "description": row["description"] or "",
            "trouble": (published["trouble"] or "") if published else "",
            "in_use": published is not None,
            "error": error.detail if error else "",
            "problems": [
                {"field_id": f"t-{p.path}", "label": LABELS.get(p.path, p.path), "message": p.message} for p in problems
            ],
            "parts": [
                {"name": name, "label": LABELS[name], "value": words.get(name) or "", "rows": ROWS[name],
                 "help": HELP[name], "error": by_name.get(name, "")}
                for name in PARTS
            ],
            "may": visit.may("update", TEMPLATE) is not None,
            "draft": draft is not None,
            "versions": [
                {
                    "number": version["number"],
                    "tone": TONES[version["state"]],
                    "state": version["state"].capitalize(),
                    "at": visit.formats.instant(version["published_at"]) if version["published_at"] else "",
                    "subject": version["subject"] or "",
                }
                for version in known
            ],
            "names": await _names(uow, row["entity"]),
            "edit_href": f"/data/notification-templates/{id_}/edit" if visit.may("update", TEMPLATE) else None,
            **_preview(shown),
        }  # fmt: skip
        status = error.status if error else (422 if problems else 200)
        return await visit.page(uow, "steps/message_template.html", row["label"], status=status, page=page)


def _preview(shown: Preview | None) -> dict[str, Any]:
    return {
        "preview": shown.words if shown else None,
        "preview_html": shown.html if shown else "",
        "preview_problem": shown.problem if shown else "",
    }


async def _names(uow: UnitOfWork, entity: str) -> list[str]:
    """What can be written between the braces."""
    if entity not in uow.registry.entities:
        return []
    own = [f"{'process' if entity == 'process_run' else 'record'}.{name}" for name in names_of(uow, entity)]
    run = [f"run.{name}" for name in names_of(uow, "workflow_run")] if entity == "process_run" else []
    return ["title", "text", "link", "now", "recipient.name", "recipient.email", "actor.name", "event", *own, *run]


def _words(version: Mapping[Any, Any]) -> dict[str, str]:
    return {name: version.get(name) or "" for name in PARTS}


async def preview_page(visit: Visit) -> Response:
    """What the words as they stand in the form make of a record, as a fragment; nothing is kept."""
    id_, form = _id(visit), await visit.form()
    async with visit.uow() as uow:
        await require_in_scope(uow, "read", TEMPLATE, id_)
        shown = await template_versions.preview(uow, template_id=id_, given=_given(form))
    return visit.fragment("steps/_message_preview.html", page=_preview(shown))


async def save_page(visit: Visit) -> Response:
    """Keep the words as the draft; `publish` uses them from now on, `discard` throws them away."""
    id_, form = _id(visit), await visit.form()
    command, given = form.get("command"), _given(form)
    try:
        async with visit.uow() as uow:
            if command == "discard":
                await template_versions.discard_draft(uow, template_id=id_)
                said = "The draft is discarded."
            else:
                await template_versions.save_draft(uow, template_id=id_, given=given)
                said = "The draft is saved."
                if command == "publish":
                    number = await template_versions.publish_draft(uow, template_id=id_)
                    said = f"Version {number} is published: messages have these words from now on."
    except ValidationFailed as error:
        return await _show(visit, id_, given=given, problems=error.problems)
    except StepsError as error:
        if error.status != 409:
            raise
        return await _show(visit, id_, given=given, error=error)
    return visit.go(f"{HREF}/{id_}", flash=said)


def _given(form: FormData) -> dict[str, str]:
    values = {name: form.get(name) for name in PARTS}
    return {name: value.replace("\r\n", "\n") if isinstance(value, str) else "" for name, value in values.items()}


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such template.")
    return id_


ROUTES: tuple[PageRoute, ...] = (
    PageRoute(f"{HREF}/{{id}}", template_page),
    PageRoute(f"{HREF}/{{id}}/preview", preview_page, ("POST",)),
    PageRoute(f"{HREF}/{{id}}/words", save_page, ("POST",)),
)
