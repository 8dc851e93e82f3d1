"""Sets of values that cells fit, as exact regions: cut, joined and taken from one another. Pure geometry of a table.

A region of an ordered type is a union of intervals between cuts; a cut lies just before (value, 0) or just after
(value, 1) a value, so that open and closed ends need no cases of their own. Other types are sets or what is outside a
set. A row of a table is a box: one region a column.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from app.domain.rules.cells import Anything, Between, Compare, Missing, OneOf, Test
from app.domain.rules.values import ORDERED, ValueType

Cut = tuple[Decimal, int]
LOWEST: Cut = (Decimal("-Infinity"), 0)
HIGHEST: Cut = (Decimal("Infinity"), 0)


@dataclass(frozen=True, slots=True)
class Region:
    """`spans` for ordered types; `members`, or all but them when `outside`, for the others; `missing`: no value."""

    spans: tuple[tuple[Cut, Cut], ...] = ()
    members: frozenset[Any] = frozenset()
    outside: bool = False
    missing: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.spans or self.members or self.outside or self.missing)

    def minus(self, other: "Region") -> "Region":
        if self is other:
            return NOWHERE
        missing = self.missing and not other.missing
        return Region(_spans_minus(self.spans, other.spans), *_members_minus(self, other), missing)

    def meet(self, other: "Region") -> "Region":
        if self is other:
            return self
        missing = self.missing and other.missing
        return Region(_spans_meet(self.spans, other.spans), *_members_meet(self, other), missing)


NOWHERE = Region()
Box = tuple[Region, ...]


def _spans_meet(a: Sequence[tuple[Cut, Cut]], b: Sequence[tuple[Cut, Cut]]) -> tuple[tuple[Cut, Cut], ...]:
    met = ((max(low, from_), min(high, to)) for low, high in a for from_, to in b)
    return tuple(sorted((low, high) for low, high in met if low < high))


def _spans_minus(a: Sequence[tuple[Cut, Cut]], b: Sequence[tuple[Cut, Cut]]) -> tuple[tuple[Cut, Cut], ...]:
    left = list(a)
    for from_, to in b:
        left = [
            part for low, high in left for part in ((low, min(high, from_)), (max(low, to), high)) if part[0] < part[1]
        ]
    return tuple(sorted(left))


def _members_minus(a: Region, b: Region) -> tuple[frozenset[Any], bool]:
    if a.outside:
        return (b.members - a.members, False) if b.outside else (a.members | b.members, True)
    return (a.members & b.members, False) if b.outside else (a.members - b.members, False)


def _members_meet(a: Region, b: Region) -> tuple[frozenset[Any], bool]:
    if a.outside and b.outside:
        return a.members | b.members, True
    if a.outside:
        return b.members - a.members, False
    return (a.members - b.members if b.outside else a.members & b.members), False


def meet(a: Box, b: Box) -> Box | None:
    """Where both boxes are; None where nowhere."""
    met: list[Region] = []
    for one, other in zip(a, b, strict=True):
        common = one.meet(other)
        if common.is_empty:
            return None
        met.append(common)
    return tuple(met)


def minus(a: Box, b: Box) -> Iterator[Box]:
    """What is left of `a` outside `b`, as boxes that do not touch."""
    common = meet(a, b)
    if common is None:
        yield a
        return
    for place, (one, other) in enumerate(zip(a, b, strict=True)):
        outside = one.minus(other)
        if not outside.is_empty:
            yield (*common[:place], outside, *a[place + 1 :])


class TooManyParts(Exception):
    """The table is too involved to be looked through; nothing is said about it then."""


@dataclass(slots=True)
class Budget:
    """How many boxes may be cut in all, so that looking through a table takes less than a second."""

    left: int = 10_000

    def spend(self, boxes: int) -> None:
        """Raises TooManyParts."""
        self.left -= boxes
        if self.left < 0:
            raise TooManyParts


def uncovered(box: Box, covers: Sequence[Box], budget: Budget) -> list[Box]:
    """What of `box` is in none of `covers`. Raises TooManyParts beyond the budget."""
    left = [box]
    for cover in covers:
        budget.spend(len(left))
        left = [part for piece in left for part in minus(piece, cover)]
        if not left:
            break
    return left


# -- from cells --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Domain:
    """All values a column can have."""

    type: ValueType
    options: tuple[str, ...] = ()
    optional: bool = False
    not_negative: bool = False  # abs(...)

    def whole(self) -> Region:
        return _whole(self)

    def region(self, test: Test) -> Region | None:
        """The values that fit the cell; None where a formula hides them."""
        whole = self.whole()
        if self.type is ValueType.TEXTS and isinstance(test, OneOf):
            return None  # a list can hold this and that
        match test:
            case Anything():
                return whole
            case Missing(negated):
                given = Region(whole.spans, whole.members, whole.outside, missing=False)
                return given if negated else Region(missing=whole.missing)
            case OneOf(values, negated):
                listed = self._of_values(values)
                return whole.minus(listed) if negated else whole.meet(listed)
            case Compare(operator, value):
                cut = self._cut(value, after=operator in (">", "<="))
                span = (cut, HIGHEST) if operator in (">", ">=") else (LOWEST, cut)
                return whole.meet(Region(spans=(span,)))
            case Between(low, high, low_closed, high_closed):
                span = (self._cut(low, after=not low_closed), self._cut(high, after=high_closed))
                return whole.meet(Region(spans=(span,) if span[0] < span[1] else ()))
        return None

    def _of_values(self, values: Sequence[Any]) -> Region:
        if self.type not in ORDERED:
            return Region(members=frozenset(values))
        return Region(spans=tuple(sorted((self._cut(v, after=False), self._cut(v, after=True)) for v in values)))

    def _cut(self, value: Any, *, after: bool) -> Cut:
        number = Decimal(value.toordinal()) if isinstance(value, date) else Decimal(value)
        if self.type is ValueType.DECIMAL:
            return number, int(after)
        return (number + 1, 0) if after else (number, 0)  # whole numbers: just after 5 is just before 6

    def words(self, region: Region) -> str:
        """A region in words, for a finding."""
        parts = [self._span_words(*span) for span in region.spans[:2]]
        if region.outside:
            named = ", ".join(sorted(map(str, region.members))[:4])
            parts.append(f"something other than {named}" if named else "anything")
        elif region.members:
            parts += sorted("yes" if m is True else "no" if m is False else str(m) for m in region.members)[:4]
        if region.missing:
            parts.append("missing")
        return " or ".join(parts)

    def _span_words(self, low: Cut, high: Cut) -> str:
        if (low[0], high[0]) == (LOWEST[0], HIGHEST[0]):
            return "anything"
        if self.type is not ValueType.DECIMAL and low[0] + 1 == high[0]:
            return self._shown(low[0])
        if low[0] == high[0]:
            return self._shown(low[0])
        start = "" if low == LOWEST else f"{'over' if low[1] else 'from'} {self._shown(low[0])}"
        whole = self.type is not ValueType.DECIMAL
        end = "" if high == HIGHEST else f"{'up to' if high[1] else 'below'} {self._shown(high[0])}"
        if whole and high != HIGHEST:
            end = f"up to {self._shown(high[0] - 1)}"
        return f"{start} {end}".strip()

    def _shown(self, number: Decimal) -> str:
        return date.fromordinal(int(number)).isoformat() if self.type is ValueType.DATE else f"{number.normalize():f}"


@lru_cache(maxsize=512)
def _whole(domain: Domain) -> Region:
    """One and the same region for each domain, which is then known without a comparison."""
    if domain.type in ORDERED:
        lowest = (Decimal(0), 0) if domain.not_negative else LOWEST
        return Region(spans=((lowest, HIGHEST),), missing=domain.optional)
    if domain.type is ValueType.BOOLEAN:
        return Region(members=frozenset({True, False}), missing=domain.optional)
    if domain.type is ValueType.CHOICE:
        return Region(members=frozenset(domain.options), missing=domain.optional)
    return Region(outside=True, missing=domain.optional)
