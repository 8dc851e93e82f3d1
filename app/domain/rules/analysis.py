"""What a decision table leaves open and what it says twice: rows never reached, rows that meet, cases without a row.

Exact for cells that compare with values; a row with a formula is left out of what it might cover, so that nothing is
claimed that may be false.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.core.findings import Severity
from app.domain.rules.cells import CellError, read_test
from app.domain.rules.compiled import column_field
from app.domain.rules.definitions import Column, HitPolicy, RuleContent
from app.domain.rules.findings import Finding
from app.domain.rules.regions import Box, Budget, Domain, TooManyParts, meet, uncovered

MOST_ROWS = 400
MOST_MEETINGS = 12
_ABS = re.compile(r"abs\(\s*\w+\s*\)")


@dataclass(frozen=True, slots=True)
class Space:
    """The table as boxes. A row of which a cell is a formula has None: it covers nothing for certain."""

    columns: tuple[Column, ...]
    domains: tuple[Domain, ...]
    boxes: tuple[Box | None, ...]  # what a row covers for certain
    bounds: tuple[Box, ...]  # what a row covers at most
    certain: bool  # no two columns look at the same fact

    def words(self, box: Box, content: RuleContent) -> str:
        """A box in words: only the columns that say something."""
        said = [
            f"{content.column_title(column)} is {domain.words(region)}"
            for column, domain, region in zip(self.columns, self.domains, box, strict=True)
            if region != domain.whole()
        ]
        return " and ".join(said) or "anything"


def space_of(content: RuleContent) -> Space | None:
    """The table as boxes; None where a cell cannot be read, which the linter reports by itself."""
    known = tuple(fact.name for fact in content.inputs)
    domains = tuple(_domain(content, column) for column in content.columns)
    boxes: list[Box | None] = []
    bounds: list[Box] = []
    for row in content.rows:
        try:
            tests = [read_test(row.tests.get(c.id, ""), column_field(content, c), known) for c in content.columns]
        except CellError:
            return None
        regions = [domain.region(test) for domain, test in zip(domains, tests, strict=True)]
        known_regions = tuple(region for region in regions if region is not None)
        boxes.append(known_regions if len(known_regions) == len(regions) else None)
        bounds.append(
            tuple(domain.whole() if region is None else region for domain, region in zip(domains, regions, strict=True))
        )
    facts = [set(re.findall(r"[a-z_]\w*", column.expression)) & set(known) for column in content.columns]
    certain = sum(len(names) for names in facts) == len(set().union(*facts))
    return Space(content.columns, domains, tuple(boxes), tuple(bounds), certain)


def _domain(content: RuleContent, column: Column) -> Domain:
    tested = column_field(content, column)
    named = content.input(column.expression) is not None
    positive = _ABS.fullmatch(column.expression) is not None
    optional = not tested.required if named else _may_be_missing(content, column)
    return Domain(tested.type, tested.options, optional=optional, not_negative=positive)


def _may_be_missing(content: RuleContent, column: Column) -> bool:
    names = set(re.findall(r"[a-z_]\w*", column.expression))
    return any(fact.name in names and not fact.required for fact in content.inputs)


def analyse(content: RuleContent) -> list[Finding]:
    """Rows that never answer (errors), cases without a row (warnings), rows that meet (notes)."""
    if not content.rows or not content.columns:
        return []
    if len(content.rows) > MOST_ROWS:
        message = f"A table of more than {MOST_ROWS} rows is not searched for gaps and overlaps."
        return [Finding(Severity.INFO, "not_searched", message)]
    space = space_of(content)
    if space is None:
        return []
    found = list(_empty_rows(space, content))
    parts: list[tuple[str, Iterator[Finding]]] = [
        ("gaps", _gaps(space, content)),
        ("rows that are never reached", _unreachable(space, content)),
    ]
    parts += [("rows that meet", _meetings(space, content))] if content.hit_policy is HitPolicy.FIRST else []
    for what, findings in parts:
        try:
            found += findings
        except TooManyParts:
            said = f"The table is too involved to be searched for all {what}."
            found.append(Finding(Severity.INFO, "not_searched", said))
    return found


def _empty_rows(space: Space, content: RuleContent) -> Iterator[Finding]:
    for number, (row, bound) in enumerate(zip(content.rows, space.bounds, strict=True), 1):
        for column, region in zip(space.columns, bound, strict=True):
            if region.is_empty:
                message = f"Row {number} can never fit: no value of {content.column_title(column)} does."
                yield Finding(Severity.ERROR, "impossible", message, "Correct the cell.", row.id, column.id)


def _unreachable(space: Space, content: RuleContent) -> Iterator[Finding]:
    """For `first`: everything that would fit the row fits a row above it. For `collect`: it repeats another row."""
    collects, budget = content.hit_policy is HitPolicy.COLLECT, Budget()
    for number, (row, bound) in enumerate(zip(content.rows, space.bounds, strict=True)):
        if any(region.is_empty for region in bound):
            continue
        above = [(place, box) for place, box in enumerate(space.boxes[:number], 1) if box is not None]
        if collects:
            for place, box in above:
                if box == space.boxes[number] and content.rows[place - 1].answers == row.answers:
                    message = f"Row {number + 1} repeats row {place}."
                    yield Finding(Severity.WARNING, "repeated", message, "Remove one of them.", row.id)
                    break
            continue
        budget.spend(len(above) // 16)
        touching = [(place, box) for place, box in above if meet(bound, box) is not None]
        if uncovered(bound, [box for _, box in touching], budget):
            continue
        taking = [place for place, _ in touching]
        rows = f"row {taking[0]}" if len(taking) == 1 else f"rows {', '.join(map(str, taking[:6]))}"
        take = "takes" if len(taking) == 1 else "take"
        message = f"Row {number + 1} is never reached: {rows} above it {take} all of it."
        yield Finding(Severity.ERROR, "unreachable", message, "Move it up, narrow those above, or remove it.", row.id)


def _gaps(space: Space, content: RuleContent) -> Iterator[Finding]:
    whole = tuple(domain.whole() for domain in space.domains)
    if any(region.is_empty for region in whole):
        return
    gaps = uncovered(whole, [box for box in space.boxes if box is not None], Budget())
    hidden = any(box is None for box in space.boxes) or not space.certain
    for gap in _widest(gaps)[:3]:
        said = "Perhaps no row fits" if hidden else "No row fits"
        message = f"{said} when {space.words(gap, content)}."
        satisfy = "Add a row for it, or a last row with empty conditions for all the rest."
        yield Finding(Severity.INFO if hidden else Severity.WARNING, "gap", message, satisfy)


def _widest(gaps: Sequence[Box]) -> list[Box]:
    """Those with the fewest limits first, which say the most."""
    return sorted(gaps, key=lambda box: sum(len(region.spans) + len(region.members) for region in box))


def _meetings(space: Space, content: RuleContent) -> Iterator[Finding]:
    """Rows that fit the same case and answer differently, where neither is a special case of the other."""
    found, budget = 0, Budget()
    for second, lower in enumerate(space.boxes):
        for first, upper in enumerate(space.boxes[:second]):
            if lower is None or upper is None or content.rows[first].answers == content.rows[second].answers:
                continue
            budget.spend(1)
            common = meet(upper, lower)
            if common is None or common in (upper, lower):
                continue
            message = (
                f"Rows {first + 1} and {second + 1} both fit when {space.words(common, content)}; "
                f"row {first + 1} answers, because it is the first."
            )
            yield Finding(Severity.INFO, "overlap", message, "", content.rows[second].id)
            found += 1
            if found == MOST_MEETINGS:
                return
