"""Two versions of a rule, compared: pure. Rows and columns are known by their ids, so a moved row is moved, not new."""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.rules.definitions import Row, RuleContent, RuleField


class Change(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class CellChange:
    title: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Difference:
    """`what` is row, condition, fact, answer, formula or setting; `place` its number or name."""

    what: str
    change: Change
    place: str
    cells: tuple[CellChange, ...] = ()


def compare(before: RuleContent, after: RuleContent) -> list[Difference]:
    """What was done to `before` to make `after`: the interface first, then the rows in the order of the table."""
    found: list[Difference] = []
    if before.hit_policy is not after.hit_policy:
        cell = CellChange("Hit policy", before.hit_policy, after.hit_policy)
        found.append(Difference("setting", Change.CHANGED, "Hit policy", (cell,)))
    found += _fields("fact", before.inputs, after.inputs)
    found += _fields("answer", before.outputs, after.outputs)
    found += _columns(before, after)
    found += _rows(before, after)
    for name in sorted({*before.formulas, *after.formulas}):
        old, new = before.formulas.get(name), after.formulas.get(name)
        if old != new:
            cell = CellChange(name, old or "", new or "")
            found.append(Difference("formula", _kind(old, new), name, (cell,)))
    return found


def _kind(old: object, new: object) -> Change:
    return Change.ADDED if old is None else Change.REMOVED if new is None else Change.CHANGED


def _fields(what: str, before: tuple[RuleField, ...], after: tuple[RuleField, ...]) -> list[Difference]:
    old, new = {f.name: f for f in before}, {f.name: f for f in after}
    found = []
    for name in dict.fromkeys([*old, *new]):
        one, other = old.get(name), new.get(name)
        if one == other:
            continue
        cells: tuple[CellChange, ...] = ()
        if one and other:
            pairs = (
                ("Label", one.label, other.label),
                ("Type", one.type, other.type),
                ("Options", ", ".join(one.options), ", ".join(other.options)),
                ("Needed", "yes" if one.required else "no", "yes" if other.required else "no"),
            )
            cells = tuple(CellChange(title, a, b) for title, a, b in pairs if a != b)
        found.append(Difference(what, _kind(one, other), name, cells))
    return found


def _columns(before: RuleContent, after: RuleContent) -> list[Difference]:
    old, new = {c.id: c for c in before.columns}, {c.id: c for c in after.columns}
    found = []
    for id_ in dict.fromkeys([*old, *new]):
        one, other = old.get(id_), new.get(id_)
        if one == other:
            continue
        shown = after.column_title(other) if other else before.column_title(one) if one else ""
        cells = (CellChange("Tests", one.expression, other.expression),) if one and other else ()
        found.append(Difference("condition", _kind(one, other), shown, cells))
    return found


def _rows(before: RuleContent, after: RuleContent) -> list[Difference]:
    old, new = {row.id: row for row in before.rows}, {row.id: row for row in after.rows}
    kept_before = [row.id for row in before.rows if row.id in new]
    still = _unmoved(kept_before, [row.id for row in after.rows if row.id in old])
    found = []
    for number, row in enumerate(after.rows, 1):
        earlier = old.get(row.id)
        if earlier is None:
            found.append(Difference("row", Change.ADDED, str(number), _row_cells(after, None, row)))
            continue
        cells = _row_cells(after, earlier, row, before)
        if cells:
            found.append(Difference("row", Change.CHANGED, str(number), cells))
        if row.id not in still:
            was = str(1 + next(place for place, other in enumerate(before.rows) if other.id == row.id))
            cell = CellChange("Place", was, str(number))
            found.append(Difference("row", Change.MOVED, str(number), (cell,)))
    for number, row in enumerate(before.rows, 1):
        if row.id not in new:
            found.append(Difference("row", Change.REMOVED, str(number), _row_cells(before, row, None)))
    return found


def _unmoved(before: list[str], after: list[str]) -> set[str]:
    """The longest run of rows that kept their order: the others are those that were moved."""
    places = {id_: place for place, id_ in enumerate(before)}
    best: list[list[str]] = []
    for id_ in after:  # patience sorting: best[n] is the run of n + 1 rows that ends the earliest
        length = sum(1 for run in best if places[run[-1]] < places[id_])
        run = [*(best[length - 1] if length else []), id_]
        if length == len(best):
            best.append(run)
        else:
            best[length] = run
    return set(best[-1]) if best else set()


def _row_cells(
    content: RuleContent, before: Row | None, after: Row | None, other: RuleContent | None = None
) -> tuple[CellChange, ...]:
    titles = {column.id: content.column_title(column) for column in content.columns}
    titles |= (
        {column.id: other.column_title(column) for column in other.columns if column.id not in titles} if other else {}
    )
    names = {output.name: output.title for output in content.outputs}
    if other is not None:
        names = {**{output.name: output.title for output in other.outputs}, **names}
    pairs = [
        (title, before.tests.get(id_, "") if before else "", after.tests.get(id_, "") if after else "")
        for id_, title in titles.items()
    ]
    pairs += [
        (title, before.answers.get(name, "") if before else "", after.answers.get(name, "") if after else "")
        for name, title in names.items()
    ]
    pairs.append(("Note", before.note if before else "", after.note if after else ""))
    return tuple(CellChange(title, old, new) for title, old, new in pairs if old != new)
