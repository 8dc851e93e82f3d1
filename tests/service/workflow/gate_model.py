"""The rules of dependencies once more, in few lines that share nothing with the engine: what tests compare with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

START_TYPES, END_TYPES = ("FS", "SS"), ("FF", "SF")


@dataclass(frozen=True)
class ModelEdge:
    """`lag` reckons when the lag is over that begins at an instant."""

    predecessor: str
    successor: str
    type: str
    hardness: str
    accepts: frozenset[str]
    lag: object = None


@dataclass
class Life:
    """What has happened to a process: its beginning, and each end or failure, as places in the history and instants."""

    begun: tuple[int, datetime] | None = None
    ends: list[tuple[int, datetime, str]] = field(default_factory=list)


Event = tuple[str, str, str, datetime]  # process, transition, state, at

BEGINNINGS = {"start", "submit", "begin", "approve", "reject"}
ENDS = {"done", "skipped", "cancelled", "failed"}


def lives(events: Iterable[Event]) -> dict[str, Life]:
    """Read the history, the oldest event first."""
    found: dict[str, Life] = {}
    for place, (process, name, state, at) in enumerate(events):
        life = found.setdefault(process, Life())
        if name in BEGINNINGS and life.begun is None:
            life.begun = (place, at)
        if state in ENDS:
            life.ends.append((place, at, state))
    return found


def met(edge: ModelEdge, histories: Mapping[str, Life]) -> tuple[int, datetime] | None:
    """The first event that the edge waits for."""
    life = histories.get(edge.predecessor, Life())
    counting = [(place, at) for place, at, state in life.ends if state in edge.accepts]
    if edge.type in ("SS", "SF") and life.begun is not None:
        counting.append(life.begun)
    return min(counting, default=None)


def broken(edges: Sequence[ModelEdge], events: Sequence[Event]) -> list[str]:
    """Every hard edge over which a process has begun or been completed too early."""
    histories = lives(events)
    problems: list[str] = []
    for edge in edges:
        if edge.hardness != "hard":
            continue
        life = histories.get(edge.successor, Life())
        done = [(place, at) for place, at, state in life.ends if state == "done"]
        held = life.begun if edge.type in START_TYPES else min(done, default=None)
        if held is None:
            continue
        since = met(edge, histories)
        over = None if since is None else edge.lag(since[1]) if callable(edge.lag) else since[1]
        if since is None or since[0] > held[0] or (over is not None and over > held[1]):
            problems.append(f"{edge.predecessor} {edge.type} {edge.successor}: {since} {over} {held}")
    return problems


def satisfied(edge: ModelEdge, histories: Mapping[str, Life], now: datetime) -> bool:
    """Whether the edge has passed, once everything that was due at `now` has been let go."""
    since = met(edge, histories)
    if since is None:
        return False
    return (edge.lag(since[1]) if callable(edge.lag) else since[1]) <= now
