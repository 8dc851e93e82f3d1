"""The description of the API: complete, typed, and true."""

from typing import Any
from uuid import uuid4

import schemathesis
from inline_snapshot import snapshot

from app.api.generated import ROUTES, offered, writable
from app.api.openapi import describe
from app.api.schemas import camel, example_values
from models.schema import FieldType
from tests.api.conftest import V1, Api


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, described in document["paths"].items()
        for method, operation in described.items()
    }


async def test_the_description_is_served_to_who_is_signed_in_and_is_valid(api: Api) -> None:
    answer = await api.as_("preparer").get("/openapi.json")
    assert answer.status_code == 200
    schemathesis.openapi.from_dict(answer.json()).validate()


async def test_every_entity_has_every_operation_that_is_served_and_no_other(api: Api) -> None:
    described = set(operations(describe(api.app, api.runtime.registry)))
    for entity in api.runtime.registry.entities.values():
        expected = {
            f"{method} {V1}/{entity.slug}{template}" for template in ROUTES for method in offered(entity, template)
        }
        assert expected <= described, entity.name
    assert len(described) > 200


async def test_the_routes_of_the_features_are_these(api: Api) -> None:
    document = describe(api.app, api.runtime.registry)
    slugs = {entity.slug: entity for entity in api.runtime.registry.entities.values()}
    features = []
    for name in operations(document):
        method, _, path = name.partition(" ")
        slug, _, rest = path.removeprefix(f"{V1}/").partition("/")
        template = f"/{rest}" if rest else ""
        if slug in slugs and method in offered(slugs[slug], template):
            continue
        features.append(name)
    assert sorted(features) == snapshot(
        [
            "DELETE /api/v1/auth/sessions",
            "DELETE /api/v1/auth/sessions/{session_id}",
            "DELETE /api/v1/auth/tokens/{token_id}",
            "DELETE /api/v1/files/{id}",
            "DELETE /api/v1/issues/{id}/links/{link_id}",
            "DELETE /api/v1/issues/{id}/watch",
            "GET /api/v1/access/explain",
            "GET /api/v1/access/who-can",
            "GET /api/v1/auth/me",
            "GET /api/v1/auth/sessions",
            "GET /api/v1/auth/tokens",
            "GET /api/v1/calendar-versions/{id}/impact",
            "GET /api/v1/calendars/{id}/days",
            "GET /api/v1/calendars/{id}/trial",
            "GET /api/v1/escalation-ladders/{id}/preview",
            "GET /api/v1/escalations/{id}/events",
            "GET /api/v1/files/{id}/content",
            "GET /api/v1/files/{id}/versions",
            "GET /api/v1/issue-trend",
            "GET /api/v1/issues/{id}/links",
            "GET /api/v1/issues/{id}/messages",
            "GET /api/v1/job-runs/{id}/attempts",
            "GET /api/v1/jobs/backlog",
            "GET /api/v1/jobs/retention",
            "GET /api/v1/jobs/trends",
            "GET /api/v1/jobs/workers",
            "GET /api/v1/me",
            "GET /api/v1/migration-plans/{id}/trial",
            "GET /api/v1/process-runs/bulk-transitions/{id}",
            "GET /api/v1/process-runs/{id}/actions",
            "GET /api/v1/process-runs/{id}/checklist",
            "GET /api/v1/process-runs/{id}/questions",
            "GET /api/v1/process-runs/{id}/reopening",
            "GET /api/v1/process-runs/{id}/signed-content",
            "GET /api/v1/process-runs/{id}/statements",
            "GET /api/v1/process-runs/{id}/wait",
            "GET /api/v1/process-runs/{id}/waiting-for",
            "GET /api/v1/queries",
            "GET /api/v1/queries/about/{entity}/{id}",
            "GET /api/v1/queries/{id}",
            "GET /api/v1/schedules/{id}/simulation",
            "GET /api/v1/similar-issues",
            "GET /api/v1/workflow-runs/{id}/forecast",
            "GET /api/v1/workflow-runs/{id}/statements",
            "GET /api/v1/workflow-runs/{id}/statements/{number}",
            "GET /api/v1/workflow-versions/{id}/definition",
            "GET /api/v1/workflow-versions/{id}/differences",
            "GET /api/v1/workflow-versions/{id}/findings",
            "GET /api/v1/workflow-versions/{id}/impact",
            "POST /api/v1/auth/password",
            "POST /api/v1/auth/sign-in",
            "POST /api/v1/auth/sign-out",
            "POST /api/v1/auth/tokens",
            "POST /api/v1/breaches/{id}/comment",
            "POST /api/v1/calendar-versions/{id}/composition",
            "POST /api/v1/calendar-versions/{id}/discarding",
            "POST /api/v1/calendar-versions/{id}/holidays",
            "POST /api/v1/calendar-versions/{id}/publication",
            "POST /api/v1/calendar-versions/{id}/rejection",
            "POST /api/v1/calendar-versions/{id}/removal",
            "POST /api/v1/calendar-versions/{id}/review",
            "POST /api/v1/calendar-versions/{id}/special-days",
            "POST /api/v1/calendar-versions/{id}/week",
            "POST /api/v1/calendars/{id}/draft",
            "POST /api/v1/delegations/{id}/revoke",
            "POST /api/v1/escalations/{id}/acknowledge",
            "POST /api/v1/escalations/{id}/end",
            "POST /api/v1/files",
            "POST /api/v1/hooks/{token}",
            "POST /api/v1/issues/raise",
            "POST /api/v1/issues/{id}/links",
            "POST /api/v1/issues/{id}/merge",
            "POST /api/v1/issues/{id}/messages",
            "POST /api/v1/issues/{id}/watch",
            "POST /api/v1/job-runs/{id}/abort",
            "POST /api/v1/job-runs/{id}/retry",
            "POST /api/v1/lifecycle-versions/{id}/check",
            "POST /api/v1/lifecycle-versions/{id}/discard",
            "POST /api/v1/lifecycle-versions/{id}/publish",
            "POST /api/v1/lifecycles/{id}/draft",
            "POST /api/v1/market-rates/corrections",
            "POST /api/v1/migration-plans/trials",
            "POST /api/v1/migration-plans/{id}/cancellation",
            "POST /api/v1/migration-plans/{id}/execution",
            "POST /api/v1/periodic-work/{id}/pause",
            "POST /api/v1/periodic-work/{id}/resume",
            "POST /api/v1/periodic-work/{id}/run",
            "POST /api/v1/process-reopenings/{id}/confirm",
            "POST /api/v1/process-reopenings/{id}/decline",
            "POST /api/v1/process-runs/bulk-transitions",
            "POST /api/v1/process-runs/{id}/checklist/{code}",
            "POST /api/v1/process-runs/{id}/questions/{code}",
            "POST /api/v1/process-runs/{id}/reopen",
            "POST /api/v1/process-runs/{id}/transitions/{name}",
            "POST /api/v1/queries",
            "POST /api/v1/queries/messages/{id}/correction",
            "POST /api/v1/queries/{id}/change",
            "POST /api/v1/queries/{id}/messages",
            "POST /api/v1/queries/{id}/read",
            "POST /api/v1/queries/{id}/watching",
            "POST /api/v1/role-grants/{id}/revoke",
            "POST /api/v1/schedule-occurrences/{id}/run",
            "POST /api/v1/schedules/simulation",
            "POST /api/v1/workflow-runs",
            "POST /api/v1/workflow-runs/{id}/processes",
            "POST /api/v1/workflow-runs/{id}/processes/preview",
            "POST /api/v1/workflow-runs/{id}/transitions/{name}",
            "POST /api/v1/workflow-versions/drafts",
            "POST /api/v1/workflow-versions/imports",
            "POST /api/v1/workflow-versions/parts/processes/{id}/duplicate",
            "POST /api/v1/workflow-versions/parts/{kind}/{id}/change",
            "POST /api/v1/workflow-versions/parts/{kind}/{id}/move",
            "POST /api/v1/workflow-versions/parts/{kind}/{id}/remove",
            "POST /api/v1/workflow-versions/{id}/dependencies",
            "POST /api/v1/workflow-versions/{id}/discard",
            "POST /api/v1/workflow-versions/{id}/export",
            "POST /api/v1/workflow-versions/{id}/processes",
            "POST /api/v1/workflow-versions/{id}/publish",
            "POST /api/v1/workflow-versions/{id}/stages",
            "PUT /api/v1/jobs/retention/{code}",
        ]
    )


async def test_names_of_operations_are_unique_and_nothing_internal_is_named(api: Api) -> None:
    document = describe(api.app, api.runtime.registry)
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))
    for entity in api.runtime.registry.entities.values():
        properties = document["components"]["schemas"][f"{camel(entity.name)}Read"]["properties"]
        for field in entity.fields:
            assert (field.name in properties) is (field.access_group != "internal"), (entity.name, field.name)


async def test_a_new_trade_is_described_field_by_field(api: Api) -> None:
    schema = describe(api.app, api.runtime.registry)["components"]["schemas"]["TradeCreate"]
    assert schema == snapshot(
        {
            "type": "object",
            "title": "New trade",
            "additionalProperties": False,
            "required": ["book", "currency", "quantity", "rate"],
            "properties": {
                "reference": {
                    "type": "string",
                    "maxLength": 40,
                    "title": "Reference",
                    "description": "Left empty, the next number is given",
                    "examples": ["Reference"],
                },
                "book": {
                    "type": "string",
                    "format": "uuid",
                    "description": "id of a hierarchy node",
                    "title": "Book",
                    "examples": ["0198f3c2-7a10-7cc3-9f5e-3b1d2a4c6e80"],
                },
                "trade_date": {
                    "type": "string",
                    "format": "date",
                    "title": "Trade date",
                    "examples": ["2026-10-30"],
                },
                "product": {
                    "type": "string",
                    "enum": ["spot", "forward", "swap", "ndf", "transfer"],
                    "default": "spot",
                    "title": "Product",
                    "examples": ["spot"],
                },
                "currency": {
                    "type": "string",
                    "maxLength": 3,
                    "pattern": "^(?:[A-Z]{3})$",
                    "title": "Currency",
                    "description": "Three capital letters, for example USD",
                    "examples": ["USD"],
                },
                "quantity": {
                    "type": "string",
                    "pattern": "^-?[0-9]{1,38}(\\.[0-9]{1,18})?$",
                    "examples": ["1250.75"],
                    "title": "Quantity",
                    "description": "In the currency; negative when sold",
                },
                "rate": {
                    "type": "string",
                    "pattern": "^-?[0-9]{1,38}(\\.[0-9]{1,18})?$",
                    "examples": ["1250.75"],
                    "title": "Trade rate per EUR",
                },
                "late": {
                    "type": "boolean",
                    "default": False,
                    "title": "Captured after the cut",
                    "examples": [False],
                },
                "late_reason": {
                    "type": ["string", "null"],
                    "maxLength": 500,
                    "title": "Late reason",
                    "examples": ["Late reason"],
                },
                "counterparty": {
                    "type": ["string", "null"],
                    "maxLength": 120,
                    "title": "Counterparty",
                    "examples": ["Counterparty"],
                },
                "trader": {"type": ["string", "null"], "maxLength": 120, "title": "Trader", "examples": ["Trader"]},
                "note": {
                    "type": ["string", "null"],
                    "maxLength": 20000,
                    "title": "Note",
                    "examples": ["Checked against the confirmation."],
                },
            },
            "examples": [
                {
                    "reference": "Reference",
                    "book": "0198f3c2-7a10-7cc3-9f5e-3b1d2a4c6e80",
                    "trade_date": "2026-10-30",
                    "product": "spot",
                    "currency": "USD",
                    "quantity": "1250.75",
                    "rate": "1250.75",
                    "late": False,
                    "counterparty": "Counterparty",
                }
            ],
        }
    )


async def test_only_signing_in_needs_no_credentials(api: Api) -> None:
    open_ = [
        name
        for name, operation in operations(describe(api.app, api.runtime.registry)).items()
        if operation.get("security") == []
    ]
    assert open_ == ["POST /api/v1/auth/sign-in"]


async def test_the_examples_of_new_records_are_accepted(api: Api) -> None:
    """Sent as they stand, with ids of records that are there; a second one of the same code is a duplicate."""
    registry = api.runtime.registry
    made = 0
    for entity in registry.entities.values():
        if not writable(entity):
            continue
        values = example_values(entity)
        numbered = {entity.reference_number.field} if entity.reference_number else set()
        for field in entity.fields:
            if field.name in values and (field.is_reference or field.type is FieldType.POLYMORPHIC_REFERENCE):
                known = {
                    "hierarchy_node": api.nodes["G10-1"],
                    "user": api.people["g10"].id,
                    "application": api.applications["PNL"],
                    "role": api.roles["auditor"],
                }
                values[field.name] = str(known.get(field.target or "", uuid4()))
                if field.target not in known:
                    del values[field.name]
            elif field.type in (FieldType.CODE, FieldType.TEXT) and field.unique and field.name not in numbered:
                assert values[field.name], (entity.name, field.name)
        answer = await api.as_("boss").post(f"/{entity.slug}", json=values)
        if answer.status_code == 403:
            assert answer.json()["roles"] == [], answer.text  # made in a way of its own, by nobody in this one
            continue
        assert answer.status_code in (201, 409, 422), (entity.name, answer.text)
        if answer.status_code == 422:
            codes = {problem["code"] for problem in answer.json()["errors"]}
            assert codes == {"required"}, (entity.name, values, answer.text)  # what could not be told in advance
        made += answer.status_code == 201
    assert made >= 8
