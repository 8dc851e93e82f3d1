"""Which processes decide when a run ends, and which one makes a deadline fail.

In each tracked outcome the chain from a process back over what it waited for is what decided its end. The driver of an
outcome is the process on that chain that took longest beyond its usual time; the driver of a missed deadline is the one
that took longest over the outcomes in which it was missed.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from app.domain.prediction.picture import Gate, Picture
from app.domain.prediction.simulation import NOBODY, Moments, Outcomes, each, later_of, plus

SHORTEST_LATENESS = 60.0
# A driver must explain at least this part of what the deadline is missed by; else the plan itself is too tight.
LEAST_SHARE = 0.25

Chains = list[tuple[Sequence[int], Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Blame:
    """`late`: seconds beyond the usual, on average over the outcomes in which the deadline was missed."""

    place: int
    late: float


def worst_on_chains(picture: Picture, outcomes: Outcomes) -> Chains:
    """For each process and tracked outcome the process on its chain that took longest beyond its usual time."""
    tracked = outcomes.tracked
    nobody: tuple[Sequence[int], Sequence[float]] = ([NOBODY] * tracked, [0.0] * tracked)
    chains: Chains = [nobody] * len(picture.works)
    for place in outcomes.order:
        binding, finish, usual = outcomes.binding[place], outcomes.finish[place], outcomes.usual[place]
        ready = outcomes.ready[place]
        if isinstance(binding, int):
            before, so_far = chains[binding] if binding != NOBODY else nobody
        else:
            before = [chains[b][0][n] if b != NOBODY else NOBODY for n, b in enumerate(binding)]
            so_far = [chains[b][1][n] if b != NOBODY else 0.0 for n, b in enumerate(binding)]
        if isinstance(finish, list) or isinstance(usual, list):
            own = [
                ends - usually if begins != inf else 0.0  # what never begins is not to blame for it
                for ends, usually, begins in zip(
                    each(finish, tracked), each(usual, tracked), each(ready, tracked), strict=True
                )
            ]
        else:
            excess = finish - usual if ready != inf else 0.0
            if excess <= 0.0:
                chains[place] = (before, so_far)
                continue
            own = [excess] * tracked
        chains[place] = (
            [place if mine > theirs else b for mine, theirs, b in zip(own, so_far, before, strict=True)],
            [max(theirs, mine) for mine, theirs in zip(own, so_far, strict=True)],
        )
    return chains


def blame_for(chains: Chains, last: Sequence[int], finish: Moments, due: float, tracked: int) -> Blame | None:
    """The driver of a deadline. `last`: of each tracked outcome the process with which the target ends.

    None: it is missed although everything takes about its usual time.
    """
    ends = each(finish, tracked)
    missed = [n for n, end in enumerate(ends) if end > due]
    lateness: defaultdict[int, float] = defaultdict(float)
    for n in missed:
        drivers, excess = chains[last[n]]
        if drivers[n] != NOBODY:
            lateness[drivers[n]] += excess[n]
    if not lateness:
        return None
    place = max(lateness, key=lambda driver: lateness[driver])
    late = lateness[place] / len(missed)
    over = sum(ends[n] for n in missed) / len(missed) - due
    if late != inf and late < max(SHORTEST_LATENESS, LEAST_SHARE * over):
        return None
    counted = [n for n in missed if chains[last[n]][0][n] == place]
    return Blame(place, lateness[place] / len(counted))


def critical(outcomes: Outcomes, last: Sequence[int]) -> tuple[list[float], list[int]]:
    """Of each process the share of outcomes in which it decided the end of the run; and the most frequent chain."""
    tracked, binding = outcomes.tracked, outcomes.binding
    on_chain: list[int] = [0] * len(binding)
    before: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for n in range(tracked):
        place = last[n]
        while place != NOBODY:
            on_chain[place] += 1
            bound = binding[place]
            previous = bound if isinstance(bound, int) else bound[n]
            before[place][previous] += 1
            place = previous
    chain = [Counter(last).most_common(1)[0][0]] if last else []
    while chain and chain[-1] != NOBODY:
        chain.append(before[chain[-1]].most_common(1)[0][0])
    return [count / tracked for count in on_chain], [place for place in reversed(chain) if place != NOBODY]


def finish_without(picture: Picture, outcomes: Outcomes, driver: int) -> dict[int, Moments]:
    """When the driver and what depends on it would end if the driver took no longer than usual, other things equal."""
    finish, usual = outcomes.finish[driver], outcomes.usual[driver]
    changed: dict[int, Moments] = {driver: _earlier_of(finish, usual)}
    begins: dict[int, Moments] = {}
    for place in outcomes.order[outcomes.order.index(driver) + 1 :]:
        work, links = picture.works[place], outcomes.incoming[place]
        if not any(link.predecessor and outcomes.places.get(link.predecessor) in changed for link in links):
            continue
        starts: Moments = (work.earliest_start - picture.now).total_seconds() if work.earliest_start else -inf
        ends: Moments = -inf
        for link in links:
            before = outcomes.places.get(link.predecessor) if link.predecessor else None
            if before is None or link.hopeless or not (link.hard or not link.satisfied):
                continue
            moment = (
                changed.get(before, outcomes.finish[before])
                if link.gate in (Gate.FS, Gate.FF)
                else begins.get(before, outcomes.ready[before])
            )
            moment = plus(moment, link.lag) if link.lag else moment
            if link.gate in (Gate.FS, Gate.SS):
                starts = later_of(starts, moment)
            else:
                ends = later_of(ends, moment)
        was = outcomes.ready[place]
        # It cannot begin later than it did or would, and what it took from then on stays the same.
        begin = _earlier_of(starts, was) if starts != -inf else was
        begins[place] = begin
        shifted = plus(begin, plus(outcomes.finish[place], _negative(was)))
        changed[place] = later_of(shifted, ends)
    return changed


def _earlier_of(one: Moments, other: Moments) -> Moments:
    return _negative(later_of(_negative(one), _negative(other)))


def _negative(moments: Moments) -> Moments:
    return [-each for each in moments] if isinstance(moments, list) else -moments
