"""Letting a run go on many times: in each outcome every open process takes another of its usual times.

Moments are seconds from now. What is known is one number; what is not is a list with one number for each outcome.
Beside them is kept which predecessor decided when a process could begin: the chain that drivers and critical paths
follow back.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import TypeVar
from uuid import UUID

from app.domain.prediction.curves import Curve, guessed_curve
from app.domain.prediction.draws import Draws
from app.domain.prediction.hours import OpenHours
from app.domain.prediction.picture import Gate, Link, Measure, Picture, Work
from app.domain.workflow.states import ProcessState

Moments = float | list[float]
NOBODY = -1
GUESS_SECONDS = 600.0
ENOUGH_ARRIVALS = 5
# The clock is trusted where it says clearly more than the time since the work became ready.
CLEARLY_TIGHTER = 0.8

_S = ProcessState
_WAITING = frozenset({_S.READY, _S.ASSIGNED, _S.WAITING_EXTERNAL})
_REVIEWED = frozenset({_S.SUBMITTED, _S.IN_REVIEW})
_NOT_YET = frozenset({_S.BLOCKED, _S.PLANNED})


@dataclass(slots=True)
class Outcomes:
    """Of each process by its place in the picture: when it can begin, when it ends, when it would usually end.

    `binding`: in each tracked outcome the place of the predecessor that it waited for, or NOBODY.
    """

    size: int
    tracked: int
    places: dict[UUID, int]
    order: list[int]
    ready: list[Moments]
    finish: list[Moments]
    usual: list[Moments]
    binding: list[int | list[int]]
    incoming: list[list[Link]] = field(default_factory=list)


def at(moments: Moments, outcome: int) -> float:
    return moments[outcome] if isinstance(moments, list) else moments


T = TypeVar("T", int, float)


def each(values: T | list[T], count: int) -> list[T]:
    """One value for each of the first outcomes."""
    return values[:count] if isinstance(values, list) else [values] * count


def later_of(one: Moments, other: Moments) -> Moments:
    """In each outcome the later of the two."""
    # Comparing in place takes a third of the time of calling max, and this is where the time goes.
    if isinstance(one, list):
        if isinstance(other, list):
            return [a if a > b else b for a, b in zip(one, other, strict=True)]  # noqa: FURB136
        return [a if a > other else other for a in one]  # noqa: FURB136
    return later_of(other, one) if isinstance(other, list) else max(one, other)


def plus(one: Moments, other: Moments) -> Moments:
    """In each outcome the sum."""
    if isinstance(one, list):
        if isinstance(other, list):
            return [a + b for a, b in zip(one, other, strict=True)]
        return [a + other for a in one]
    return [one + b for b in other] if isinstance(other, list) else one + other


def simulate(picture: Picture, *, size: int, tracked: int) -> Outcomes:
    """Play the run through, `size` times at once; chains are kept of the first `tracked` outcomes."""
    works = picture.works
    places = {work.id: place for place, work in enumerate(works)}
    incoming: list[list[Link]] = [[] for _ in works]
    for link in picture.links:
        incoming[places[link.successor]].append(link)
    count = len(works)
    outcomes = Outcomes(
        size, tracked, places, _in_order(incoming, places), [0.0] * count, [0.0] * count, [0.0] * count,
        [NOBODY] * count, incoming,
    )  # fmt: skip
    player = _Player(picture, outcomes, Draws(picture.run_id, size))
    for place in outcomes.order:
        player.play(place)
    return outcomes


def _in_order(incoming: Sequence[Iterable[Link]], places: dict[UUID, int]) -> list[int]:
    """Predecessors before successors. What stands in a circle comes last: nothing can be said of it anyway."""
    waits = [0] * len(incoming)
    successors: defaultdict[int, list[int]] = defaultdict(list)
    for place, links in enumerate(incoming):
        for link in links:
            if link.predecessor is not None and link.predecessor in places:
                successors[places[link.predecessor]].append(place)
                waits[place] += 1
    order = [place for place, count in enumerate(waits) if not count]
    for place in order:  # the list grows while it is walked
        for after in successors[place]:
            waits[after] -= 1
            if not waits[after]:
                order.append(after)
    return order if len(order) == len(waits) else order + [place for place, count in enumerate(waits) if count > 0]


class _Player:
    def __init__(self, picture: Picture, outcomes: Outcomes, draws: Draws) -> None:
        self.picture, self.outcomes, self.draws = picture, outcomes, draws
        self.hours: OpenHours = picture.hours
        self.now = picture.now

    def seconds(self, moment: datetime) -> float:
        return (moment - self.now).total_seconds()

    def play(self, place: int) -> None:
        """Decide when the process can begin and when it ends; its predecessors have been played."""
        work, outcomes = self.picture.works[place], self.outcomes
        if work.state.closed:
            self._closed(place, work)
            return
        starts, finishes, never = self._gates(place)
        if work.state in _NOT_YET and not work.foreign:
            floor = max(0.0, self.seconds(work.earliest_start)) if work.earliest_start else 0.0
            ready, binding = self._latest(starts, floor)
            finish = inf if never is not None else self._fresh(work, ready)
        else:
            ready = self.seconds(work.ready_at or work.started_at or self.now)
            binding = self._latest_known(place)
            finish = self._going_on(place, work, ready)
            if starts:  # it goes on although something has not come that it usually waits for
                gate, binding = self._latest(starts, 0.0)
                finish = later_of(finish, plus(gate, self._curve(work, Measure.START_TO_DONE).median))
        if never is not None:
            binding = never
        if finishes:
            gate, late = self._latest(finishes, 0.0)
            binding = self._where_later(gate, finish, late, binding)
            finish = later_of(finish, gate)
        outcomes.ready[place], outcomes.finish[place], outcomes.binding[place] = ready, finish, binding
        outcomes.usual[place] = self._usual(place, work, ready)

    def _closed(self, place: int, work: Work) -> None:
        outcomes = self.outcomes
        finish = self.seconds(work.finished_at or self.now)
        ready = min(finish, self.seconds(work.ready_at or work.started_at or work.finished_at or self.now))
        outcomes.ready[place], outcomes.finish[place] = ready, finish
        outcomes.binding[place] = self._latest_known(place)
        # What was skipped or cancelled has not been late.
        outcomes.usual[place] = self._usual(place, work, ready) if work.state is _S.DONE else finish

    # -- gates -----------------------------------------------------------------------------------------------------

    def _gates(self, place: int) -> tuple[list[tuple[Moments, int]], list[tuple[Moments, int]], int | None]:
        """When predecessors let it begin, when they let it end, and one that never will."""
        starts: list[tuple[Moments, int]] = []
        finishes: list[tuple[Moments, int]] = []
        never: int | None = None
        for link in self.outcomes.incoming[place]:
            if link.satisfied:
                continue
            before = self.outcomes.places.get(link.predecessor, NOBODY) if link.predecessor else NOBODY
            if link.hopeless:
                never = before if link.hard else never
                continue
            opens = self._opens(link, before)
            if opens is not None:
                (starts if link.gate in (Gate.FS, Gate.SS) else finishes).append((opens, before))
        return starts, finishes, never

    def _opens(self, link: Link, before: int) -> Moments | None:
        if link.met_by is not None:
            return max(0.0, self.seconds(link.met_by))
        if before == NOBODY:
            return None
        from_start = link.gate in (Gate.SS, Gate.SF)
        moment = self._start(before) if from_start else self.outcomes.finish[before]
        if not link.lag:
            return moment
        if not link.working:
            return plus(moment, link.lag)
        if isinstance(moment, list):
            return [each if each == inf else self.hours.later(each, (link.lag,))[0] for each in moment]
        return self.hours.later(moment, (link.lag,))[0]

    def _start(self, place: int) -> Moments:
        """When somebody begins with it: usually a while after it has become ready."""
        work = self.picture.works[place]
        if work.started_at is not None:
            return self.seconds(work.started_at)
        return later_of(plus(self.outcomes.ready[place], self.pickup(work)), 0.0)

    def pickup(self, work: Work) -> float:
        whole = self._curve(work, Measure.READY_TO_DONE).median
        return max(0.0, whole - self._curve(work, Measure.START_TO_DONE).median)

    def _latest(self, gates: Sequence[tuple[Moments, int]], floor: float) -> tuple[Moments, int | list[int]]:
        """The latest of the gates in each outcome, not before `floor`, and which one it was."""
        if not gates:
            return floor, NOBODY
        tracked = self.outcomes.tracked
        moments, first = gates[0]
        binding: int | list[int] = first
        for gate, before in gates[1:]:
            had, latest, other = each(binding, tracked), each(moments, tracked), each(gate, tracked)
            binding = [before if new >= old else b for new, old, b in zip(other, latest, had, strict=True)]
            moments = later_of(moments, gate)
        if (min(moments[:tracked]) if isinstance(moments, list) else moments) < floor:
            had, latest = each(binding, tracked), each(moments, tracked)
            binding = [b if old >= floor else NOBODY for old, b in zip(latest, had, strict=True)]
        return later_of(moments, floor), binding

    def _where_later(self, gate: Moments, finish: Moments, late: int | list[int], before: int | list[int]) -> list[int]:
        """The predecessor that holds back the end, where it does; else the one that held back the beginning."""

        count = self.outcomes.tracked
        late, before = each(late, count), each(before, count)
        return [
            behind if opens > ends else ahead
            for opens, ends, behind, ahead in zip(each(gate, count), each(finish, count), late, before, strict=True)
        ]

    def _latest_known(self, place: int) -> int:
        """The predecessor that was last to let it begin."""
        best, latest = NOBODY, -inf
        for link in self.outcomes.incoming[place]:
            before = self.outcomes.places.get(link.predecessor) if link.predecessor else None
            if before is None or not self.picture.works[before].state.closed:
                continue
            ended = self.outcomes.finish[before]
            if isinstance(ended, float) and ended > latest:
                best, latest = before, ended
        return best

    # -- durations -------------------------------------------------------------------------------------------------

    def _curve(self, work: Work, measure: Measure) -> Curve:
        """The curve of a measure, or the nearest one there is."""
        curves = work.habit.curves
        found = curves.get(measure) or curves.get(Measure.READY_TO_DONE) or curves.get(Measure.START_TO_DONE)
        return found or guessed_curve(GUESS_SECONDS)

    def _fresh(self, work: Work, ready: Moments) -> Moments:
        """When it ends if it becomes ready then."""
        curve = self._curve(work, Measure.READY_TO_DONE)
        spans = self.draws.shuffled(curve.points(self.outcomes.size), work.id)
        if not curve.working or not self.hours.starts:
            return plus(ready, spans)
        if not isinstance(ready, list):
            ready = [ready] * self.outcomes.size
        return [
            begin if begin == inf else self.hours.later(begin, (span,))[0]
            for begin, span in zip(ready, spans, strict=True)
        ]

    def _going_on(self, place: int, work: Work, ready: float) -> Moments:
        """When it ends, given how long it has been going on."""
        if work.foreign:
            return self._fresh(work, 0.0)
        match work.state:
            case _S.REJECTED:
                return inf
            case _S.ON_HOLD:
                resumed = max(0.0, self.seconds(work.review_by)) if work.review_by else 0.0
                return self._fresh(work, resumed)
            case _S.FAILED | _S.STALE:
                return self._fresh(work, 0.0)
        arrival = self.arrival(place, work)
        if arrival is not None:
            midnight = self.seconds(self.picture.midnight)
            points = arrival.points(self.outcomes.size, after=max(0.0, -midnight))
            return self.draws.shuffled([midnight + point for point in points], work.id)
        if work.state in _REVIEWED and work.submitted_at is not None:
            return self._since(work, Measure.SUBMIT_TO_DONE, self.seconds(work.submitted_at))
        if work.state is _S.IN_PROGRESS and work.started_at is not None:
            return self._since(work, Measure.START_TO_DONE, self.seconds(work.started_at))
        return self._since(work, Measure.READY_TO_DONE, ready)

    def _since(self, work: Work, measure: Measure, begun: float) -> list[float]:
        curve = self._curve(work, measure)
        if curve.working and self.hours.starts:
            passed = self.hours.position(0.0) - self.hours.position(begun)
            left = [point - passed for point in curve.points(self.outcomes.size, after=max(0.0, passed))]
            return self.draws.shuffled(self.hours.later(0.0, left), work.id)
        points = curve.points(self.outcomes.size, after=max(0.0, -begun))
        return self.draws.shuffled([begun + point for point in points], work.id)

    def arrival(self, place: int, work: Work) -> Curve | None:
        """The curve of its time of day, where that says more than how long it waits: for what begins a run."""
        if work.state not in _WAITING or self.outcomes.incoming[place]:
            return None
        clock, wait = work.habit.curves.get(Measure.FINISH_OF_DAY), work.habit.curves.get(Measure.READY_TO_DONE)
        if clock is None or clock.observations < ENOUGH_ARRIVALS:
            return None
        return clock if wait is None or clock.spread < CLEARLY_TIGHTER * wait.spread else None

    def _usual(self, place: int, work: Work, ready: Moments) -> Moments:
        """When it would end if it took its usual time."""
        arrival = self.arrival(place, work)
        if arrival is not None:
            return self.seconds(self.picture.midnight) + arrival.median
        curve = self._curve(work, Measure.READY_TO_DONE)
        if not curve.working or not self.hours.starts:
            return plus(ready, curve.median)
        if not isinstance(ready, list):
            return self.hours.later(ready, (curve.median,))[0]
        return [begin if begin == inf else self.hours.later(begin, (curve.median,))[0] for begin in ready]
