"""What was touched in the last minutes, so that a page which connects late learns what happened since it was made."""

import time
from collections import OrderedDict
from collections.abc import Callable

from app.core.listen import EVERYTHING

KEEP_SECONDS = 600.0
MOST_TOPICS = 50_000


class Touched:
    """Hears the live channel and remembers when each topic was touched last."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin to remember; `clock` gives seconds since 1970."""
        self._clock = clock
        self._known_from = clock()
        self._last: OrderedDict[str, float] = OrderedDict()

    def hear(self, payload: str) -> None:
        """Take in one message of the live channel: topics, separated by commas."""
        now = self._clock()
        for topic in payload.split(","):
            self._last[topic] = now
            self._last.move_to_end(topic)
        while self._last:
            topic, at = next(iter(self._last.items()))
            if len(self._last) <= MOST_TOPICS and at >= now - KEEP_SECONDS:
                break
            del self._last[topic]
            self._known_from = max(self._known_from, at)

    def since(self, moment: float) -> set[str]:
        """The topics touched at `moment` or later; only `EVERYTHING` if that is longer ago than is remembered."""
        if moment <= self._known_from:
            return {EVERYTHING}
        found = set()
        for topic, at in reversed(self._last.items()):
            if at < moment:
                break
            found.add(topic)
        return found
