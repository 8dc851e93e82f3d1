"""What else the grammar promises: limits, words, what a filter reads, and the SQL it becomes."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Dialect, func, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.filters import (
    FilterError,
    FilterNode,
    UnresolvedReferenceError,
    Variables,
    describe,
    entities_read,
    fields_read,
    matches,
    needs_node_paths,
    parse,
    to_sql,
    value_types,
)
from models.registry import Registry
from models.schema import FieldType
from tests.unit.core.filters.node import NodeError, NodeFilters
from tests.unit.core.filters.world import (
    AS_JSON,
    RECORDS,
    REGISTRY,
    RUN,
    VECTORS,
    browser_variables,
    id_of,
    variables,
    with_ids,
)

TABLE = REGISTRY.table("run")
DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def _parse(filter_: Any) -> FilterNode:
    return parse(filter_, RUN, REGISTRY)


def _sql(filter_: Any) -> str:
    condition = to_sql(_parse(filter_), REGISTRY, variables("somebody"))
    return str(select(TABLE.c.id).where(condition).compile(dialect=DIALECT))


def _nested(depth: int) -> dict[str, Any]:
    filter_: dict[str, Any] = {"status": "ready"}
    for _ in range(depth):
        filter_ = {"not": filter_}
    return filter_


def test_a_filter_nested_too_deep_is_refused_however_deep_it_is() -> None:
    assert parse(_nested(4), RUN, REGISTRY, max_depth=5) == _parse(_nested(4))
    for depth in (5, 5_000):
        with pytest.raises(FilterError, match="nested more than 5 deep"):
            parse(_nested(depth), RUN, REGISTRY, max_depth=5)


def test_a_filter_with_too_many_conditions_is_refused() -> None:
    terms = [{"count": {"gt": 1, "lt": 5}}] * 2
    assert parse({"or": terms}, RUN, REGISTRY, max_terms=4) == _parse({"or": terms})
    with pytest.raises(FilterError, match="more than 3 conditions"):
        parse({"or": terms}, RUN, REGISTRY, max_terms=3)


def test_a_list_with_too_many_values_is_refused() -> None:
    with pytest.raises(FilterError, match="at most 5000 values; there are 5001"):
        _parse({"count": {"in": list(range(5_001))}})


def test_an_error_carries_a_code_a_status_and_the_place_for_the_client() -> None:
    with pytest.raises(FilterError) as caught:
        _parse({"and": [{"count": {"gt": "many"}}]})
    assert isinstance(caught.value, ValueError)
    assert (caught.value.code, caught.value.status) == ("filter_invalid", 400)
    assert [(p.path, p.message) for p in caught.value.problems] == [("and[0].count.gt", "Count must be a whole number")]
    assert str(caught.value) == "and[0].count.gt: Count must be a whole number"


def test_the_same_filter_is_parsed_once_for_each_revision() -> None:
    first = _parse({"status": "ready", "count": 5})
    assert _parse({"count": 5, "status": "ready"}) is first
    assert _parse({"count": 6, "status": "ready"}) is not first


def test_values_of_memory_may_stand_in_a_filter() -> None:
    anna = id_of("@anna")
    assert _parse({"owner": anna, "created_by": {"in": {anna}}}) == _parse(
        {"owner": str(anna), "created_by": {"in": [str(anna)]}}
    )


@pytest.mark.parametrize(
    ("filter_", "said"),
    [
        ({"status": {"in": ["ready", "failed"]}}, "Status is ready or failed"),
        ({"status": {"nin": ["ready", "failed", "done"]}}, "Status is not ready, failed nor done"),
        ({}, "everything"),
        ({"or": []}, "nothing"),
        ({"process.stage.name": {"starts_with": "Lo"}}, "Process / Stage / Name starts with “Lo”"),
        ({"stage_name": {"is_null": True}}, "Stage is empty"),
        ({"due": {"lt": "$today+P1D"}}, "Due date is before today plus 1 day"),
        ({"started": {"gte": "$now-PT1H30M"}}, "Started is at or after now minus 1 hour 30 minutes"),
        ({"count": {"gte": 1, "lt": 5}}, "Count is at least 1 and is below 5"),
        ({"amount": {"between": ["1.50", 2]}, "amount.currency": "EUR"}, "Amount is between 1.5 and 2 and Amount currency is “EUR”"),  # noqa: E501
        ({"active": True}, "Active is yes"),
        ({"node": {"under": "$my_nodes"}}, "Node is under my nodes"),
        ({"not": {"tags": {"contains": "red"}}}, "not (Tags contains red)"),
        ({"and": [{"owner": "$me"}, {"or": [{"count": 1}, {"count": 2}]}]}, "Owner is me and (Count is 1 or Count is 2)"),  # noqa: E501
        ({"status": {"in": []}}, "Status is one of none"),
    ],
)  # fmt: skip
def test_a_filter_is_said_in_plain_words(filter_: Any, said: str) -> None:
    assert describe(_parse(filter_)) == said


def test_records_are_said_by_their_titles() -> None:
    def title(entity: str, id_: UUID) -> str | None:
        name: str | None = RECORDS[entity][id_]["name"]
        return name

    node = _parse(with_ids({"process": {"in": ["@p1", "@p2"]}}))
    assert describe(node, title) == "Process is Rates or Positions"


def test_a_filter_says_which_fields_it_reads() -> None:
    node = _parse({"and": [{"process.stage.name": "Load"}, {"not": {"amount.currency": "EUR"}}], "stage_name": "Load"})
    assert fields_read(node) == {
        ("run", "process"),
        ("process", "stage"),
        ("stage", "name"),
        ("run", "amount"),
        ("run", "stage_name"),
    }
    assert entities_read(node) == {"process", "stage"}


def test_a_filter_says_how_the_browser_compares_and_what_python_needs() -> None:
    node = _parse({"process.steps.minutes": 5, "node": {"under": "$my_nodes"}})
    assert value_types(node) == {"process.steps": "lines", "process.steps.minutes": "number", "node": "id"}
    assert needs_node_paths(node)
    assert not needs_node_paths(_parse({"node": "$my_nodes"} | {"node": {"in": "$my_nodes"}}))


def test_references_become_correlated_exists_and_lists_one_parameter() -> None:
    sql = _sql({"process.stage.name": "Load", "status": {"in": ["ready", "failed"]}})
    assert sql.count("EXISTS") == 2
    assert "JOIN" not in sql
    assert sql.count("FROM run") == 1
    assert "= ANY (%(" in sql


def test_comparisons_outside_not_stay_plain_so_that_indexes_serve_them() -> None:
    sql = _sql({"count": {"gte": 5}, "title": {"contains": "x"}})
    assert "run.count >= %(" in sql
    assert "run.title ILIKE %(" in sql
    assert "IS NOT true" not in sql
    assert "coalesce" not in sql.lower()


async def test_a_filter_compiles_on_an_alias_and_inside_other_statements(connection: AsyncConnection) -> None:
    node = _parse({"process.stage.name": "Load", "lines.kind": "b"})
    alias = TABLE.alias("mine")
    found = await connection.scalars(
        select(alias.c.id).where(to_sql(node, REGISTRY, variables("somebody"), table=alias))
    )
    assert list(found) == [id_of("@r1")]
    condition = to_sql(node, REGISTRY, variables("somebody"))
    assert await connection.scalar(select(func.count()).select_from(TABLE).where(condition)) == 1
    changed = await connection.execute(update(TABLE).where(condition).values(row_version=TABLE.c.row_version))
    assert changed.rowcount == 1


def test_what_is_kept_of_a_filter_never_mixes_people_up() -> None:
    node = _parse({"owner": "$me"})
    statements = [
        to_sql(node, REGISTRY, variables(who)).compile(dialect=DIALECT).params
        for who in ("somebody", "nobody", "somebody")
    ]
    assert [list(params.values()) for params in statements] == [[id_of("@anna")], [], [id_of("@anna")]]


def test_every_field_of_the_product_can_be_asked_for_null(registry: Registry) -> None:
    asked = 0
    for entity in registry.entities.values():
        for field in entity.fields:
            if field.type is FieldType.LINES or (field.type is FieldType.COMPUTED and not field.stored):
                continue
            node = parse({field.name: {"is_null": False}}, entity, registry)
            assert "IS NOT NULL" in str(to_sql(node, registry, variables("nobody")))
            asked += 1
    assert asked > 200


async def test_values_are_parameters_and_never_text_of_the_statement(connection: AsyncConnection) -> None:
    attack = "x' OR true; DROP TABLE run --"
    node = _parse({"or": [{"title": attack}, {"title": {"contains": attack}}, {"team": {"in": [attack]}}]})
    condition = to_sql(node, REGISTRY, variables("somebody"))
    assert "DROP" not in str(condition.compile(dialect=DIALECT))
    assert list(await connection.scalars(select(TABLE.c.id).where(condition))) == []


def test_a_field_computed_on_read_is_refused_for_lists_and_works_in_memory() -> None:
    node = _parse({"halved": {"gt": 4}})
    with pytest.raises(FilterError, match="filter by the fields it is computed from"):
        to_sql(node, REGISTRY, variables("somebody"))
    assert [record["id"] for record in RECORDS["run"].values() if matches(node, record, variables("somebody"))] == [
        id_of("@r2")
    ]


def test_a_reference_that_cannot_be_followed_is_an_error_and_not_false(node: NodeFilters) -> None:
    filter_ = {"process.name": {"ne": "Rates"}}
    record = RECORDS["run"][id_of("@r1")]
    with pytest.raises(UnresolvedReferenceError, match=r"process\.name: the record of process is needed"):
        matches(_parse(filter_), record, variables("somebody"))
    with pytest.raises(NodeError, match=r"FilterError: process\.name: the record of process is needed"):
        node.evaluate(filter_, [{"process": str(record["process"])}], {})


def test_a_tree_question_without_node_paths_is_an_error_and_not_false(node: NodeFilters) -> None:
    known = variables("somebody")
    bare = Variables(now=known.now, today=known.today)
    filter_ = with_ids({"node": {"under": "@emea"}})
    with pytest.raises(FilterError, match="node_paths are needed"):
        matches(_parse(filter_), RECORDS["run"][id_of("@r1")], bare)
    with pytest.raises(NodeError, match="node_paths are needed"):
        node.evaluate(filter_, AS_JSON["run"], {})


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ([], "a filter is an object"),
        ({"and": {}}, "and takes a list"),
        ({"status": None}, "compare with null by is_null"),
        ({"status": {}}, "name an operator"),
        ({"status": {"like": "x"}}, "there is no operator like"),
        ({"status": {"is_null": 1}}, "is_null takes true or false"),
        ({"owner": "$you"}, r"there is no variable \$you"),
        ({"rate": {"lt": "many"}}, "many is not a number"),
        ({"started": {"lt": "soon"}}, "soon is not an instant"),
        ({"effort": {"lt": "1h"}}, "1h is not a duration"),
    ],
)
def test_the_browser_refuses_what_it_cannot_read(filter_: Any, message: str, node: NodeFilters) -> None:
    types = {"rate": "number", "started": "instant", "effort": "duration"}
    with pytest.raises(NodeError, match=f"FilterError: .*{message}"):
        node.evaluate(filter_, AS_JSON["run"], browser_variables("somebody", types))


def test_the_browser_finds_nothing_on_the_prototype(node: NodeFilters) -> None:
    for name in ("constructor", "__proto__", "toString", "hasOwnProperty"):
        assert node.evaluate({name: {"is_null": True}}, [{}], {}) == [True]


NEEDS_TYPES = {
    "an e-mail is compared in lower case",
    "an id in capitals",
    "a reference, then its lines, ne",
    "without the reference there are no lines",
}


def test_without_types_the_browser_guesses_right_but_for_four_known_cases(node: NodeFilters) -> None:

    for vector in VECTORS["vectors"]:
        records = AS_JSON[vector.get("entity", "run")]
        known = browser_variables(vector.get("variables", "somebody"), {})
        answers = node.evaluate(with_ids(vector["filter"]), records, known)
        found = {record["id"] for record, answer in zip(records, answers, strict=True) if answer}
        right = found == {str(id_of(name)) for name in vector["match"]}
        assert right is (vector["name"] not in NEEDS_TYPES), vector["name"]
