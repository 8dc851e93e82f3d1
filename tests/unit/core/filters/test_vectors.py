"""One file of vectors, three evaluators: PostgreSQL, Python and the browser's JavaScript."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.filters import FilterError, matches, parse, to_json, to_sql, value_types
from tests.unit.core.filters.node import NodeFilters
from tests.unit.core.filters.world import (
    AS_JSON,
    NESTED,
    RECORDS,
    REGISTRY,
    VECTORS,
    browser_variables,
    id_of,
    resolve,
    variables,
    with_ids,
)

Vector = dict[str, Any]
VALID = [pytest.param(vector, id=vector["name"]) for vector in VECTORS["vectors"]]
INVALID = [pytest.param(vector, id=vector["name"]) for vector in VECTORS["invalid"]]


def _read(vector: Vector) -> tuple[str, Any, str, set[str]]:
    entity = vector.get("entity", "run")
    return (
        entity,
        with_ids(vector["filter"]),
        vector.get("variables", "somebody"),
        {str(id_of(m)) for m in vector["match"]},
    )


@pytest.mark.parametrize("vector", VALID)
async def test_postgresql_finds_the_expected_records(vector: Vector, connection: AsyncConnection) -> None:
    entity, filter_, given, expected = _read(vector)
    node = parse(filter_, REGISTRY.entity(entity), REGISTRY)
    condition = to_sql(node, REGISTRY, variables(given))
    found = await connection.scalars(select(REGISTRY.table(entity).c.id).where(condition))
    assert {str(one) for one in found} == expected


@pytest.mark.parametrize("vector", VALID)
def test_python_finds_the_expected_records(vector: Vector) -> None:
    entity, filter_, given, expected = _read(vector)
    node = parse(filter_, REGISTRY.entity(entity), REGISTRY)
    known = variables(given)
    by_resolving = {str(r["id"]) for r in RECORDS[entity].values() if matches(node, r, known, resolve)}
    by_nesting = {str(r["id"]) for r in NESTED[entity] if matches(node, r, known)}
    assert by_resolving == expected
    assert by_nesting == expected


@pytest.mark.parametrize("vector", VALID)
def test_the_browser_finds_the_expected_records(vector: Vector, node: NodeFilters) -> None:
    entity, filter_, given, expected = _read(vector)
    parsed = parse(filter_, REGISTRY.entity(entity), REGISTRY)
    records = AS_JSON[entity]
    vars_ = browser_variables(given, value_types(parsed))
    # The e-mail is the one type whose filter values are normalised; the browser is sent the canonical form.
    for form in (to_json(parsed), filter_ if "contact" not in str(filter_) else to_json(parsed)):
        answers = node.evaluate(form, records, vars_)
        assert {record["id"] for record, answer in zip(records, answers, strict=True) if answer} == expected


@pytest.mark.parametrize("vector", VALID)
def test_writing_a_filter_back_loses_nothing(vector: Vector) -> None:
    entity, filter_, _, _ = _read(vector)
    node = parse(filter_, REGISTRY.entity(entity), REGISTRY)
    assert parse(to_json(node), REGISTRY.entity(entity), REGISTRY) == node


@pytest.mark.parametrize("vector", INVALID)
def test_a_filter_that_cannot_be_read_says_where_and_what_to_change(vector: Vector) -> None:
    entity, filter_ = vector.get("entity", "run"), with_ids(vector["filter"])
    with pytest.raises(FilterError) as caught:
        parse(filter_, REGISTRY.entity(entity), REGISTRY)
    assert caught.value.path == vector["path"]
    assert vector["message"] in caught.value.message


def test_there_are_enough_vectors_and_each_has_a_name_of_its_own() -> None:
    names = [vector["name"] for vector in (*VECTORS["vectors"], *VECTORS["invalid"])]
    assert len(set(names)) == len(names)
    assert len(VECTORS["vectors"]) >= 120
