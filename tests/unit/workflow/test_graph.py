"""Readiness and cycles, on random graphs."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.workflow.graph import Edge, entry_state, find_cycle, ready_processes
from app.domain.workflow.states import ProcessKind, ProcessState

NOW = datetime(2026, 10, 30, 15, 0, tzinfo=UTC)
DONE = frozenset({ProcessState.DONE})

edges_of_any_graph = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40)


@given(edges_of_any_graph)
def test_a_cycle_is_found_exactly_where_there_is_no_order(edges: list[tuple[int, int]]) -> None:
    cycle = find_cycle(range(13), edges)
    if cycle is None:
        remaining, order = set(range(13)), []
        while remaining:
            free = {n for n in remaining if not any(b == n and a in remaining for a, b in edges)}
            assert free
            order += sorted(free)
            remaining -= free
        assert len(order) == 13
    else:
        steps = set(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        assert steps <= set(edges)
        assert len(set(cycle)) == len(cycle)


@given(edges_of_any_graph)
def test_edges_that_only_go_upwards_have_no_cycle(edges: list[tuple[int, int]]) -> None:
    assert find_cycle(range(13), [(a, b) for a, b in edges if a < b]) is None


def test_a_chain_of_fifty_thousand_is_no_problem() -> None:
    chain = [(number, number + 1) for number in range(50_000)]
    assert find_cycle(range(50_001), chain) is None
    assert len(find_cycle(range(50_001), [*chain, (50_000, 0)]) or []) == 50_001


def test_a_process_is_ready_when_every_predecessor_has_ended_acceptably() -> None:
    skipped = frozenset({ProcessState.SKIPPED})
    edges = [Edge("a", "c", DONE), Edge("b", "c", DONE | skipped), Edge("b", "d", DONE)]
    states = {"a": ProcessState.DONE, "b": ProcessState.SKIPPED, "c": ProcessState.BLOCKED, "d": ProcessState.BLOCKED}
    assert ready_processes(states, edges) == {"c"}


@pytest.mark.parametrize(
    ("kind", "waiting_on", "start", "state"),
    [
        (ProcessKind.MANUAL, 1, None, ProcessState.BLOCKED),
        (ProcessKind.MANUAL, 0, None, ProcessState.READY),
        (ProcessKind.APPROVAL, 0, None, ProcessState.IN_REVIEW),
        (ProcessKind.AUTOMATIC, 0, timedelta(hours=1), ProcessState.PLANNED),
        (ProcessKind.AUTOMATIC, 0, timedelta(0), ProcessState.READY),
        (ProcessKind.APPROVAL, 2, timedelta(hours=1), ProcessState.BLOCKED),
    ],
)
def test_where_an_untouched_process_stands(
    kind: ProcessKind, waiting_on: int, start: timedelta | None, state: ProcessState
) -> None:
    earliest = None if start is None else NOW + start
    assert entry_state(kind, waiting_on=waiting_on, earliest_start=earliest, now=NOW) is state
