"""The REST resource of every entity, made from the metadata in force: one small application under /api/v1.

It looks entities up by their slug instead of holding a route for each, so a new metadata revision is served by the
next request, and finding the route costs the same with a thousand entities.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from app.api.bodies import json_response, read_json, require_exact, require_object
from app.api.bulk import run_bulk
from app.api.deps import actor_of
from app.api.idempotency import command
from app.api.list_parameters import known_only, limit, list_query, names, search, whole_number
from app.api.problems import MethodNotAllowed
from app.api.record_steps import show_steps, take_step, take_steps
from app.api.versions import etag, expected_version, is_known
from app.bootstrap import Runtime
from app.core.actor import Actor
from app.core.errors import InvalidRequest, NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.fields import mask, readable_fields
from app.domain.entities.codec import codec_of
from app.domain.entities.history import history
from app.domain.entities.lookups import lookup_choices
from app.domain.entities.queries import get_record, list_records
from app.domain.entities.service import create_record, delete_record, update_record
from models.registry import Registry
from models.schema import EntityDef, EntityKind, FieldType

PREFIX = "/api/v1"
HISTORY_LIMIT = 200
LOOKUP_LIMIT = 100

# A browser may keep a record, and must ask each time whether it still holds; a shared cache may not keep it.
PRIVATE = {"cache-control": "private, no-cache", "vary": "Authorization, Cookie"}


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one entity's resource."""

    request: Request
    runtime: Runtime
    actor: Actor
    entity: EntityDef
    id: UUID | None = None
    field: str = ""
    step: str = ""


Handler = Callable[[Call], Awaitable[Response]]


def writable(entity: EntityDef) -> bool:
    """Whether people may create, change and delete its records; the others are written by the platform alone."""
    return not entity.managed and entity.kind is not EntityKind.CHILD


@dataclass(frozen=True, slots=True)
class Resource:
    """The addresses of one entity: template -> method -> handler."""

    entity: EntityDef
    methods: Mapping[str, Mapping[str, Handler]]


@lru_cache(maxsize=4)
def resources(registry: Registry) -> Mapping[str, Resource]:
    """Every entity's resource by its slug, worked out once for a metadata revision."""
    return {
        entity.slug: Resource(entity, {template: offered(entity, template) for template in ROUTES})
        for entity in registry.entities.values()
    }


class RecordsApi:
    """ASGI application for the resources of all entities."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        runtime: Runtime = request.app.state.runtime
        slug, template, rest, step = _parts(_path_below(request.scope))
        actor = await actor_of(request)
        resource = resources(runtime.registry).get(slug)
        methods = resource.methods.get(template) if resource is not None else None
        if resource is None or not methods:
            raise NotFound("There is nothing at this address.")
        entity = resource.entity
        request.scope["state"]["route"] = f"{PREFIX}/{slug}{template}"
        handler = methods.get(_method(request.scope))
        if handler is None:
            why = "" if writable(entity) else f" {entity.label_plural} are written by the platform itself."
            detail = f"Use {' or '.join(methods)} here.{why}"
            raise MethodNotAllowed(detail, context={"allow": list(methods)})
        id_ = _id(rest, entity) if template.startswith("/{id}") else None
        return await handler(Call(request, runtime, actor, entity, id_, rest, step))


class RecordsRoute(BaseRoute):
    """Takes what certainly is a request for records, so that the features' routes are not tried first, one by one.

    What an entity does not offer (`POST /workflow-runs`) is left to the routes that follow.
    """

    path = PREFIX

    def __init__(self, records: RecordsApi) -> None:
        self.records = records

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX, len(scope.get("root_path", ""))):
            return Match.NONE, {}
        slug, template, *_ = _parts(_path_below(scope))
        runtime: Runtime = scope["app"].state.runtime
        resource = resources(runtime.registry).get(slug)
        known = resource is not None and _method(scope) in resource.methods.get(template, ())
        return (Match.FULL if known else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.records(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return "GET" if method == "HEAD" else method


def _path_below(scope: Scope) -> str:
    """The path below `PREFIX`, wherever the application is mounted."""
    path: str = scope["path"]
    return path[len(scope.get("root_path", "")) :].removeprefix(PREFIX)


def _parts(path: str) -> tuple[str, str, str, str]:
    """Slug, template of the rest, the id or field in it, and the name of the step in it."""
    match path.removeprefix("/").split("/"):
        case [slug]:
            return slug, "", "", ""
        case [slug, "bulk"]:
            return slug, "/bulk", "", ""
        case [slug, "lookups", field]:
            return slug, "/lookups/{field}", field, ""
        case [slug, id_]:
            return slug, "/{id}", id_, ""
        case [slug, id_, "history"]:
            return slug, "/{id}/history", id_, ""
        case [slug, id_, "transitions"]:
            return slug, "/{id}/transitions", id_, ""
        case [slug, "transitions", step, "bulk"]:
            return slug, "/transitions/{name}/bulk", "", step
        case [slug, id_, "transitions", step]:
            return slug, "/{id}/transitions/{name}", id_, step
    return "", "", "", ""


def _id(text: str, entity: EntityDef) -> UUID:
    try:
        if len(text) == 36:
            return UUID(text)
    except ValueError:
        pass
    raise NotFound(f"There is no such {entity.label.lower()}: {text[:50]!r} is not the id of a record.")


# -- reading ---------------------------------------------------------------------------------------------------------


async def _list(call: Call) -> Response:
    query = list_query(call.request.query_params)
    async with call.runtime.reading(call.actor) as uow:
        page = await list_records(uow, call.entity.name, query)
    content: dict[str, Any] = {"items": page.items, "next_cursor": page.next_cursor, "count": page.count}
    if not page.count_is_exact:
        content["count_is_exact"] = False
    return json_response(content)


async def _read(call: Call) -> Response:
    assert call.id is not None
    parameters = call.request.query_params
    known_only(parameters, ("expand",))
    expand = names(parameters.get("expand"))
    async with call.runtime.reading(call.actor) as uow:
        page = await get_record(uow, call.entity.name, call.id, expand=expand)
    item = page.items[0]
    headers = {"etag": etag(item["row_version"]), **PRIVATE}
    if not expand and _version_tells_all(call.entity) and is_known(call.request, item["row_version"]):
        return Response(status_code=304, headers=headers)
    return json_response(item, headers=headers)


def _version_tells_all(entity: EntityDef) -> bool:
    """Whether nothing in a record changes without its version: values looked up elsewhere do."""
    return not any(field.is_live_lookup for field in entity.fields)


async def _history(call: Call) -> Response:
    assert call.id is not None
    parameters = call.request.query_params
    known_only(parameters, ("cursor", "limit"))
    wanted = limit(parameters, default=50, largest=HISTORY_LIMIT)
    before = whole_number(parameters, "cursor", low=1, high=2**63 - 1)
    async with call.runtime.reading(call.actor) as uow:
        entries = await history(uow, call.entity.name, call.id, before=before, limit=wanted)
    more = len(entries) == wanted
    return json_response({"items": entries, "next_cursor": str(entries[-1]["sequence"]) if more else None})


async def _lookup(call: Call) -> Response:
    parameters = call.request.query_params
    known_only(parameters, ("q", "limit"))
    if len(call.field) > 48:
        raise InvalidRequest("There is no such field.")
    wanted = limit(parameters, default=20, largest=LOOKUP_LIMIT)
    async with call.runtime.reading(call.actor) as uow:
        choices = await lookup_choices(uow, call.entity.name, call.field, search=search(parameters), limit=wanted)
    return json_response({"items": [{"id": c.id, "title": c.title, "subtitle": c.subtitle} for c in choices]})


# -- writing ---------------------------------------------------------------------------------------------------------


async def _create(call: Call) -> Response:
    values = await _values(call)

    async def work(uow: UnitOfWork) -> Response:
        record = await create_record(uow, call.entity.name, values)
        location = f"{PREFIX}/{call.entity.slug}/{record['id']}"
        headers = {"location": location, "etag": etag(record["row_version"])}
        return json_response(await _shown(uow, call.entity, record), status=201, headers=headers)

    return await command(call.request, work)


async def _update(call: Call) -> Response:
    id_, version, values = call.id, expected_version(call.request), await _values(call)
    assert id_ is not None

    async def work(uow: UnitOfWork) -> Response:
        record = await update_record(uow, call.entity.name, id_, values, expected_version=version)
        return json_response(await _shown(uow, call.entity, record), headers={"etag": etag(record["row_version"])})

    return await command(call.request, work)


async def _delete(call: Call) -> Response:
    id_, version = call.id, expected_version(call.request)
    known_only(call.request.query_params, ())
    assert id_ is not None

    async def work(uow: UnitOfWork) -> Response:
        await delete_record(uow, call.entity.name, id_, expected_version=version)
        return Response(status_code=204)

    return await command(call.request, work)


async def _bulk(call: Call) -> Response:
    return await run_bulk(call.request, call.runtime, call.entity)


async def _values(call: Call) -> dict[str, Any]:
    known_only(call.request.query_params, ())
    values = require_object(await read_json(call.request))
    require_exact(values, call.entity, call.runtime.registry)
    return values


async def _shown(uow: UnitOfWork, entity: EntityDef, record: Mapping[str, Any]) -> dict[str, Any]:
    """A record just written, as a reader of it would get it; without its fields for who may write and not read."""
    if decide(uow.resources.policy, uow.registry, uow.actor, "read", entity.name) is None:
        return {"id": str(record["id"]), "row_version": record["row_version"]}
    if any(field.type is FieldType.LINES or field.is_live_lookup for field in entity.fields):
        return (await get_record(uow, entity.name, record["id"])).items[0]
    seen = mask(uow.resources.policy, uow.actor, entity, record)
    fields = readable_fields(uow.resources.policy, uow.actor, entity)
    return codec_of(uow.registry, entity.name).json(seen, fields)


# -- steps of the record's lifecycle ---------------------------------------------------------------------------------


async def _steps(call: Call) -> Response:
    assert call.id is not None
    return await show_steps(call.request, call.runtime, call.actor, call.entity, call.id)


async def _step(call: Call) -> Response:
    assert call.id is not None
    return await take_step(call.request, call.entity, call.id, call.step)


async def _step_of_many(call: Call) -> Response:
    return await take_steps(call.request, call.entity, call.step)


# What there is: template -> method -> handler. The description of the API is made from the same table.
ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "": {"GET": _list, "POST": _create},
    "/bulk": {"POST": _bulk},
    "/lookups/{field}": {"GET": _lookup},
    "/{id}": {"GET": _read, "PATCH": _update, "DELETE": _delete},
    "/{id}/history": {"GET": _history},
    "/{id}/transitions": {"GET": _steps},
    "/{id}/transitions/{name}": {"POST": _step},
    "/transitions/{name}/bulk": {"POST": _step_of_many},
}


def offered(entity: EntityDef, template: str) -> Mapping[str, Handler]:
    """The methods of one address of an entity; none where it does not have that address."""
    methods = ROUTES.get(template, {})
    if "/transitions" in template:
        return methods if entity.takes_steps and entity.kind is not EntityKind.CHILD else {}
    if template == "/lookups/{field}" and not any(field.is_reference for field in entity.fields):
        return {}
    return methods if writable(entity) else {name: handler for name, handler in methods.items() if name == "GET"}
