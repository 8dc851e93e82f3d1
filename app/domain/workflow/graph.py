"""The pure side of dependencies: which processes may begin, and whether edges can be satisfied at all."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from app.domain.workflow.states import ProcessKind, ProcessState

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Edge(Generic[T]):
    """`successor` waits until `predecessor` closes in one of the states `accepts`."""

    predecessor: T
    successor: T
    accepts: frozenset[ProcessState]


def entry_state(kind: ProcessKind, *, waiting_on: int, earliest_start: datetime | None, now: datetime) -> ProcessState:
    """Where a process stands that nobody has touched; `ENTRY_STATE` is the same rule in SQL."""
    if waiting_on > 0:
        return ProcessState.BLOCKED
    if earliest_start is not None and earliest_start > now:
        return ProcessState.PLANNED
    if kind is ProcessKind.WAIT_FOR:
        return ProcessState.WAITING_EXTERNAL
    # An approval is nothing to be prepared: what it decides on is the work of its predecessors.
    return ProcessState.IN_REVIEW if kind.decided else ProcessState.READY


ENTRY_STATE = """CASE WHEN {waiting_on} > 0 THEN 'blocked' WHEN {earliest_start} > :now THEN 'planned'
    WHEN {kind} IN ('approval', 'sign_off') THEN 'in_review' WHEN {kind} = 'wait_for' THEN 'waiting_external'
    ELSE 'ready' END"""


def ready_processes(states: Mapping[T, ProcessState], edges: Iterable[Edge[T]]) -> set[T]:
    """The blocked processes whose every predecessor has closed in a way that its edge accepts."""
    waiting = {edge.successor for edge in edges if states[edge.predecessor] not in edge.accepts}
    return {process for process, state in states.items() if state is ProcessState.BLOCKED} - waiting


def find_cycle(nodes: Collection[T], edges: Iterable[tuple[T, T]]) -> list[T] | None:
    """One cycle as the processes on it in order, or None. Linear in processes and edges; deep chains are fine."""
    successors: defaultdict[T, list[T]] = defaultdict(list)
    incoming: defaultdict[T, int] = defaultdict(int)
    for predecessor, successor in edges:
        successors[predecessor].append(successor)
        incoming[successor] += 1
    free = [node for node in nodes if not incoming[node]]
    left = set(nodes)
    while free:
        node = free.pop()
        left.discard(node)
        for successor in successors[node]:
            incoming[successor] -= 1
            if not incoming[successor]:
                free.append(successor)
    return _walk_back(left, successors) if left else None


def _walk_back(left: set[T], successors: Mapping[T, Sequence[T]]) -> list[T]:
    """Every process that is left has a predecessor that is left, so walking backwards must come round."""
    before = {successor: node for node in left for successor in successors[node] if successor in left}
    path: list[T] = []
    seen: dict[T, int] = {}
    node = next(iter(before))
    while node not in seen:
        seen[node] = len(path)
        path.append(node)
        node = before[node]
    return path[seen[node] :][::-1]
