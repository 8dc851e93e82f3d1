"""How long something takes, as a distribution: from a few quantiles to any quantile, given what has passed already.

Between the quantiles it is a straight line. Beyond the last one it is a Pareto tail, because work that is overdue
tends to stay overdue: the longer it has been going on, the longer it is expected to go on.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

PROBABILITIES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
LONGEST_STEPS = (0.25, 0.5, 0.75, 1.0)
FLATTEST_TAIL, STEEPEST_TAIL = 2.0, 8.0
SHORTEST_SPAN = 30.0  # seconds; so that work that always took the same is not predicted to the second
# Multiples of the expected minutes where there is no history at all.
GUESS = (0.3, 0.5, 0.7, 1.0, 1.5, 2.3, 3.0, 4.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """Rising seconds at rising probabilities.

    `origin`: from where the tail is stretched; `working`: the seconds are of working time.
    """

    probabilities: tuple[float, ...]
    seconds: tuple[float, ...]
    tail: float
    origin: float = 0.0
    working: bool = False
    observations: int = 0

    def share_below(self, seconds: float) -> float:
        """The probability of at most this."""
        at = bisect_left(self.seconds, seconds)
        if at == 0:
            return 0.0
        if at == len(self.seconds):
            return 1.0 - self._left_beyond(seconds)
        low, high = self.seconds[at - 1], self.seconds[at]
        below, above = self.probabilities[at - 1], self.probabilities[at]
        return above if high <= low else below + (above - below) * (seconds - low) / (high - low)

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    @property
    def spread(self) -> float:
        """From the tenth to the ninetieth percentile."""
        return self.quantile(0.9) - self.quantile(0.1)

    def quantile(self, probability: float) -> float:
        """The seconds that are not exceeded with this probability (below one)."""
        at = bisect_left(self.probabilities, probability)
        if at == len(self.probabilities):
            return self._beyond(1.0 - probability)
        if at == 0:
            return self.seconds[0]
        below, above = self.probabilities[at - 1], self.probabilities[at]
        low, high = self.seconds[at - 1], self.seconds[at]
        return low + (high - low) * (probability - below) / (above - below)

    def points(self, size: int, *, after: float = 0.0) -> list[float]:
        """`size` equally likely values in rising order, of those that exceed `after`."""
        left = 1.0 if after <= self.seconds[0] else self._left(after)
        step = left / size
        first = 1.0 - left + step / 2
        values: list[float] = []
        for at in range(1, len(self.seconds)):
            # The points of this segment, without asking for each in which segment it is.
            upto = min(size, ceil((self.probabilities[at] - first) / step)) if step > 0 else 0
            count = upto - len(values)
            if count > 0:
                slope = (self.seconds[at] - self.seconds[at - 1]) / (
                    self.probabilities[at] - self.probabilities[at - 1]
                )
                begin = self.seconds[at - 1] + slope * (first + step * len(values) - self.probabilities[at - 1])
                values += [begin + slope * step * number for number in range(count)]
        values += [self._beyond(step * (size - number - 0.5)) for number in range(len(values), size)]
        return values if after <= self.seconds[0] else [max(value, after) for value in values]

    def _left(self, seconds: float) -> float:
        """The probability of more than this; precise also where next to nothing is left."""
        if seconds >= self.seconds[-1]:
            return self._left_beyond(seconds)
        return 1.0 - self.share_below(seconds)

    def _left_beyond(self, seconds: float) -> float:
        ratio = (self.seconds[-1] - self.origin) / max(seconds - self.origin, 1e-9)
        return float((1.0 - self.probabilities[-1]) * min(1.0, ratio) ** self.tail)

    def _beyond(self, left: float) -> float:
        stretched = ((1.0 - self.probabilities[-1]) / max(left, 1e-12)) ** (1.0 / self.tail)
        return float(self.origin + (self.seconds[-1] - self.origin) * max(1.0, stretched))


def curve_of(
    lowest: float,
    quantiles: Sequence[float],
    highest: float,
    *,
    observations: int,
    working: bool = False,
    of_day: bool = False,
) -> Curve:
    """The curve of what was observed; `quantiles` belong to `PROBABILITIES`.

    `of_day`: seconds since midnight, so that lateness counts from the earliest and not from midnight.
    """
    # A quantile of n observations stands for this part of all that may happen: beyond the longest there is more.
    probabilities = [0.0, *((p * (observations - 1) + 1) / (observations + 1) for p in PROBABILITIES)]
    seconds = [lowest, *quantiles]
    origin = lowest if of_day else 0.0
    for at in range(1, len(seconds)):  # what always took the same still varies by a little
        seconds[at] = max(seconds[at], seconds[at - 1] + SHORTEST_SPAN / len(seconds))
    tail = _tail((probabilities[-2], seconds[-2] - origin), (probabilities[-1], seconds[-1] - origin))
    longest = observations / (observations + 1.0)
    if longest > probabilities[-1] and highest > seconds[-1]:
        near, far = (probabilities[-1], seconds[-1] - origin), (longest, highest - origin)
        tail = _tail((probabilities[-2], seconds[-2] - origin), far)
        for share in LONGEST_STEPS:  # outliers thin out towards the longest
            probabilities.append(1.0 - (1.0 - near[0]) * ((1.0 - far[0]) / (1.0 - near[0])) ** share)
            seconds.append(origin + near[1] * (far[1] / near[1]) ** share)
    return Curve(tuple(probabilities), tuple(seconds), tail, origin, working, observations)


def guessed_curve(seconds: float) -> Curve:
    """The curve of work of which nothing is known but how long it is expected to take."""
    usual = max(seconds, SHORTEST_SPAN)
    probabilities = (0.0, *PROBABILITIES, 0.98)
    values = tuple(usual * share for share in GUESS)
    return Curve(probabilities, values, _tail((0.9, values[-3]), (0.98, values[-1])))


def _tail(near: tuple[float, float], far: tuple[float, float]) -> float:
    """The exponent of the tail that leads through two (probability, seconds)."""
    if near[1] <= 0 or far[1] <= near[1]:
        return STEEPEST_TAIL
    exponent = log((1.0 - near[0]) / (1.0 - far[0])) / log(far[1] / near[1])
    return min(STEEPEST_TAIL, max(FLATTEST_TAIL, exponent))
