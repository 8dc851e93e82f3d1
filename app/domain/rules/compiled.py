"""A rule version compiled once and evaluated often: immutable, shared by every request, and pure.

Each cell is a compiled ZEN expression of its own. So a cell that cannot be evaluated refuses the decision instead of
silently not fitting, as ZEN's own table would have it, and the trace says which cell of which row said no.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from app.core.audit import plain_value
from app.core.errors import Conflict, FieldProblem, ValidationFailed
from app.domain.rules.cells import (
    Anything,
    CellError,
    Formula,
    Given,
    canonical,
    canonical_answer,
    read_given,
    read_test,
    zen_cell,
)
from app.domain.rules.definitions import HitPolicy, RuleContent, RuleField, RuleKind
from app.domain.rules.engine import ZenError, compile_formula, compile_test, run
from app.domain.rules.values import NUMBERS, BadValue, ValueType, day_number, read_answer, read_value, zen_json

Values = Mapping[str, Any]


class RuleFailed(Conflict):
    """A formula of the rule cannot be evaluated for what it was given; the detail names the place."""

    code = "rule_failed"
    title = "The rule gives no answer"


@dataclass(frozen=True, slots=True)
class RowTrace:
    """Whether a row fitted; if not, `stopped` is the id of the column that said no."""

    row: str
    fits: bool
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule answers: one mapping a row that fitted. `values`: what the columns tested."""

    answers: tuple[Values, ...]
    matched: tuple[str, ...]
    values: Values
    rows: tuple[RowTrace, ...]

    def trace(self) -> dict[str, Any]:
        """As it is kept with the decision."""
        return {
            "values": plain_value(self.values),
            "matched": list(self.matched),
            "rows": [[row.row, row.stopped] if not row.fits else [row.row] for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class _Column:
    id: str
    title: str
    field: RuleField
    source: str | None  # the fact it tests; None for a formula
    formula: Any = None


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    number: int
    tests: tuple[tuple[_Column, str, Any], ...]  # column, cell, compiled; empty cells are left out
    answers: tuple[tuple[RuleField, Any, bool], ...]  # field, value or compiled formula, whether it is a formula


@dataclass(frozen=True)
class CompiledRule:
    """`evaluate` is safe to call from any request at any time."""

    kind: RuleKind
    content: RuleContent
    columns: tuple[_Column, ...]
    rows: tuple[_Row, ...]
    fields: Mapping[str, RuleField] = field(default_factory=dict)

    def facts(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The input in the types of the rule. Raises ValidationFailed for a missing, unknown or wrong fact."""
        problems = [
            FieldProblem(name, f"is no fact of this rule; it takes {', '.join(self.fields) or 'none'}", "unknown")
            for name in given
            if name not in self.fields
        ]
        values: dict[str, Any] = {}
        for name, fact in self.fields.items():
            try:
                values[name] = read_value(fact.type, given.get(name), options=fact.options)
            except BadValue as error:
                problems.append(FieldProblem(name, str(error)))
                continue
            if values[name] is None and fact.required:
                problems.append(FieldProblem(name, "is needed", "required"))
        if problems:
            raise ValidationFailed(problems)
        return values

    def evaluate(self, given: Mapping[str, Any], *, all_rows: bool = False) -> Outcome:
        """Decide. `all_rows`: go on after the first fitting row, to show what the others would have said.

        Raises: ValidationFailed about the input, RuleFailed about a formula.
        """
        facts = self.facts(given)
        context = "{" + ",".join(f'"{name}":{zen_json(value)}' for name, value in facts.items()) + "}"
        values: dict[str, Any] = {}
        contexts: dict[str, str] = {}
        for column in self.columns:
            values[column.id] = value = self._column_value(column, facts, context)
            tested = day_number(value) if isinstance(value, date) else value
            tail = context[1:] if facts else "}"
            contexts[column.id] = f'{{"$":{zen_json(tested)}{"," if facts else ""}{tail}'
        seen: dict[tuple[str, str], bool] = {}
        traces: list[RowTrace] = []
        answers: list[Values] = []
        matched: list[str] = []
        for row in self.rows:
            stopped = self._stopped(row, values, contexts, seen)
            traces.append(RowTrace(row.id, not stopped, stopped))
            if stopped or (matched and self.content.hit_policy is HitPolicy.FIRST):
                continue
            matched.append(row.id)
            answers.append(self._answers(row, context))
            if self.content.hit_policy is HitPolicy.FIRST and not all_rows:
                break
        return Outcome(tuple(answers), tuple(matched), values, tuple(traces))

    def _column_value(self, column: _Column, facts: Values, context: str) -> Any:
        if column.source is not None:
            return facts[column.source]
        try:
            return read_answer(column.field.type, run(column.formula, context))
        except (ZenError, BadValue) as error:
            raise RuleFailed(f"The column “{column.title}” {error}.", context={"column": column.id}) from None

    def _stopped(
        self, row: _Row, values: Values, contexts: Mapping[str, str], seen: dict[tuple[str, str], bool]
    ) -> str:
        """The column that says no; empty where the row fits."""
        for column, cell, compiled in row.tests:
            key = (column.id, cell)
            if key not in seen:
                seen[key] = _fits(compiled, contexts[column.id], values[column.id], place=(row, column, cell))
            if not seen[key]:
                return column.id
        return ""

    def _answers(self, row: _Row, context: str) -> Values:
        return {
            output.name: _computed(output, given, context, row) if is_formula else given
            for output, given, is_formula in row.answers
        }


def _fits(compiled: Any, context: str, value: Any, *, place: tuple[_Row, _Column, str]) -> bool:
    try:
        return bool(run(compiled, context))
    except ZenError as error:
        if value is None:  # nothing is neither above nor below anything
            return False
        row, column, cell = place
        detail = f"Row {row.number}, “{column.title}”: {cell} {error}."
        raise RuleFailed(detail, context={"row": row.id, "column": column.id}) from None


def _computed(output: RuleField, formula: Any, context: str, row: _Row) -> Any:
    place = f"Row {row.number}, “{output.title}”" if row.number else f"“{output.title}”"
    where = {"row": row.id, "column": output.name}
    try:
        value = read_answer(output.type, run(formula, context), options=output.options)
    except (ZenError, BadValue) as error:
        raise RuleFailed(f"{place}: {error}.", context=where) from None
    if value is None and output.required:
        raise RuleFailed(f"{place} has no value for this input, and an answer is needed.", context=where)
    return value


def numeric(formula: str) -> str:
    """A formula whose number comes out exactly, as text."""
    return f"string({formula})"


def compile_rule(kind: RuleKind, content: RuleContent) -> CompiledRule:
    """Compile a content that the linter has found no error in. Raises CellError for one that has."""
    known = tuple(fact.name for fact in content.inputs)
    columns = tuple(_column(content, column, known) for column in content.columns)
    fields = {fact.name: fact for fact in content.inputs}
    if kind is RuleKind.EXPRESSION:
        answers = tuple(_answer(output, content.formulas.get(output.name, ""), known) for output in content.outputs)
        return CompiledRule(kind, content, (), (_Row("formulas", 0, (), answers),), fields)
    rows = []
    for number, row in enumerate(content.rows, 1):
        tests = []
        for column in columns:
            test = read_test(row.tests.get(column.id, ""), column.field, known)
            if not isinstance(test, Anything):
                compiled = compile_test(zen_cell(test, column.field.type))
                tests.append((column, canonical(test, column.field.type), compiled))
        answers = tuple(_answer(output, row.answers.get(output.name, ""), known) for output in content.outputs)
        rows.append(_Row(row.id, number, tuple(tests), answers))
    return CompiledRule(kind, content, columns, tuple(rows), fields)


def column_field(content: RuleContent, column: Any) -> RuleField:
    """The field whose values a column tests."""
    named = content.input(column.expression)
    if named is not None:
        return named
    return RuleField(name="value", label=content.column_title(column), type=content.column_type(column), required=False)


def _column(content: RuleContent, column: Any, known: Sequence[str]) -> _Column:
    tested = column_field(content, column)
    title = content.column_title(column)
    if column.expression in known:
        return _Column(column.id, title, tested, column.expression)
    if tested.type is ValueType.DATE:
        raise CellError("a formula column tests a number, a text or yes and no; name a date fact itself")
    text = numeric(column.expression) if tested.type in NUMBERS else column.expression
    return _Column(column.id, title, tested, None, compile_formula(text))


def _answer(output: RuleField, cell: str, known: Sequence[str]) -> tuple[RuleField, Any, bool]:
    answer = read_given(cell, output, known)
    if isinstance(answer, Given):
        return output, answer.value, False
    assert isinstance(answer, Formula)
    text = canonical_answer(answer, output.type)
    return output, compile_formula(numeric(text) if output.type in NUMBERS else text), True
