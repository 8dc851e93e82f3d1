"""The forecast of a run: when it, its stages and its open processes will probably be finished, and what endangers that.

Pure: the same picture gives the same forecast, to the last digit.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf
from uuid import UUID

from app.domain.prediction.blame import Blame, Chains, blame_for, critical, finish_without, worst_on_chains
from app.domain.prediction.picture import Measure, Picture, Source, StageOfRun, Work
from app.domain.prediction.simulation import Moments, Outcomes, at, each, later_of, simulate
from app.domain.workflow.states import ProcessState

# From this many processes on, fewer outcomes are looked at: what is lost in detail is gained in time.
SIZES = ((200, 256, 64), (800, 144, 24), (4_000, 128, 24), (10**9, 96, 16))
LEAST_TO_EXPLAIN = 0.05


class Reason(StrEnum):
    """Why a deadline is in danger, by what its driver does."""

    LATE = "late"  # took, or has been taking, longer than usual
    LONG = "long"  # may take longer than usual
    WAITS = "waits"  # for something outside that is late
    HELD = "held"
    FAILED = "failed"
    IMPOSSIBLE = "impossible"  # it cannot be finished any more
    TIGHT = "tight"  # everything as usual is too late already


@dataclass(frozen=True, slots=True)
class Estimate:
    """A target and its deadline. Times are None where it will never end; `miss` is None without a deadline."""

    finish_p50: datetime | None
    finish_p90: datetime | None
    due_at: datetime | None = None
    miss: float | None = None
    reason: Reason | None = None
    driver: UUID | None = None
    late: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ProcessEstimate:
    """An open process. `criticality`: the share of outcomes in which it decides the end of the run."""

    finish: Estimate
    start_p50: datetime | None
    criticality: float
    on_critical_path: bool
    source: Source
    observations: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """`miss_otherwise`: what P(miss) of the run would be if its driver took its usual time."""

    run: Estimate
    miss_otherwise: float | None
    stages: Mapping[UUID, Estimate]
    processes: Mapping[UUID, ProcessEstimate]
    critical_path: tuple[UUID, ...]
    outcomes: int


def forecast(picture: Picture) -> Forecast | None:
    """Look ahead from the picture's moment; None where nothing is open."""
    own = [place for place, work in enumerate(picture.works) if not work.foreign]
    if all(picture.works[place].state.closed for place in own):
        return None
    size, tracked = next((s, t) for most, s, t in SIZES if len(picture.works) <= most)
    outcomes = simulate(picture, size=size, tracked=tracked)
    return _Reader(picture, outcomes, worst_on_chains(picture, outcomes), own).read()


@dataclass(slots=True)
class _Target:
    """What ends when the last of its processes does. `last`: which one that is, in each tracked outcome."""

    tracked: int
    finish: Moments = -inf
    last: list[int] = field(default_factory=list)
    open: bool = False

    def add(self, finish: Moments, last: Sequence[int], *, is_open: bool) -> None:
        """Let it end with this as well."""
        if not self.last:
            self.finish, self.last = finish, list(last)
        else:
            pairs = zip(each(finish, self.tracked), each(self.finish, self.tracked), last, self.last, strict=True)
            self.last = [its if end >= best else had for end, best, its, had in pairs]
            self.finish = later_of(self.finish, finish)
        self.open = self.open or is_open


class _Reader:
    """Reads estimates off the outcomes."""

    def __init__(self, picture: Picture, outcomes: Outcomes, chains: Chains, own: Sequence[int]) -> None:
        self.picture, self.outcomes, self.chains, self.own = picture, outcomes, chains, own

    def read(self) -> Forecast:
        picture, outcomes = self.picture, self.outcomes
        whole, stages = self._targets()
        shares, chain = critical(outcomes, whole.last)
        run = self._estimate(whole, picture.due_at)
        on_chain = set(chain)
        processes = {
            picture.works[place].id: self._process(place, shares[place], place in on_chain)
            for place in self.own
            if not picture.works[place].state.closed
        }
        return Forecast(
            run,
            self._otherwise(run),
            {
                stage.id: self._estimate(stages[stage.id], stage.due_at)
                for stage in picture.stages
                if stages[stage.id].open
            },
            processes,
            tuple(picture.works[place].id for place in chain),
            outcomes.size,
        )

    def _targets(self) -> tuple[_Target, dict[UUID, _Target]]:
        """The run and its stages, each with all that is below it."""
        tracked = self.outcomes.tracked
        whole = _Target(tracked)
        stages = {stage.id: _Target(tracked) for stage in self.picture.stages}
        for place in self.own:
            work = self.picture.works[place]
            target = stages[work.stage_id] if work.stage_id is not None else whole
            target.add(self.outcomes.finish[place], [place] * tracked, is_open=not work.state.closed)
        for stage in self._deepest_first():
            target, above = stages[stage.id], stages[stage.parent_id] if stage.parent_id is not None else whole
            if target.last:
                above.add(target.finish, target.last, is_open=target.open)
        return whole, stages

    def _deepest_first(self) -> list[StageOfRun]:
        below: defaultdict[UUID | None, list[StageOfRun]] = defaultdict(list)
        for stage in self.picture.stages:
            below[stage.parent_id].append(stage)
        order = list(below[None])
        for stage in order:  # the list grows while it is walked
            order.extend(below[stage.id])
        return order[::-1]

    def _process(self, place: int, share: float, on_chain: bool) -> ProcessEstimate:
        work, outcomes = self.picture.works[place], self.outcomes
        target = _Target(outcomes.tracked, outcomes.finish[place], [place] * outcomes.tracked, True)
        return ProcessEstimate(
            self._estimate(target, work.due_at),
            self._start(place, work),
            share,
            on_chain,
            work.habit.source,
            work.habit.observations,
        )

    def _start(self, place: int, work: Work) -> datetime | None:
        if work.started_at is not None:
            return work.started_at
        curves = work.habit.curves
        whole, own = curves.get(Measure.READY_TO_DONE), curves.get(Measure.START_TO_DONE)
        pickup = max(0.0, whole.median - own.median) if whole and own else 0.0
        ready = self.outcomes.ready[place]
        middle = sorted(ready)[len(ready) // 2] if isinstance(ready, list) else ready
        return self._instant(max(0.0, middle + pickup))

    def _estimate(self, target: _Target, due_at: datetime | None) -> Estimate:
        rising = sorted(target.finish) if isinstance(target.finish, list) else [target.finish]
        count = len(rising)
        p50, p90 = self._instant(rising[count // 2]), self._instant(rising[min(count - 1, int(0.9 * count))])
        if due_at is None:
            return Estimate(p50, p90)
        due = (due_at - self.picture.now).total_seconds()
        miss = 1.0 if due <= 0.0 else (count - bisect_right(rising, due)) / count
        if miss < LEAST_TO_EXPLAIN:
            return Estimate(p50, p90, due_at, miss)
        blame = blame_for(self.chains, target.last, target.finish, due, self.outcomes.tracked)
        if blame is None:
            return Estimate(p50, p90, due_at, miss, Reason.TIGHT)
        reason, late = self._reason(blame)
        return Estimate(p50, p90, due_at, miss, reason, self.picture.works[blame.place].id, late)

    def _reason(self, blame: Blame) -> tuple[Reason, timedelta | None]:
        """What the driver does, and by how much it is late: what has been seen, or else what is to be feared."""
        work = self.picture.works[blame.place]
        usual = at(self.outcomes.usual[blame.place], 0)
        late = None if blame.late == inf else timedelta(seconds=round(blame.late))
        match work.state:
            case ProcessState.ON_HOLD:
                return Reason.HELD, late
            case ProcessState.FAILED:
                return Reason.FAILED, late
            case _ if late is None:
                return Reason.IMPOSSIBLE, None
            case ProcessState.PLANNED | ProcessState.BLOCKED:
                return Reason.LONG, late
        if work.state.closed:
            return Reason.LATE, late
        if usual >= 0.0:  # its usual end has not come yet
            return Reason.LONG, late
        seen = timedelta(seconds=round(-usual))
        return (Reason.WAITS if work.state is ProcessState.WAITING_EXTERNAL else Reason.LATE), seen

    def _otherwise(self, run: Estimate) -> float | None:
        if run.driver is None or run.due_at is None:
            return None
        changed = finish_without(self.picture, self.outcomes, self.outcomes.places[run.driver])
        finish: Moments = -inf
        for place in self.own:
            finish = later_of(finish, changed.get(place, self.outcomes.finish[place]))
        due = (run.due_at - self.picture.now).total_seconds()
        moments = finish if isinstance(finish, list) else [finish]
        return sum(moment > due for moment in moments) / len(moments)

    def _instant(self, seconds: float) -> datetime | None:
        return None if seconds == inf else self.picture.now + timedelta(seconds=round(seconds))
