"""Business rules: the table and its cases in one editor, tried out while it is written, compared and published."""

from datetime import date
from typing import Any
from uuid import UUID

import orjson
from starlette.responses import Response

from admin_views import rule_view
from admin_views.pages import PageRoute
from admin_views.visit import Visit, json_answer, record_id
from app.core.errors import FieldProblem, InvalidRequest, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.rules.comparison import compare
from app.domain.rules.definitions import RuleContent, RuleKind
from app.domain.rules.drafts import discard_draft, new_draft_from, save_draft
from app.domain.rules.jdm import to_jdm
from app.domain.rules.preview import preview, preview_draft
from app.domain.rules.publishing import publish, retire
from app.domain.rules.purposes import Purpose
from app.domain.rules.queries import content_of, read_rule, versions_of
from app.domain.rules.uses import uses_of

RULE, VERSION = "rule", "rule_version"
MAX_BODY = 2_000_000


async def rule_page(visit: Visit) -> Response:
    """A version of a rule: the draft where there is one, else the one in force, or the one that is asked for."""
    id_ = _rule_id(visit)
    query = visit.request.query_params
    async with visit.uow() as uow:
        rule = await read_rule(uow, id_)
        versions = await versions_of(uow, id_)
        today = uow.now.date()
        shown = _chosen(versions, query.get("version"), today)
        content, cases = await content_of(uow, shown["id"]) if shown else (RuleContent(), [])
        kind, purpose = RuleKind(rule["kind"]), Purpose(rule["purpose"])
        other = _named(versions, query["compare"]) if query.get("compare") else None
        differences = None
        if other is not None and shown is not None:
            differences = compare((await content_of(uow, other["id"]))[0], content)
        uses = await uses_of(uow, rule_id=id_, code=rule["code"])
        may = {"write": visit.may("update", RULE) is not None, "kept": visit.may("read", "rule_evaluation") is not None}
        may["publish"] = visit.may("transition:publish", VERSION) is not None
        page = rule_view.page(
            rule,
            versions,
            shown,
            preview(kind, purpose, content, cases) if shown else None,
            cases=cases,
            may=may,
            today=today,
            formats=visit.formats,
        )
        page["differences"] = rule_view.difference_rows(differences, other, shown) if differences is not None else None
        page["uses"] = rule_view.use_rows(uses, visit.runtime.registry)
        return await visit.page(uow, "steps/rule.html", rule["label"], page=page)


def _rule_id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such rule, or you may not see it.")
    return id_


def _named(versions: list[dict[str, Any]], asked: str) -> dict[str, Any]:
    found = next((version for version in versions if str(version["id"]) == asked), None)
    if found is None:
        raise NotFound("The rule has no such version.")
    return found


def _chosen(versions: list[dict[str, Any]], asked: str | None, today: date) -> dict[str, Any] | None:
    if asked:
        return _named(versions, asked)
    draft = next((version for version in versions if version["state"] == "draft"), None)
    return draft or rule_view.in_force(versions, today) or (versions[0] if versions else None)


# -- what the editor sends ---------------------------------------------------------------------------------------------


async def check_page(visit: Visit) -> Response:
    """What stands in the editor, looked at: findings, cases, one input tried. Nothing is kept."""
    body = await _body(visit)
    async with visit.uow() as uow:
        found = await preview_draft(
            uow,
            rule_id=_rule_id(visit),
            content=body.get("content"),
            tests=body.get("tests") or (),
            tried=body.get("tried") if isinstance(body.get("tried"), dict) else None,
        )
    return json_answer(rule_view.preview_data(found))


async def save_page(visit: Visit) -> Response:
    """Keep the draft; the answer has its new version, so that the next save follows this one."""
    body = await _body(visit)
    version = body.get("row_version")
    if version is not None and (not isinstance(version, int) or isinstance(version, bool)):
        raise InvalidRequest("row_version: the version of the draft that was edited is needed")
    async with visit.uow() as uow:
        saved = await save_draft(
            uow,
            rule_id=_rule_id(visit),
            content=body.get("content") or {},
            tests=body.get("tests") or (),
            expected_version=version,
        )
    return json_answer({"row_version": saved.row_version, "number": saved.number, "version": str(saved.version_id)})


async def _body(visit: Visit) -> dict[str, Any]:
    raw = await visit.request.body()
    if len(raw) > MAX_BODY:
        raise InvalidRequest("the rule is too large to be sent")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidRequest("the request is not JSON") from None
    if not isinstance(data, dict):
        raise InvalidRequest("the request is no JSON object")
    return data


# -- forms -------------------------------------------------------------------------------------------------------------


async def publish_page(visit: Visit) -> Response:
    """Put the draft in force from a day on."""
    form = await visit.form()
    typed = {name: str(form.get(name, "")).strip() for name in ("version", "row_version", "valid_from", "notes")}
    try:
        day = date.fromisoformat(typed["valid_from"]) if typed["valid_from"] else None
    except ValueError:
        raise ValidationFailed([FieldProblem("valid_from", "write a date such as 2026-10-30")]) from None
    async with visit.uow() as uow:
        version = await _version_of(uow, visit, typed["version"])
        await publish(
            uow,
            version_id=version["id"],
            valid_from=day,
            notes=typed["notes"] or None,
            expected_version=_number(typed["row_version"]),
        )
        said = day or uow.now.date()
    text = f"Version {version['number']} is in force from {visit.formats.date(said)}."
    return visit.go(f"/rules/{_rule_id(visit)}", flash=text)


async def draft_page(visit: Visit) -> Response:
    """Make a draft of a version, or an empty first one."""
    form = await visit.form()
    async with visit.uow() as uow:
        given = str(form.get("version", ""))
        if given:
            await new_draft_from(uow, version_id=(await _version_of(uow, visit, given))["id"])
        else:
            await save_draft(uow, rule_id=_rule_id(visit), content={})
    return visit.go(f"/rules/{_rule_id(visit)}", flash="The draft is yours to change; what is in force stays.")


async def discard_page(visit: Visit) -> Response:
    form = await visit.form()
    async with visit.uow() as uow:
        version = await _version_of(uow, visit, str(form.get("version", "")))
        await discard_draft(uow, version_id=version["id"])
    return visit.go(f"/rules/{_rule_id(visit)}", flash=f"Draft {version['number']} discarded.")


async def retire_page(visit: Visit) -> Response:
    """Take out a version of a coming day."""
    form = await visit.form()
    reason = str(form.get("reason", "")).strip()
    if not reason:
        raise ValidationFailed([FieldProblem("reason", "say why")])
    async with visit.uow() as uow:
        version = await _version_of(uow, visit, str(form.get("version", "")))
        await retire(uow, version_id=version["id"], reason=reason)
    return visit.go(f"/rules/{_rule_id(visit)}", flash=f"Version {version['number']} will not come into force.")


async def jdm_page(visit: Visit) -> Response:
    """A decision table as a ZEN JDM file."""
    async with visit.uow() as uow:
        rule = await read_rule(uow, _rule_id(visit))
        if rule["kind"] != RuleKind.DECISION_TABLE:
            raise NotFound("Formulas have no graph; only a decision table can be downloaded as one.")
        version = await _version_of(uow, visit, visit.request.query_params.get("version", ""))
        content, _ = await content_of(uow, version["id"])
    name = f"{rule['code']}-{version['number']}.json"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    data = orjson.dumps(to_jdm(content), option=orjson.OPT_INDENT_2)
    return Response(data, media_type="application/json", headers=headers)


async def _version_of(uow: UnitOfWork, visit: Visit, asked: str) -> dict[str, Any]:
    """A version that is one of this rule's."""
    await read_rule(uow, _rule_id(visit))
    return _named(await versions_of(uow, _rule_id(visit)), asked)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/rules/{id}", rule_page),
    PageRoute("/rules/{id}/check", check_page, ("POST",)),
    PageRoute("/rules/{id}/save", save_page, ("POST",)),
    PageRoute("/rules/{id}/publish", publish_page, ("POST",)),
    PageRoute("/rules/{id}/draft", draft_page, ("POST",)),
    PageRoute("/rules/{id}/discard", discard_page, ("POST",)),
    PageRoute("/rules/{id}/retire", retire_page, ("POST",)),
    PageRoute("/rules/{id}/jdm", jdm_page),
)
