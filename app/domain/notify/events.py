"""What the handlers of this feature tell each other."""

from dataclasses import dataclass

from app.core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticesWanted(Event):
    """At least one notice has been asked for in this transaction; all of them are given together."""
