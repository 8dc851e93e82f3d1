"""Random filters on the `run` entity of vectors.json, for laws that hold for every filter."""

from typing import Any

from hypothesis import strategies as st

from tests.unit.core.filters.world import NAMES, with_ids

Filter = dict[str, Any]

# Letters whose case mapping is the same in every Unicode version in use, with the awkward ones among them.
LETTERS = "aAbBdDlLoOsS %_\\$5ßẞÆæøØİKΣς" + "\u0131\u017f\u03c3\u03bf\u039f"
TEXT = st.text(LETTERS, max_size=3).map(lambda text: f"${text}" if text.startswith("$") else text) | st.sampled_from(
    ["Load", "load", "Rates", "fetch", "a", "b", "Anna", "EUR", "controllers", "Nothing", "loaded", ""]
)
NUMBER = st.integers(-5, 40) | st.integers(-(2**53) + 1, 2**53 - 1)
DECIMAL = st.decimals(-1000, 1000, places=8).map(str) | st.sampled_from(
    ["0", "1", "1.1", "1.10", "1.1000001", "-0.5", "5", "10", "99", "100", "100.01", "1E2", "-20"]
)
DATE = st.dates().map(str) | st.sampled_from(
    ["$today", "$business_date", "$today+P3D", "$today-P303D", "$business_date+P1D", "2026-10-30", "2025-12-31"]
)
INSTANT = st.sampled_from(
    ["$now", "$now-PT4H", "$now-PT30M", "$now+P1D", "2026-10-30T12:00:00.000001Z", "2026-10-30T10:00:00+02:00"]
) | st.datetimes().map(lambda at: f"{at.isoformat()}Z")
TIME = st.times().map(str) | st.sampled_from(["16:30", "16:30:15", "09:00"])
DURATION = st.sampled_from(["PT0S", "PT90M", "PT1H30M", "P1D", "PT24H", "-PT5M", "-P1DT1H", "PT86399S"])
STATUS = st.sampled_from(["draft", "ready", "failed", "done"])
TAG = st.sampled_from(["red", "green", "blue"])
ID = st.sampled_from(sorted(NAMES)).map(with_ids)
USER = ID | st.just("$me")
NODE = st.sampled_from(["@world", "@emea", "@london", "@emea2", "@apac", "@gone"]).map(with_ids)


def _equality(value: st.SearchStrategy[Any]) -> list[st.SearchStrategy[Filter]]:
    lists = st.lists(value, max_size=4)
    return [
        *(st.fixed_dictionaries({name: value}) for name in ("eq", "ne")),
        *(st.fixed_dictionaries({name: lists}) for name in ("in", "nin")),
        st.fixed_dictionaries({"is_null": st.booleans()}),
    ]


def _ordered(value: st.SearchStrategy[Any]) -> list[st.SearchStrategy[Filter]]:
    pair = st.lists(value, min_size=2, max_size=2)
    compared = [st.fixed_dictionaries({name: value}) for name in ("lt", "lte", "gt", "gte")]
    return [*_equality(value), *compared, st.fixed_dictionaries({"between": pair})]


def _textual(value: st.SearchStrategy[Any]) -> list[st.SearchStrategy[Filter]]:
    return [*_equality(value), *(st.fixed_dictionaries({name: TEXT}) for name in ("contains", "starts_with"))]


def _tree() -> list[st.SearchStrategy[Filter]]:
    related = st.lists(NODE | st.just("$my_nodes"), max_size=3) | NODE | st.just("$my_nodes")
    return [*_equality(NODE), *(st.fixed_dictionaries({name: related}) for name in ("under", "ancestor_of"))]


NOTHING_BUT_NULL: list[st.SearchStrategy[Filter]] = [st.fixed_dictionaries({"is_null": st.booleans()})]
SETS: list[st.SearchStrategy[Filter]] = [
    st.fixed_dictionaries({"contains": TAG}),
    st.fixed_dictionaries({"eq": st.lists(TAG, unique=True)}),
    *NOTHING_BUT_NULL,
]
PATHS: list[tuple[list[st.SearchStrategy[Filter]], tuple[str, ...]]] = [
    (_textual(TEXT), ("title", "note", "team", "process.name", "process.stage.name", "stage_name", "lines.kind")),
    (_textual(TEXT), ("process.steps.name", "created_by.name", "lines.owner.name", "amount.currency")),
    ([st.fixed_dictionaries({"in": st.just("$my_roles"), "ne": TEXT})], ("team",)),
    (_ordered(NUMBER), ("count", "row_version", "doubled", "process.stage.priority", "process.steps.minutes")),
    (_ordered(DECIMAL), ("rate", "amount", "fee", "process.budget", "lines.amount")),
    ([st.fixed_dictionaries({name: st.booleans()}) for name in ("eq", "ne", "is_null")], ("active",)),
    (_ordered(DATE), ("due",)),
    (_ordered(INSTANT), ("started", "created_at", "deleted_at")),
    (_ordered(TIME), ("cutoff",)),
    (_ordered(DURATION), ("effort",)),
    (_equality(STATUS), ("status",)),
    (SETS, ("tags",)),
    (_equality(ID), ("id", "process", "process.stage", "process.id", "subject.id", "lines.id")),
    (_equality(USER), ("owner", "process.owner", "created_by", "lines.owner")),
    (_tree(), ("node", "process.node")),
    (NOTHING_BUT_NULL, ("subject", "payload", "token")),
]
TESTS = [(path, tests) for tests, paths in PATHS for path in paths]


def _merged(tests: list[Filter]) -> Filter:
    return {name: value for test in tests for name, value in test.items()}


def _on(path: str, tests: list[st.SearchStrategy[Filter]]) -> st.SearchStrategy[Filter]:
    return st.lists(st.one_of(tests), min_size=1, max_size=3).map(lambda chosen: {path: _merged(chosen)})


TERMS = st.sampled_from(TESTS).flatmap(lambda one: _on(*one))
FILTERS: st.SearchStrategy[Filter] = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"and": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
        st.lists(inner, min_size=2, max_size=3).map(_merged),
    ),
    max_leaves=8,
)
