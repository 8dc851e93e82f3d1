"""A person of one desk, on every route of the application: nothing of the other desk is seen, counted or changed."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from sqlalchemy import select

from app.api.openapi import describe
from models.fieldtypes import operators_of
from models.schema import EntityDef, FieldDef, FieldType
from tests.api.conftest import V1, Api
from tests.api.rows import Rows
from tests.factories import SYSTEM

MINE, HIDDEN, OPEN = "ours", "hiddenem", "openem"
UNSORTABLE = (
    FieldType.LINES, FieldType.JSON, FieldType.SECRET, FieldType.MULTI_CHOICE, FieldType.POLYMORPHIC_REFERENCE,
)  # fmt: skip

ID = "the id of a record of the other desk"

# Routes of the features: what they are asked with. One that is not here fails the walk, so that it is thought about.
ASKED: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("get", "/access/explain"): {"params": {"action": "read", "entity": "trade"}},
    ("get", "/access/who-can"): {"params": {"action": "read", "entity": "trade"}},
    ("get", "/me"): {},
    ("get", "/auth/me"): {},
    ("get", "/auth/sessions"): {},
    ("get", "/auth/tokens"): {},
    ("delete", "/auth/sessions/{session_id}"): {},
    ("delete", "/auth/tokens/{token_id}"): {},
    ("get", "/process-runs/{id}/actions"): {},
    ("get", "/process-runs/{id}/waiting-for"): {},
    ("get", "/process-runs/{id}/questions"): {},
    ("post", "/process-runs/{id}/questions/{code}"): {"json": {"answer": "yes"}},
    ("get", "/process-runs/{id}/checklist"): {},
    ("post", "/process-runs/{id}/checklist/{code}"): {"json": {"done": True}},
    ("get", "/process-runs/{id}/wait"): {},
    ("get", "/process-runs/{id}/signed-content"): {},
    ("get", "/process-runs/{id}/statements"): {},
    ("post", "/process-runs/bulk-transitions"): {"json": {"transition": "approve", "items": [{"id": ID}]}},
    ("get", "/process-runs/bulk-transitions/{id}"): {},
    ("post", "/delegations/{id}/revoke"): {},
    ("get", "/process-runs/{id}/reopening"): {},
    ("post", "/process-runs/{id}/reopen"): {"json": {"reason": "x", "impact_digest": "0" * 64}},
    ("post", "/process-reopenings/{id}/confirm"): {},
    ("post", "/process-reopenings/{id}/decline"): {"json": {"reason": "x"}},
    ("get", "/workflow-runs/{id}/statements"): {},
    ("get", "/workflow-runs/{id}/statements/{number}"): {},
    ("post", "/process-runs/{id}/transitions/{name}"): {"json": {"expected_version": 1}},
    ("post", "/workflow-runs/{id}/transitions/{name}"): {"json": {"expected_version": 1, "reason": "x"}},
    ("post", "/role-grants/{id}/revoke"): {"json": {"reason": "x"}},
    ("post", "/lifecycle-versions/{id}/check"): {},
    ("post", "/lifecycle-versions/{id}/publish"): {"json": {}},
    ("post", "/lifecycle-versions/{id}/discard"): {},
    ("post", "/lifecycles/{id}/draft"): {},
    ("get", "/files/{id}/content"): {},
    ("get", "/files/{id}/versions"): {},
    ("delete", "/files/{id}"): {"params": {"reason": "x"}},
    ("post", "/workflow-runs/{id}/processes"): {"json": {"label": "x", "owner_role": "preparer", "reason": "x"}},
    ("post", "/workflow-runs/{id}/processes/preview"): {
        "json": {"label": "x", "owner_role": "preparer", "reason": "x"}
    },
    ("get", "/workflow-runs/{id}/forecast"): {},
    ("post", "/workflow-versions/drafts"): {"json": {"version_id": ID}},
    ("post", "/workflow-versions/imports"): {"json": {"definition": "code: X"}},
    ("get", "/workflow-versions/{id}/definition"): {},
    ("post", "/workflow-versions/{id}/export"): {},
    ("post", "/workflow-versions/{id}/discard"): {},
    ("get", "/workflow-versions/{id}/findings"): {},
    ("get", "/workflow-versions/{id}/impact"): {},
    ("get", "/workflow-versions/{id}/differences"): {"params": {"from": ID}},
    ("post", "/workflow-versions/{id}/publish"): {"json": {"digest": "x"}},
    ("post", "/workflow-versions/{id}/stages"): {"json": {"label": "x"}},
    ("post", "/workflow-versions/{id}/processes"): {"json": {"label": "x"}},
    ("post", "/workflow-versions/{id}/dependencies"): {"json": {}},
    ("post", "/workflow-versions/parts/{kind}/{id}/change"): {"json": {"label": "x"}},
    ("post", "/workflow-versions/parts/{kind}/{id}/move"): {"json": {}},
    ("post", "/workflow-versions/parts/processes/{id}/duplicate"): {},
    ("post", "/workflow-versions/parts/{kind}/{id}/remove"): {},
    ("post", "/migration-plans/trials"): {"json": {"from_version_id": ID, "to_version_id": ID, "run_ids": [ID]}},
    ("get", "/migration-plans/{id}/trial"): {},
    ("post", "/migration-plans/{id}/execution"): {},
    ("post", "/migration-plans/{id}/cancellation"): {},
    ("get", "/calendars/{id}/days"): {"params": {"year": 2026}},
    ("get", "/calendars/{id}/trial"): {"params": {"start": "2026-10-30T09:00:00Z", "promise": "PT4H"}},
    ("post", "/calendars/{id}/draft"): {"json": {}},
    ("get", "/calendar-versions/{id}/impact"): {},
    ("post", "/calendar-versions/{id}/week"): {"json": {"expected_version": 1, "monday": "09:00-18:00"}},
    ("post", "/calendar-versions/{id}/special-days"): {
        "json": {"expected_version": 1, "first": "2026-12-24", "label": "x"}
    },
    ("post", "/calendar-versions/{id}/removal"): {"json": {"expected_version": 1, "days": ["2026-12-24"]}},
    ("post", "/calendar-versions/{id}/composition"): {
        "json": {"expected_version": 1, "composition": "all", "parts": [ID]}
    },
    ("post", "/calendar-versions/{id}/holidays"): {
        "json": {"expected_version": 1, "source": "DE", "first_year": 2026, "last_year": 2026}
    },
    ("post", "/calendar-versions/{id}/review"): {"json": {"expected_version": 1}},
    ("post", "/calendar-versions/{id}/rejection"): {"json": {"expected_version": 1, "reason": "x"}},
    ("post", "/calendar-versions/{id}/publication"): {"json": {"expected_version": 1, "reason": "x"}},
    ("post", "/calendar-versions/{id}/discarding"): {},
    ("post", "/schedules/simulation"): {"json": {"workflow": ID}},
    ("get", "/schedules/{id}/simulation"): {},
    ("post", "/schedule-occurrences/{id}/run"): {},
    ("get", "/job-runs/{id}/attempts"): {},
    ("post", "/job-runs/{id}/retry"): {},
    ("post", "/job-runs/{id}/abort"): {"json": {"reason": "x"}},
    ("post", "/periodic-work/{id}/pause"): {"json": {"reason": "x"}},
    ("post", "/periodic-work/{id}/resume"): {},
    ("post", "/periodic-work/{id}/run"): {},
    ("get", "/jobs/workers"): {},
    ("post", "/escalations/{id}/acknowledge"): {"json": {"note": "x"}},
    ("post", "/escalations/{id}/end"): {"json": {"reason": "x"}},
    ("get", "/escalations/{id}/events"): {},
    ("get", "/escalation-ladders/{id}/preview"): {},
    ("get", "/jobs/backlog"): {},
    ("get", "/jobs/trends"): {},
    ("get", "/jobs/retention"): {},
    ("put", "/jobs/retention/{code}"): {"json": {"days": 30}},
    ("post", "/hooks/{token}"): {"json": {}},
    ("post", "/issues/raise"): {"json": {"values": {"title": "x"}, "records": [{"entity": "process_run", "id": ID}]}},
    ("get", "/issues/{id}/links"): {},
    ("post", "/issues/{id}/links"): {"json": {"records": [{"entity": "process_run", "id": ID}]}},
    ("delete", "/issues/{id}/links/{link_id}"): {},
    ("get", "/issues/{id}/messages"): {},
    ("post", "/issues/{id}/messages"): {"json": {"text": "x"}},
    ("post", "/issues/{id}/merge"): {"json": {"into": ID}},
    ("post", "/issues/{id}/watch"): {},
    ("delete", "/issues/{id}/watch"): {},
    ("get", "/similar-issues"): {"params": {"title": "hiddenem issue"}},
    ("get", "/issue-trend"): {},
    ("get", "/queries"): {"params": {"part": "all", "standing": "any"}},
    ("get", "/queries/about/{entity}/{id}"): {},
    ("get", "/queries/{id}"): {},
    ("post", "/queries/{id}/messages"): {"json": {"text": "x"}},
    ("post", "/queries/{id}/change"): {"json": {"priority": "high"}},
    ("post", "/queries/{id}/watching"): {"json": {"watching": True}},
    ("post", "/queries/{id}/read"): {},
    ("post", "/queries/messages/{id}/correction"): {"json": {"text": "x"}},
    ("post", "/breaches/{id}/comment"): {
        "json": {"expected_version": 1, "root_cause": "market_move", "commentary": "The dollar fell by one per cent."}
    },
}
# What changes or ends the caller's own session or account, and what is not about a record that exists already.
LEFT_OUT = {
    ("post", "/auth/sign-in"),
    ("post", "/auth/sign-out"),
    ("post", "/auth/password"),
    ("post", "/auth/tokens"),
    ("delete", "/auth/sessions"),
    ("post", "/workflow-runs"),
    ("post", "/files"),
    ("post", "/queries"),
    ("post", "/market-rates/corrections"),
}


class Desks:
    """The bank with a row of every entity for each desk, and what may never reach the person of the other one."""

    def __init__(self, api: Api, mine: Rows, theirs: Rows) -> None:
        self.api = api
        self.mine = mine
        self.theirs = theirs
        registry = api.runtime.registry
        self.entities = [entity for entity in registry.entities.values() if entity.name in theirs.ids]
        self.hidden = {entity.name for entity in self.entities if is_hidden(api, entity)}
        # A record that anybody may see can refer to a hidden one: then its id is there, and nothing else of it.
        self.secrets = [HIDDEN, *(f'"id":"{theirs.ids[name]}"' for name in self.hidden)]

    def client(self) -> httpx.AsyncClient:
        return self.api.as_("g10")

    def check(self, answer: httpx.Response) -> None:
        """Nothing hidden is in an answer."""
        for secret in self.secrets:
            assert secret not in answer.text, (str(answer.request.url), secret, answer.text[:2_000])
        assert answer.status_code < 500, (str(answer.request.url), answer.text)

    async def versions(self) -> dict[str, int]:
        """The row version of each row of the other desk, read past every scope."""
        found = {}
        async with self.api.runtime.uow(SYSTEM) as uow:
            for name in self.hidden:
                table = uow.table(name)
                found[name] = await uow.scalar(select(table.c.row_version).where(table.c.id == self.theirs.ids[name]))
        return found


def is_hidden(api: Api, entity: EntityDef) -> bool:
    """Whether rows of the other desk are out of sight: by their node, or because they are somebody's own."""
    parent = api.runtime.registry.parents.get(entity.name)
    own = api.runtime.policy.row_conditions("preparer", "PNL", entity.name, "read")
    return (
        bool(entity.scope_field)
        or any(row.condition for row in own)
        or (parent is not None and is_hidden(api, parent[0]))
    )


@pytest.fixture
async def desks(api: Api) -> Desks:
    made: list[Rows] = []
    for name in ("g10", "em"):
        user_id = api.people[name].id
        assert user_id is not None
        given: dict[str, UUID] = {
            "hierarchy_node": api.nodes[f"{name.upper()}-1"],
            "user": user_id,
            "application": api.applications["PNL"],
            "role": api.roles["preparer"],
        }
        marks = (MINE, MINE) if name == "g10" else (HIDDEN, OPEN)
        async with api.runtime.uow(SYSTEM) as uow:
            rows = Rows(uow, _marks(api, *marks), given)
            await rows.make_all()
        made.append(rows)
    return Desks(api, *made)


def _marks(api: Api, hidden: str, open_: str) -> Callable[[EntityDef], str]:
    return lambda entity: hidden if is_hidden(api, entity) else open_


async def test_the_walk_knows_rows_of_every_entity_and_most_of_them_are_hidden(desks: Desks) -> None:
    known = {*desks.theirs.ids, *desks.theirs.given}
    assert known == set(desks.api.runtime.registry.entities)
    assert {"trade", "position", "pnl_fact", "process_run", "file", "sla_clock", "notification"} <= desks.hidden


async def test_lists_counts_and_searches_show_one_desk_only(desks: Desks) -> None:
    for entity in desks.entities:
        theirs = str(desks.theirs.ids[entity.name])
        every: dict[str, str] = {"limit": "1000", "count": "exact"}
        answer = await desks.client().get(f"/{entity.slug}", params=every)
        desks.check(answer)
        if answer.status_code != 200:
            assert answer.status_code == 403, answer.text
            continue
        page = answer.json()
        assert page["count"] == len(page["items"]), entity.name
        if entity.name in desks.hidden:
            assert theirs not in {item["id"] for item in page["items"]}
            one = await desks.client().get(f"/{entity.slug}", params={"filter": json.dumps({"id": theirs}), **every})
            assert (one.json()["items"], one.json()["count"]) == ([], 0), entity.name
        for parameters in _questions(entity):
            desks.check(await desks.client().get(f"/{entity.slug}", params=every | parameters))


def _questions(entity: EntityDef) -> Iterator[dict[str, str]]:
    yield {"q": HIDDEN}
    for field in entity.fields:
        if field.access_group == "internal" or field.type is FieldType.LINES:
            continue
        yield {"fields": field.name}
        if field.is_reference:
            yield {"expand": field.name}
        if field.type not in UNSORTABLE:
            yield {"sort": field.name, "limit": "1"}


async def test_no_filter_finds_a_record_by_what_only_the_other_desk_has(desks: Desks) -> None:
    registry = desks.api.runtime.registry
    for entity in desks.entities:
        for field in entity.fields:
            if not field.is_reference or field.target not in desks.hidden | {"hierarchy_node"}:
                continue
            for path, probe in _probes(field, registry.entity(field.target)):
                parameters = {"filter": json.dumps({path: probe}), "count": "exact"}
                answer = await desks.client().get(f"/{entity.slug}", params=parameters)
                desks.check(answer)
                if answer.status_code == 200:
                    assert (answer.json()["items"], answer.json()["count"]) == ([], 0), (entity.name, path)


def _probes(field: FieldDef, target: EntityDef) -> Iterator[tuple[str, Any]]:
    """Filters that look through the reference for the mark of hidden rows, or a code of the other desk's nodes."""
    if target.name == "hierarchy_node":
        yield f"{field.name}.code", {"starts_with": "EM"}
        return
    for inner in target.fields:
        if inner.access_group != "internal" and "contains" in operators_of(inner) and inner.type is FieldType.TEXT:
            yield f"{field.name}.{inner.name}", {"contains": HIDDEN}


async def test_a_record_of_the_other_desk_is_not_found_by_its_id_in_any_way(desks: Desks) -> None:
    before = await desks.versions()
    for entity in desks.entities:
        if entity.name not in desks.hidden:
            continue
        theirs = str(desks.theirs.ids[entity.name])
        references = ",".join(field.name for field in entity.fields if field.is_reference)
        for path in (f"/{entity.slug}/{theirs}", f"/{entity.slug}/{theirs}/history"):
            parameters = {"expand": references} if references and not path.endswith("history") else {}
            answer = await desks.client().get(path, params=parameters)
            desks.check(answer)
            assert answer.status_code in (403, 404), (path, answer.text)
        for method in ("PATCH", "DELETE"):
            asked = dict(ASKED.get((method.lower(), f"/{entity.slug}/{{id}}"), {"json": {}}))
            path = f"/{entity.slug}/{theirs}"
            answer = await desks.client().request(method, path, headers={"if-match": '"1"'}, **asked)
            desks.check(answer)
            assert answer.status_code in (403, 404, 405), (method, entity.name, answer.text)
    assert await desks.versions() == before


async def test_look_ups_offer_one_desk_only(desks: Desks) -> None:
    for entity in desks.entities:
        for field in entity.fields:
            if not field.is_reference:
                continue
            for search in ("", "EM", HIDDEN):
                path = f"/{entity.slug}/lookups/{field.name}"
                answer = await desks.client().get(path, params={"q": search, "limit": "100"})
                desks.check(answer)
                if answer.status_code == 200 and field.target == "hierarchy_node":
                    shown = {choice["id"] for choice in answer.json()["items"]}
                    theirs = {str(desks.api.nodes[code]) for code in ("EM", "EM-1", "EM-2")}
                    assert not shown & theirs, (entity.name, field.name)


async def test_no_route_of_the_whole_table_lets_anything_of_the_other_desk_out_or_be_changed(desks: Desks) -> None:
    """Every address and method of the description, with the ids of the other desk."""
    api, before = desks.api, await desks.versions()
    paths: dict[str, dict[str, Any]] = describe(api.app, api.runtime.registry)["paths"]
    walked = 0
    for template, operations in paths.items():
        assert template.startswith(V1), template
        short = template.removeprefix(V1)
        entity = api.runtime.registry.by_slug.get(short.split("/")[1])
        for method in operations:
            if (method, short) in LEFT_OUT:
                continue
            generated = entity is not None and operations[method]["operationId"].endswith(f"_{entity.name}")
            assert generated or (method, short) in ASKED, f"{method} {template} is not part of this walk: add it"
            known = {**desks.theirs.ids, **desks.theirs.given}
            id_ = str(known.get(entity.name if entity else "", UUID(int=7)))
            path = short
            variables = {
                "id": id_, "session_id": id_, "token_id": id_, "link_id": id_, "name": "cancel", "number": "1",
                "kind": "processes", "token": "x",
            }  # fmt: skip
            for variable, value in variables.items():
                path = path.replace(f"{{{variable}}}", value)
            references = [field.name for field in entity.fields if field.is_reference] if entity else []
            path = path.replace("{field}", references[0] if references else "none")
            request: dict[str, Any] = orjson.loads(
                orjson.dumps(ASKED.get((method, short), {})).replace(ID.encode(), id_.encode())
            )
            if generated and method in ("post", "patch"):
                request["json"] = [{"op": "delete", "id": id_, "version": 1}] if path.endswith("/bulk") else {}
            if template.endswith("/transitions/{name}/bulk"):
                request["json"] = {"ids": [id_]}
            answer = await desks.client().request(method, path, headers={"if-match": '"1"'}, **request)
            walked += 1
            hidden = entity is not None and entity.name in desks.hidden
            if hidden and answer.status_code == 200 and template.endswith("/transitions/{name}/bulk"):
                # Each id that was sent has its answer: there is no such record.
                (row,) = answer.json()["results"]
                assert (row["id"], row["title"], row["result"]) == (id_, None, "not_found"), template
                continue
            desks.check(answer)
            if hidden and ("{id}" in template or path.endswith("/bulk")):
                assert answer.status_code in (403, 404), (method, template, answer.text)
    assert walked > 200
    assert await desks.versions() == before
