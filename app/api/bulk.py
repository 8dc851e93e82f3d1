"""Many changes in one request: all or none, or each by itself with a result of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from app.api.bodies import json_response, read_json, require_exact
from app.api.idempotency import command
from app.api.list_parameters import known_only
from app.api.problems import document
from app.bootstrap import Runtime
from app.core.errors import FieldProblem, InvalidRequest, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.entities.service import MAX_BULK, create_record, create_records, delete_record, update_record
from models.schema import EntityDef


class Op(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


OnError = Literal["abort", "continue"]
_MEMBERS = frozenset({"op", "id", "version", "values"})


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the request."""

    op: Op
    id: UUID | None
    version: int
    values: Mapping[str, Any]


async def run_bulk(request: Request, runtime: Runtime, entity: EntityDef) -> Response:
    """Do the changes of the body, in order.

    With `on_error=abort` (the default) one error undoes them all; with `continue` those that fit are kept.
    """
    on_error = _on_error(request)
    steps = _steps(await read_json(request), entity, runtime)

    async def work(uow: UnitOfWork) -> Response:
        if on_error == "continue":
            results = [await _alone(uow, entity, number, step) for number, step in enumerate(steps)]
        elif all(step.op is Op.CREATE for step in steps):
            created = await create_records(uow, entity.name, [step.values for step in steps])
            results = [_done(number, Op.CREATE, record) for number, record in enumerate(created)]
        else:
            results = [await _placed(uow, entity, number, step) for number, step in enumerate(steps)]
        failed = sum(result["status"] == "error" for result in results)
        return json_response({"results": results, "succeeded": len(results) - failed, "failed": failed})

    return await command(request, work)


async def _placed(uow: UnitOfWork, entity: EntityDef, number: int, step: Step) -> dict[str, Any]:
    """One change of many; its error tells which one it was."""
    try:
        return await _one(uow, entity, number, step)
    except ValidationFailed as error:
        raise ValidationFailed(
            [FieldProblem(f"{number}.{p.path}".rstrip("."), p.message, p.code) for p in error.problems]
        ) from error
    except StepsError as error:
        error.context["index"] = number
        raise


async def _alone(uow: UnitOfWork, entity: EntityDef, number: int, step: Step) -> dict[str, Any]:
    """One change under a savepoint. The service records and announces a change last, so an error leaves nothing."""
    try:
        async with uow.connection.begin_nested():
            return await _one(uow, entity, number, step)
    except StepsError as error:
        return {"index": number, "op": step.op, "status": "error", "problem": document(error)}


async def _one(uow: UnitOfWork, entity: EntityDef, number: int, step: Step) -> dict[str, Any]:
    if step.op is Op.CREATE:
        return _done(number, step.op, await create_record(uow, entity.name, step.values))
    assert step.id is not None
    if step.op is Op.UPDATE:
        changed = await update_record(uow, entity.name, step.id, step.values, expected_version=step.version)
        return _done(number, step.op, changed)
    await delete_record(uow, entity.name, step.id, expected_version=step.version)
    return {"index": number, "op": step.op, "status": "ok", "id": step.id, "row_version": None}


def _done(number: int, op: Op, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": number, "op": op, "status": "ok", "id": record["id"], "row_version": record["row_version"]}


def _on_error(request: Request) -> OnError:
    known_only(request.query_params, ("on_error",))
    match request.query_params.get("on_error", "abort"):
        case "abort":
            return "abort"
        case "continue":
            return "continue"
    raise InvalidRequest("on_error must be abort or continue")


def _steps(body: Any, entity: EntityDef, runtime: Runtime) -> list[Step]:
    if not isinstance(body, list):
        raise InvalidRequest('The body must be a list such as [{"op": "create", "values": {...}}].')
    if not 1 <= len(body) <= MAX_BULK:
        raise InvalidRequest(f"Send from 1 to {MAX_BULK} changes at once; these are {len(body)}.")
    problems: list[FieldProblem] = []
    steps: list[Step] = []
    for number, given in enumerate(body):
        found = _read_step(given, number)
        if isinstance(found, Step):
            require_exact(found.values, entity, runtime.registry, prefix=f"{number}.")
            steps.append(found)
        else:
            problems += found
    if problems:
        raise ValidationFailed(problems)
    return steps


def _read_step(given: Any, number: int) -> Step | Sequence[FieldProblem]:
    if not isinstance(given, dict):
        return [FieldProblem(str(number), 'must be an object such as {"op": "create", "values": {...}}')]
    problems = [
        FieldProblem(f"{number}.{name}", "there is no such member; there are op, id, version, values", "unknown_field")
        for name in given.keys() - _MEMBERS
    ]
    op = given.get("op", Op.CREATE)
    if op not in tuple(Op):
        return [*problems, FieldProblem(f"{number}.op", f"must be one of {', '.join(Op)}")]
    id_, version, values = given.get("id"), given.get("version"), given.get("values", {})
    if not isinstance(values, dict) or (op == Op.DELETE and values):
        problems.append(FieldProblem(f"{number}.values", "must be an object of field values; none for a deletion"))
    parsed: UUID | None = None
    if op == Op.CREATE:
        if id_ is not None or version is not None:
            problems.append(FieldProblem(f"{number}.id", "a new record has no id and no version yet; leave them out"))
    else:
        try:
            parsed = UUID(id_) if isinstance(id_, str) else None
        except ValueError:
            parsed = None
        if parsed is None:
            problems.append(FieldProblem(f"{number}.id", "must be the id of the record", "required"))
        if not isinstance(version, int) or isinstance(version, bool) or not 0 < version < 2**62:
            problems.append(FieldProblem(f"{number}.version", "must be the row_version that you have read", "required"))
    return problems or Step(Op(op), parsed, int(version or 0), values)
