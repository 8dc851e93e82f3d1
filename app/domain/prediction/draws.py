"""Random numbers that are the same each time: shuffled orders of equally likely values, chosen by seed and process.

The same process draws the same numbers in every forecast of its run, so that a forecast changes with what happened and
never by chance.
"""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from uuid import UUID
from zlib import crc32

ORDERS = 61


class Draws:
    """`size` draws of each process; `shuffled` puts rising values in the order that belongs to a process."""

    def __init__(self, seed: UUID, size: int) -> None:
        self.size = size
        self._salt = crc32(seed.bytes)
        self._orders = _orders(size)

    def shuffled(self, rising: Sequence[float], id_: UUID) -> list[float]:
        """The values in this process's order."""
        number = crc32(id_.bytes, self._salt)
        values = self._orders[number % ORDERS](rising)
        turn = number // ORDERS % self.size
        return [*values[turn:], *values[:turn]]


@lru_cache(maxsize=8)
def _orders(size: int) -> tuple[Callable[[Sequence[float]], tuple[float, ...]], ...]:
    dice = random.Random(size)  # noqa: S311 - no secret
    return tuple(itemgetter(*dice.sample(range(size), size)) for _ in range(ORDERS))
