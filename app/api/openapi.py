"""The description of the whole API (OpenAPI 3.1): the resources of the entities, and the routes of the features."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response

from app.api.auth.backends import SESSION_COOKIE
from app.api.bodies import json_response
from app.api.deps import actor_of, get_runtime
from app.api.generated import HISTORY_LIMIT, LOOKUP_LIMIT, PREFIX, ROUTES, offered
from app.api.openapi_steps import LOG_PARAMETERS, NAME, STEP_SCHEMAS, ref
from app.api.problems import MEDIA_TYPE
from app.api.schemas import Schema, camel, component_schemas, example_value, visible
from app.domain.entities.queries import MAX_LIMIT
from app.domain.entities.service import MAX_BULK
from models.fieldtypes import operators_of
from models.registry import Registry
from models.schema import EntityDef

ADDRESS = f"{PREFIX}/openapi.json"
VERSION = "1"
OPEN = frozenset({f"{PREFIX}/auth/sign-in"})

DESCRIPTION = """
Every entity is a resource with the same operations.

**Sign in** by the session cookie of a browser or with an access token: `Authorization: Bearer steps_pat_...`. Changes
made with a cookie also need the session's token as `X-CSRF-Token` and an `Origin` of this application.

**Filter** with JSON: `{"and":[{"status":{"in":["ready","failed"]}},{"node":{"under":"$my_nodes"}}]}`. Operators: eq ne
in nin lt lte gt gte between contains starts_with is_null under ancestor_of; `and or not`; paths through references
(`process.stage.label`); variables `$now $today $business_date $me $my_roles $my_nodes`.

**Pages**: send `next_cursor` as `cursor` to go on. **Exact numbers** are text; so are dates and instants (UTC).

**Versions**: a change needs the `row_version` that was read, as `If-Match: "3"`. **Once only**: with an
`Idempotency-Key`, the same command sent again gives the same answer and does nothing.

**Steps** of a record's lifecycle: `GET .../{id}/transitions` says which there are and who may take them, and why not.

**Errors** are `application/problem+json`; `code` is stable, `errors` names each field and what to enter instead.
""".strip()

_PROBLEM: Schema = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail", "code", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and what to do"},
        "code": {"type": "string", "examples": ["validation_failed"]},
        "instance": {"type": "string"},
        "correlation_id": {"type": ["string", "null"], "format": "uuid", "description": "Under which it is on record"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message", "code"],
                "properties": {
                    "path": {"type": "string", "examples": ["lines.2.account"]},
                    "message": {"type": "string"},
                    "code": {"type": "string", "examples": ["required"]},
                },
            },
        },
    },
}
_HISTORY_ENTRY: Schema = {
    "type": "object",
    "title": "History entry",
    "required": ["sequence", "at", "actor_name", "command"],
    "properties": {
        "sequence": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
        "actor_id": {"type": ["string", "null"], "format": "uuid"},
        "actor_name": {"type": "string"},
        "command": {"type": "string", "examples": ["trade.update"]},
        "before": {"type": ["object", "null"], "description": "Changed fields as they were"},
        "after": {"type": ["object", "null"], "description": "Changed fields as they became"},
        "reason": {"type": ["string", "null"]},
    },
}
_CHOICE: Schema = {
    "type": "object",
    "title": "Choice",
    "required": ["id", "title", "subtitle"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "title": {"type": "string"},
        "subtitle": {"type": "string"},
    },
}
_BULK_RESULT: Schema = {
    "type": "object",
    "title": "Result of many changes",
    "required": ["results", "succeeded", "failed"],
    "properties": {
        "succeeded": {"type": "integer"},
        "failed": {"type": "integer"},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "op", "status"],
                "properties": {
                    "index": {"type": "integer"},
                    "op": {"enum": ["create", "update", "delete"]},
                    "status": {"enum": ["ok", "error"]},
                    "id": {"type": "string", "format": "uuid"},
                    "row_version": {"type": ["integer", "null"]},
                    "problem": {"$ref": "#/components/schemas/Problem"},
                },
            },
        },
    },
}

_IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of the record as it was read",
    "schema": {"type": "string", "pattern": '^"[0-9]{1,18}"$', "examples": ['"1"']},
}
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A key of your own, such as a UUID; the same request under the same key is done once",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}
_ID: Schema = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}

_SECURITY_SCHEMES: Schema = {
    "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
    "access_token": {"type": "http", "scheme": "bearer", "bearerFormat": "steps_pat_<id>_<secret>"},
}


async def openapi_json(request: Request) -> Response:
    """The route of the description. It tells the structure of everything, so only who is signed in gets it."""
    await actor_of(request)
    return json_response(None, dumped=_dumped(request.app, get_runtime(request).registry))


@lru_cache(maxsize=4)
def _dumped(app: FastAPI, registry: Registry) -> bytes:
    return orjson.dumps(describe(app, registry))


def describe(app: FastAPI, registry: Registry) -> dict[str, Any]:
    """The OpenAPI document of the application's feature routes and of every entity in the registry."""
    document = get_openapi(title=app.title, version=VERSION, description=DESCRIPTION, routes=app.routes)
    components: dict[str, Any] = document.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {
        "Problem": _PROBLEM, "HistoryEntry": _HISTORY_ENTRY, "Choice": _CHOICE, "BulkResult": _BULK_RESULT,
        **STEP_SCHEMAS, **component_schemas(registry),
    }  # fmt: skip
    components["responses"] = {
        "Problem": {
            "description": "It was not done; the document says why",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    }
    components["securitySchemes"] = _SECURITY_SCHEMES
    document["security"] = [{"session": []}, {"access_token": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _as_ours(operation, is_open=path in OPEN)
    for entity in sorted(registry.entities.values(), key=lambda e: e.slug):
        for path, operations in entity_paths(entity).items():
            document["paths"][path] = operations | document["paths"].get(path, {})
    document["tags"] = [
        {"name": entity.label_plural, "description": entity.description} for entity in registry.entities.values()
    ]
    return document


def _as_ours(operation: dict[str, Any], *, is_open: bool) -> None:
    """An operation of a feature, with our errors, and with what signing in needs said once for all of them."""
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    operation.pop("security", None)
    if is_open:
        operation["security"] = []


def entity_paths(entity: EntityDef) -> dict[str, Any]:
    """The addresses of one entity with their operations, from the table that also serves them."""
    return {
        f"{PREFIX}/{entity.slug}{template}": {
            method.lower(): _operation(entity, template, method) for method in offered(entity, template)
        }
        for template in ROUTES
        if offered(entity, template)
    }


def _operation(entity: EntityDef, template: str, method: str) -> dict[str, Any]:
    name = camel(entity.name)
    read: Schema = {"$ref": f"#/components/schemas/{name}Read"}
    one, many = entity.label.lower(), entity.label_plural.lower()
    match template, method:
        case "", "GET":
            described = _described(f"list_{entity.name}", f"List {many}", _page(read), parameters=_list_of(entity))
        case "", "POST":
            body = {"$ref": f"#/components/schemas/{name}Create"}
            described = _described(f"create_{entity.name}", f"Create a {one}", read, status="201", body=body)
        case "/bulk", _:
            described = _described(
                f"bulk_{entity.name}",
                f"Create, change and delete many {many}",
                {"$ref": "#/components/schemas/BulkResult"},
                body=_steps(name),
                parameters=[_parameter("on_error", {"enum": ["abort", "continue"], "default": "abort"})],
            )
        case "/lookups/{field}", _:
            fields = [field.name for field in visible(entity) if field.is_reference]
            described = _described(
                f"lookup_{entity.name}",
                f"What may be chosen in a reference of a {one}",
                _page({"$ref": "#/components/schemas/Choice"}, paged=False),
                parameters=[
                    {"name": "field", "in": "path", "required": True, "schema": {"type": "string", "enum": fields}},
                    _parameter("q", {"type": "string", "maxLength": 200}, "Words to search for"),
                    _parameter("limit", {"type": "integer", "minimum": 1, "maximum": LOOKUP_LIMIT, "default": 20}),
                ],
            )
        case "/{id}", "GET":
            described = _described(f"read_{entity.name}", f"Read a {one}", read, parameters=[_ID, *_expand(entity)])
            described["responses"]["304"] = {"description": "The version named by If-None-Match still holds"}
        case "/{id}", "PATCH":
            body = {"$ref": f"#/components/schemas/{name}Patch"}
            described = _described(
                f"update_{entity.name}", f"Change a {one}", read, parameters=[_ID, _IF_MATCH], body=body
            )
        case "/{id}", "DELETE":
            described = _described(
                f"delete_{entity.name}", f"Delete a {one}", None, status="204", parameters=[_ID, _IF_MATCH]
            )
        case "/{id}/transitions", _:
            summary = f"The steps that a {one} offers, and those that were taken"
            parameters = [_ID, *LOG_PARAMETERS]
            described = _described(f"steps_{entity.name}", summary, ref("RecordSteps"), parameters=parameters)
        case "/{id}/transitions/{name}", _:
            described = _described(
                f"step_{entity.name}",
                f"Take a step of a {one}",
                ref("StepResult"),
                body=ref("StepInput"),
                parameters=[_ID, NAME, _IF_MATCH],
            )
        case "/transitions/{name}/bulk", _:
            described = _described(
                f"bulk_step_{entity.name}",
                f"Take a step of many {many}, or say what would happen",
                ref("BulkSteps"),
                body=ref("BulkStepsInput"),
                parameters=[NAME],
            )
        case _:
            described = _described(
                f"history_{entity.name}",
                f"What happened to a {one}",
                _page({"$ref": "#/components/schemas/HistoryEntry"}),
                parameters=[
                    _ID,
                    _parameter("cursor", {"type": "string", "pattern": "^[0-9]{1,18}$"}),
                    _parameter("limit", {"type": "integer", "minimum": 1, "maximum": HISTORY_LIMIT, "default": 50}),
                ],
            )
    if method != "GET":
        described["parameters"].append(_IDEMPOTENCY_KEY)
    return {"tags": [entity.label_plural], **described}


def _described(
    id_: str,
    summary: str,
    result: Schema | None,
    *,
    status: str = "200",
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done" if result is None else summary}
    if result is not None:
        answer["content"] = {"application/json": {"schema": result}}
    operation: dict[str, Any] = {"operationId": id_, "summary": summary, "parameters": [*(parameters or [])]}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    operation["responses"] = {status: answer, "default": {"$ref": "#/components/responses/Problem"}}
    return operation


def _parameter(name: str, schema: Schema, description: str = "") -> Schema:
    parameter: Schema = {"name": name, "in": "query", "schema": schema}
    return {**parameter, "description": description} if description else parameter


def _page(item: Schema, *, paged: bool = True) -> Schema:
    properties: Schema = {"items": {"type": "array", "items": item}}
    if paged:
        properties["next_cursor"] = {"type": ["string", "null"], "description": "Send it as cursor to go on"}
        properties["count"] = {"type": ["integer", "null"], "description": "Where it was asked for"}
        properties["count_is_exact"] = {"type": "boolean", "description": "False: there are more than were counted"}
    return {"type": "object", "required": ["items"], "properties": properties}


def _list_of(entity: EntityDef) -> list[Schema]:
    readable = [field.name for field in visible(entity)]
    return [
        {
            "name": "filter",
            "in": "query",
            "description": "Which records, in the filter grammar",
            "content": {"application/json": {"schema": {"type": "object"}, "example": _filter_example(entity)}},
        },
        _parameter("q", {"type": "string", "maxLength": 200}, "Words that all occur in the record"),
        _parameter("sort", {"type": "string", "examples": [entity.default_sort]}, "Fields, `-` for descending"),
        _parameter("fields", {"type": "string", "examples": [",".join(readable[:3])]}, "Only these fields"),
        *_expand(entity),
        _parameter("cursor", {"type": "string"}, "Where to go on: `next_cursor` of the page before"),
        _parameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50}),
        _parameter("count", {"enum": ["none", "bounded", "exact"], "default": "none"}, "Whether to count all of them"),
    ]


def _expand(entity: EntityDef) -> list[Schema]:
    references = [field.name for field in visible(entity) if field.is_reference]
    schema: Schema = {"type": "string", "examples": [",".join(references[:2])]}
    return [_parameter("expand", schema, "References to replace by the record they point at")] if references else []


def _filter_example(entity: EntityDef) -> Mapping[str, Any]:
    for field in visible(entity):
        if field.in_filter and "eq" in operators_of(field):
            return {field.name: {"eq": example_value(field)}}
    return {"created_at": {"lt": "$now"}}


def _steps(name: str) -> Schema:
    identified: Schema = {"id": {"type": "string", "format": "uuid"}, "version": {"type": "integer", "minimum": 1}}
    create: Schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["op", "values"],
        "properties": {"op": {"const": "create"}, "values": {"$ref": f"#/components/schemas/{name}Create"}},
    }
    update: Schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["op", "id", "version", "values"],
        "properties": {
            "op": {"const": "update"}, **identified, "values": {"$ref": f"#/components/schemas/{name}Patch"}
        },
    }  # fmt: skip
    delete: Schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["op", "id", "version"],
        "properties": {"op": {"const": "delete"}, **identified},
    }
    return {"type": "array", "minItems": 1, "maxItems": MAX_BULK, "items": {"oneOf": [create, update, delete]}}
