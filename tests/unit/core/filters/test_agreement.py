"""Whatever the filter, the evaluators agree on every record, and negation is exact."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.filters import And, FilterError, FilterNode, Not, Or, matches, parse, to_json, to_sql, value_types
from tests.unit.core.filters.node import NodeFilters
from tests.unit.core.filters.trees import FILTERS, Filter
from tests.unit.core.filters.world import AS_JSON, RECORDS, REGISTRY, RUN, browser_variables, resolve, variables

TABLE = REGISTRY.table("run")
WHO = st.sampled_from(["somebody", "nobody"])
KEPT = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def _in_python(node: FilterNode, who: str) -> list[bool]:
    known = variables(who)
    return [matches(node, record, known, resolve) for record in RECORDS["run"].values()]


async def _in_sql(node: FilterNode, who: str, connection: AsyncConnection) -> list[bool]:
    found = set(await connection.scalars(select(TABLE.c.id).where(to_sql(node, REGISTRY, variables(who)))))
    return [id_ in found for id_ in RECORDS["run"]]


@settings(KEPT, max_examples=150)
@given(filter_=FILTERS, who=WHO)
async def test_sql_and_python_agree_on_every_filter(filter_: Filter, who: str, connection: AsyncConnection) -> None:
    node = parse(filter_, RUN, REGISTRY)
    assert await _in_sql(node, who, connection) == _in_python(node, who)


@settings(KEPT, max_examples=50)
@given(filter_=FILTERS, who=WHO)
async def test_not_selects_exactly_the_other_records(filter_: Filter, who: str, connection: AsyncConnection) -> None:
    node = parse(filter_, RUN, REGISTRY)
    selected = await _in_sql(node, who, connection)
    assert await _in_sql(Not(node), who, connection) == [not one for one in selected]
    assert await _in_sql(And((node, Not(node))), who, connection) == [False] * len(selected)
    assert await _in_sql(Or((node, Not(node))), who, connection) == [True] * len(selected)


@settings(KEPT, max_examples=150)
@given(filter_=FILTERS, who=WHO)
def test_python_and_the_browser_agree_on_every_filter(filter_: Filter, who: str, node: NodeFilters) -> None:
    parsed = parse(filter_, RUN, REGISTRY)
    vars_ = browser_variables(who, value_types(parsed))
    expected = _in_python(parsed, who)
    assert node.evaluate(to_json(parsed), AS_JSON["run"], vars_) == expected
    assert node.evaluate(filter_, AS_JSON["run"], vars_) == expected


@settings(KEPT, max_examples=100)
@given(filter_=FILTERS)
def test_every_filter_survives_being_written_and_read(filter_: Filter) -> None:
    node = parse(filter_, RUN, REGISTRY)
    assert parse(to_json(node), RUN, REGISTRY) == node


KEYS = st.sampled_from(["and", "or", "not", "eq", "in", "under", "between", "title", "due", "node", "tags"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["$now", "$me"])
)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner), max_leaves=10
)


@settings(KEPT, max_examples=200)
@given(filter_=JSON_VALUES)
def test_any_json_is_read_or_refused_with_a_reason(filter_: Any) -> None:
    reason, node = "", None
    try:
        node = parse(filter_, RUN, REGISTRY)
    except FilterError as error:
        reason = str(error)
    assert reason or (node is not None and parse(to_json(node), RUN, REGISTRY) == node)
