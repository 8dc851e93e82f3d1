"""Token buckets per address, in this process: the first brake on guessing. The lock-out is the second."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import islice
from math import ceil
from weakref import WeakKeyDictionary

from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.errors import RateLimited

MAX_KEYS = 50_000


def address_key(ip: str | None) -> str:
    """Return the key of an address; of IPv6 the network, since one host has all the addresses in it."""
    try:
        address = ip_address(ip or "")
    except ValueError:
        return ip or ""
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


@dataclass
class Throttle:
    """Up to `capacity` tries at once for each key, then one every `1 / per_second` seconds."""

    capacity: int
    per_second: float
    clock: Callable[[], float] = time.monotonic
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, key: str) -> None:
        """Spend one try.

        Raises:
            RateLimited: none is left; `context["retry_after"]` says in how many seconds there is one.
        """
        now = self.clock()
        level = self._level(key, now)
        if level < 1:
            seconds = max(1, ceil((1 - level) / self.per_second))
            raise RateLimited(
                f"Too many attempts from this address. Try again in {seconds} seconds.",
                context={"retry_after": seconds},
            )
        self._forget_full(now)
        self._levels[key] = (level - 1, now)

    def give_back(self, key: str) -> None:
        """Return a try that turned out to be rightful: many people behind one address must not block each other."""
        now = self.clock()
        self._levels[key] = (min(self._level(key, now) + 1, self.capacity), now)

    def _level(self, key: str, now: float) -> float:
        level, at = self._levels.get(key, (float(self.capacity), now))
        return min(self.capacity, level + (now - at) * self.per_second)

    def _forget_full(self, now: float) -> None:
        if len(self._levels) < MAX_KEYS:
            return
        self._levels = {key: item for key, item in self._levels.items() if self._level(key, now) < self.capacity}
        if len(self._levels) >= MAX_KEYS:  # all of them busy: the tenth that was seen first goes
            for key in list(islice(self._levels, MAX_KEYS // 10)):
                del self._levels[key]


@dataclass(frozen=True)
class Throttles:
    """What one process brakes, each by the address that the request came from."""

    sign_in: Throttle = field(default_factory=lambda: Throttle(capacity=30, per_second=0.5))
    access_token: Throttle = field(default_factory=lambda: Throttle(capacity=60, per_second=1))


_BY_ENGINE: WeakKeyDictionary[AsyncEngine, Throttles] = WeakKeyDictionary()


def throttles_of(engine: AsyncEngine) -> Throttles:
    """Return the throttles of the platform on this engine; they end with it."""
    if engine not in _BY_ENGINE:
        _BY_ENGINE[engine] = Throttles()
    return _BY_ENGINE[engine]
