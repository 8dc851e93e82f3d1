"""What every generated resource keeps, whatever its entity."""

import json
from uuid import uuid4

from app.api.generated import writable
from models.fieldtypes import operators_of
from models.schema import EntityDef, FieldType
from tests.api.conftest import Api

POLYMORPHIC = FieldType.POLYMORPHIC_REFERENCE
PROBLEM = {"type", "title", "status", "detail", "code", "errors", "instance", "correlation_id"}


def entities(api: Api) -> list[EntityDef]:
    return list(api.runtime.registry.entities.values())


async def test_every_list_answers_in_the_same_shape_with_each_way_of_counting(api: Api) -> None:
    client = api.as_("boss")
    for entity in entities(api):
        for count in ("none", "bounded", "exact"):
            answer = await client.get(f"/{entity.slug}", params={"count": count, "limit": "1"})
            assert answer.status_code == 200, (entity.name, answer.text)
            page = answer.json()
            assert set(page) == {"items", "next_cursor", "count"}, entity.name
            assert (page["count"] is None) is (count == "none"), entity.name
            assert answer.headers["cache-control"] == "no-store"


async def test_every_field_that_says_so_can_be_filtered_sorted_and_chosen(api: Api) -> None:
    client = api.as_("boss")
    unsortable = (FieldType.LINES, FieldType.JSON, FieldType.SECRET, FieldType.MULTI_CHOICE, POLYMORPHIC)
    for entity in entities(api):
        for field in entity.fields:
            if field.access_group == "internal" or field.type in (FieldType.LINES, FieldType.SECRET):
                continue
            asked = {"fields": field.name}
            if "is_null" in operators_of(field):
                asked["filter"] = json.dumps({field.name: {"is_null": True}})
            if field.type not in unsortable:
                asked["sort"] = f"-{field.name}"
            answer = await client.get(f"/{entity.slug}", params=asked)
            assert answer.status_code == 200, (entity.name, field.name, answer.text)


async def test_every_reference_can_be_expanded_and_looked_up(api: Api) -> None:
    client = api.as_("boss")
    for entity in entities(api):
        references = [field.name for field in entity.fields if field.is_reference]
        if not references:
            continue
        answer = await client.get(f"/{entity.slug}", params={"expand": ",".join(references)})
        assert answer.status_code == 200, (entity.name, answer.text)
        for name in references:
            answer = await client.get(f"/{entity.slug}/lookups/{name}", params={"q": "a b", "limit": "3"})
            assert answer.status_code == 200, (entity.name, name, answer.text)
            assert set(answer.json()) == {"items"}


async def test_an_id_that_is_none_and_one_that_is_not_there_are_not_found_in_every_resource(api: Api) -> None:
    client = api.as_("boss")
    for entity in entities(api):
        for path in (f"/{entity.slug}/{uuid4()}", f"/{entity.slug}/7", f"/{entity.slug}/{uuid4()}/history"):
            answer = await client.get(path)
            assert answer.status_code == 404, (path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.json()) >= PROBLEM


async def test_records_that_the_platform_writes_are_offered_for_reading_only(api: Api) -> None:
    client = api.as_("boss")
    for entity in entities(api):
        if writable(entity) or entity.slug in ("workflow-runs", "files"):  # these begin by commands of their own
            continue
        answer = await client.post(f"/{entity.slug}", json={})
        assert (answer.status_code, answer.headers.get("allow")) == (405, "GET"), entity.name
        changed = await client.patch(f"/{entity.slug}/{uuid4()}", json={}, headers={"if-match": '"1"'})
        assert (changed.status_code, changed.headers["allow"]) == (405, "GET"), entity.name
        assert (await client.post(f"/{entity.slug}/bulk", json=[])).status_code == 404, entity.name


async def test_every_resource_names_the_fields_that_are_missing_or_unknown(api: Api) -> None:
    client = api.as_("boss")
    for entity in entities(api):
        if not writable(entity):
            continue
        answer = await client.post(f"/{entity.slug}", json={"no_such_field": 1})
        assert answer.status_code in (403, 422), (entity.name, answer.text)
        if answer.status_code == 422:
            problems = {problem["path"]: problem for problem in answer.json()["errors"]}
            assert problems["no_such_field"]["code"] == "unknown_field", entity.name


async def test_nobody_reads_anything_without_signing_in(api: Api) -> None:
    for entity in entities(api):
        answer = await api.nobody().get(f"/api/v1/{entity.slug}")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), entity.name
    for path in ("/api/v1/openapi.json", "/api/v1/me", "/api/v1/access/explain", "/api/v1/no-such-thing"):
        assert (await api.nobody().get(path)).status_code == 401, path
