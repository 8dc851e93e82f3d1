"""The steps of records over HTTP: what a record offers and what was done to it, one step, and one step for many."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from app.api.bodies import json_response, read_json, require_exact, require_object
from app.api.idempotency import command
from app.api.list_parameters import known_only, limit
from app.api.versions import etag, expected_version
from app.bootstrap import Runtime
from app.core.actor import Actor
from app.core.errors import FieldProblem, InvalidRequest, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.lifecycles.bulk import MOST, RowResult, step_many
from app.domain.lifecycles.queries import LOG_LIMIT, LogEntry, RecordSteps, StepOffer, log_of, steps_of
from app.domain.lifecycles.transitions import transition_record
from models.lifecycle import StateDef
from models.schema import EntityDef

MAX_NAME = 48


async def show_steps(request: Request, runtime: Runtime, actor: Actor, entity: EntityDef, id_: UUID) -> Response:
    """What the record offers to the caller, and the newest part of its log."""
    parameters = request.query_params
    known_only(parameters, ("cursor", "limit"))
    wanted, before = limit(parameters, default=50, largest=LOG_LIMIT), _cursor(parameters.get("cursor"))
    async with runtime.uow(actor) as uow:
        steps = await steps_of(uow, entity=entity.name, record_id=id_)
        log = await log_of(uow, entity=entity.name, record_id=id_, before=before, limit=wanted)
    more = len(log) == wanted
    content = {
        **steps_json(steps),
        "log": [log_json(entry) for entry in log],
        "next_cursor": _cursor_after(log[-1]) if more else None,
    }
    return json_response(content, headers={"etag": etag(steps.row_version)})


async def take_step(request: Request, entity: EntityDef, id_: UUID, name: str) -> Response:
    """Take one step: `{"comment": "...", "values": {...}}`, both where the step asks for them."""
    known_only(request.query_params, ())
    version, body = expected_version(request), require_object(await read_json(request))
    comment, values = _step_body(body)
    require_exact(values, entity, request.app.state.runtime.registry, prefix="values.")

    async def work(uow: UnitOfWork) -> Response:
        outcome = await transition_record(
            uow,
            entity=entity.name,
            record_id=id_,
            name=name[: MAX_NAME + 1],
            expected_version=version,
            comment=comment,
            values=values,
        )
        content = {
            "id": outcome.record_id,
            "transition": outcome.name,
            "from_state": outcome.from_state,
            "to_state": outcome.to_state,
            "row_version": outcome.row_version,
            "waiting_for": outcome.waiting_for,
        }
        return json_response(content, headers={"etag": etag(outcome.row_version)})

    return await command(request, work)


async def take_steps(request: Request, entity: EntityDef, name: str) -> Response:
    """Take one step of many records, or say what would happen: `{"ids": [...], "dry_run": true}`."""
    known_only(request.query_params, ())
    body = require_object(await read_json(request))
    ids, versions, comment, dry_run = _bulk_body(body)

    async def work(uow: UnitOfWork) -> Response:
        results = await step_many(
            uow,
            entity=entity.name,
            name=name[: MAX_NAME + 1],
            record_ids=ids,
            comment=comment,
            versions=versions,
            dry_run=dry_run,
        )
        fit = sum(result.fits for result in results)
        content = {
            "dry_run": dry_run,
            "succeeded": fit,
            "refused": len(results) - fit,
            "results": [result_json(result) for result in results],
        }
        return json_response(content)

    return await command(request, work)


# -- as JSON ---------------------------------------------------------------------------------------------------------


def steps_json(steps: RecordSteps) -> dict[str, Any]:
    lifecycle = steps.lifecycle
    return {
        "id": steps.record_id,
        "row_version": steps.row_version,
        "lifecycle": {
            "code": lifecycle.definition.code,
            "label": lifecycle.definition.label,
            "version": lifecycle.number,
        },
        "state": _state(steps.state),
        "transitions": [_offer(offer) for offer in steps.offers],
    }


def _state(state: StateDef) -> dict[str, Any]:
    return {"name": state.name, "label": state.label, "category": state.category, "colour": state.colour}


def _offer(offer: StepOffer) -> dict[str, Any]:
    step, refusal = offer.step, offer.refusal
    return {
        "name": step.name,
        "label": step.label,
        "to": _state(offer.to),
        "tone": step.tone,
        "allowed": offer.allowed,
        "guard": refusal.guard.value if refusal else None,
        "refusal": refusal.detail if refusal else None,
        "satisfy": refusal.satisfy or None if refusal else None,
        "roles": list(step.roles),
        "require_comment": step.require_comment,
        "require_fields": list(step.require_fields),
        "missing_fields": list(offer.missing),
        "approvals": {
            "needed": step.approvals.count,
            "distinct_from": list(step.approvals.distinct_from),
            "given": [
                {"id": a.actor_id, "name": a.actor_name, "on_behalf_of": a.on_behalf_of} for a in offer.given
            ],
        },
    }  # fmt: skip


def log_json(entry: LogEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": entry.at.isoformat(),
        "kind": "step" if entry.taken else "approval",
        "transition": entry.name,
        "label": entry.label,
        "from_state": entry.from_state,
        "to_state": entry.to_state,
        "actor_id": entry.actor_id,
        "actor_name": entry.actor_name,
        "on_behalf_of": entry.on_behalf_of,
        "comment": entry.comment,
        "approvers": list(entry.approvers),
        "ended": entry.ended,
    }


def result_json(result: RowResult) -> dict[str, Any]:
    refusal = result.refusal
    return {
        "id": result.record_id,
        "title": result.title or None,
        "result": result.result.value,
        "from_state": result.from_state or None,
        "to_state": result.to_state or None,
        "row_version": result.row_version,
        "waiting_for": result.waiting_for,
        "guard": refusal.guard.value if refusal else None,
        "detail": result.said or None,
        "satisfy": (refusal.satisfy or None) if refusal else None,
    }


# -- what is sent ----------------------------------------------------------------------------------------------------


def _step_body(body: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    problems = _unknown(body, ("comment", "values"))
    values = body.get("values")
    if values is not None and not isinstance(values, dict):
        problems.append(FieldProblem("values", "must be an object of field values"))
    comment = _comment(body, problems)
    if problems:
        raise ValidationFailed(problems)
    return comment, values or {}


def _bulk_body(body: Mapping[str, Any]) -> tuple[list[UUID], dict[UUID, int], str | None, bool]:
    problems = _unknown(body, ("ids", "versions", "comment", "dry_run"))
    given, versions = body.get("ids"), body.get("versions")
    ids: list[UUID] = []
    if not isinstance(given, list) or not 1 <= len(given) <= MOST:
        problems.append(FieldProblem("ids", f"must be a list of 1 to {MOST} ids", "required"))
    else:
        for number, text in enumerate(given):
            id_ = _uuid(text)
            if id_ is None:
                problems.append(FieldProblem(f"ids.{number}", "is not the id of a record"))
            else:
                ids.append(id_)
    known: dict[UUID, int] = {}
    if versions is not None and not isinstance(versions, dict):
        problems.append(FieldProblem("versions", "must be an object: the row_version that was read, by id"))
    elif versions:
        for text, version in versions.items():
            id_ = _uuid(text)
            if id_ is None or not isinstance(version, int) or isinstance(version, bool) or not 0 < version < 2**62:
                problems.append(FieldProblem(f"versions.{text[:50]}", "must be the row_version of this record"))
            else:
                known[id_] = version
    dry_run = body.get("dry_run", False)
    if not isinstance(dry_run, bool):
        problems.append(FieldProblem("dry_run", "must be true or false"))
    comment = _comment(body, problems)
    if problems:
        raise ValidationFailed(problems[:100])
    return ids, known, comment, dry_run is True


def _unknown(body: Mapping[str, Any], known: Sequence[str]) -> list[FieldProblem]:
    there = ", ".join(known)
    return [
        FieldProblem(name[:50], f"there is no such member; there are {there}", "unknown_field")
        for name in body
        if name not in known
    ]


def _comment(body: Mapping[str, Any], problems: list[FieldProblem]) -> str | None:
    comment = body.get("comment")
    if comment is not None and not isinstance(comment, str):
        problems.append(FieldProblem("comment", "must be text"))
        return None
    if comment and "\x00" in comment:
        problems.append(FieldProblem("comment", "contains a character that cannot be kept; remove it"))
    return comment


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) and len(text) == 36 else None
    except ValueError:
        return None


def _cursor_after(entry: LogEntry) -> str:
    return f"{entry.at.astimezone(UTC):%Y%m%dT%H%M%S.%f}_{entry.id}"


def _cursor(text: str | None) -> tuple[datetime, UUID] | None:
    if text is None:
        return None
    at, _, id_ = text.partition("_")
    try:
        return datetime.strptime(at, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC), UUID(id_)
    except ValueError:
        raise InvalidRequest("cursor: send the next_cursor of the page before") from None
