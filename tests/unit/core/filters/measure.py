"""Print what a filter costs: `python -m tests.unit.core.filters.measure`."""

import sys
from collections.abc import Callable
from itertools import count
from time import process_time
from typing import Any

from sqlalchemy.dialects import postgresql

from app.core.filters import matches, parse, to_sql
from tests.unit.core.filters.world import RECORDS, REGISTRY, RUN, id_of, resolve, variables

ROUNDS = 2_000
NUMBERS = count(100)  # another limit each time, so that nothing is found in the cache
FLAT = {"and": [{"status": {"in": ["ready", "failed"]}}, {"count": {"gte": 5}}, {"due": {"lt": "$today"}}]}
DEEP = {"and": [{"status": {"in": ["ready"]}}, {"node": {"under": "$my_nodes"}}, {"process.stage.name": "Load"}]}


def _microseconds(call: Callable[[], Any]) -> float:
    best = []
    for _ in range(5):
        start = process_time()
        for _ in range(ROUNDS // 5):
            call()
        best.append((process_time() - start) / (ROUNDS // 5))
    return min(best) * 1e6


def _measure(name: str, filter_: dict[str, Any]) -> None:
    known, record, dialect = variables("somebody"), RECORDS["run"][id_of("@r1")], postgresql.dialect()  # type: ignore[no-untyped-call]
    node, alias = parse(filter_, RUN, REGISTRY), REGISTRY.table("run").alias()
    costs = {
        "parse, first": _microseconds(lambda: parse(filter_, RUN, REGISTRY, max_terms=next(NUMBERS))),
        "parse": _microseconds(lambda: parse(filter_, RUN, REGISTRY)),
        "to_sql, first": _microseconds(lambda: to_sql(node, REGISTRY, known, table=alias)),
        "parse and to_sql": _microseconds(lambda: to_sql(parse(filter_, RUN, REGISTRY), REGISTRY, known)),
        "rendered": _microseconds(lambda: to_sql(node, REGISTRY, known).compile(dialect=dialect)),
        "matches": _microseconds(lambda: matches(node, record, known, resolve)),
    }
    said = ", ".join(f"{what} {cost:.1f}" for what, cost in costs.items())
    sys.stdout.write(f"{name} (us of processor time): {said}\n")


def main() -> None:
    _measure("three fields", FLAT)
    _measure("a field, a subtree, two references", DEEP)


if __name__ == "__main__":
    main()
