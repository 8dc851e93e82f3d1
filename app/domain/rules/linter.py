"""What is wrong, or odd, with the content of a rule: pure. An error refuses its publication, a warning does not."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from app.core.findings import Severity
from app.domain.rules.analysis import analyse
from app.domain.rules.cells import CellError, Formula, Given, canonical, canonical_answer, read_given, read_test
from app.domain.rules.compiled import column_field, numeric
from app.domain.rules.definitions import Column, Row, RuleContent, RuleField, RuleKind
from app.domain.rules.engine import ZenError, compile_formula, run
from app.domain.rules.findings import Finding
from app.domain.rules.names import complaints, names_in
from app.domain.rules.purposes import CONTRACTS, Purpose
from app.domain.rules.values import NUMBERS, TYPE_WORDS, BadValue, ValueType, read_answer, zen_json

_SAMPLES: dict[ValueType, Any] = {
    ValueType.TEXT: "x", ValueType.INTEGER: 7, ValueType.DECIMAL: Decimal("7.5"), ValueType.BOOLEAN: True,
    ValueType.DATE: date(2026, 1, 14), ValueType.TEXTS: ("x",),
}  # fmt: skip


def lint(kind: RuleKind, content: RuleContent, purpose: Purpose = Purpose.GENERAL) -> list[Finding]:
    """Every finding, errors first, then in the order of the table."""
    found = [*_fields(content), *_contract(content, purpose)]
    if kind is RuleKind.EXPRESSION:
        found += _formulas(content)
    else:
        found += _table(content)
        found += analyse(content)
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _error(rule: str, message: str, satisfy: str = "", row: str = "", column: str = "") -> Finding:
    return Finding(Severity.ERROR, rule, message, satisfy, row, column)


def _warning(rule: str, message: str, satisfy: str = "", row: str = "", column: str = "") -> Finding:
    return Finding(Severity.WARNING, rule, message, satisfy, row, column)


def _fields(content: RuleContent) -> Iterator[Finding]:
    if not content.outputs:
        yield _error("no_answer", "The rule has no answer.", "Add a column for what it decides.")
    for field in (*content.inputs, *content.outputs):
        if field.type is ValueType.CHOICE and not field.options:
            message = f"{field.title} is a choice without options."
            yield _error("no_options", message, "List its options, or make it a text.", column=field.name)


def _contract(content: RuleContent, purpose: Purpose) -> Iterator[Finding]:
    contract = CONTRACTS[purpose]
    if content.hit_policy not in contract.hit_policies:
        satisfy = f"Choose “{contract.hit_policies[0]}”."
        yield _error("hit_policy", "What asks this rule reads one answer, not a list of them.", satisfy)
    if contract.facts is not None:
        yield from _differences(content.inputs, contract.facts, "fact", "given")
    if contract.answers is not None:
        yield from _differences(content.outputs, contract.answers, "answer", "read")
    if contract.needed and not {field.name for field in content.outputs} & set(contract.needed):
        yield _error("answer_needed", "It answers nothing that counts.", f"Add {' or '.join(contract.needed)}.")


def _differences(ours: tuple[RuleField, ...], theirs: tuple[RuleField, ...], what: str, done: str) -> Iterator[Finding]:
    by_name = {field.name: field for field in theirs}
    for field in ours:
        other = by_name.get(field.name)
        if other is None:
            satisfy = f"There are: {', '.join(by_name)}."
            yield _error(f"unknown_{what}", f"The {what} {field.name} is not {done} here.", satisfy, column=field.name)
            continue
        if not _fits_type(field, other):
            message = f"{field.name} is {TYPE_WORDS[field.type]}; here it is {TYPE_WORDS[other.type]}."
            yield _error(f"{what}_type", message, f"Make it “{other.type}”.", column=field.name)
        if what == "fact" and field.required and not other.required:
            message = f"{field.name} may be missing, and the rule insists on it."
            yield _error("fact_may_be_missing", message, "Let it be optional.", column=field.name)


def _fits_type(ours: RuleField, theirs: RuleField) -> bool:
    """A choice narrows a text, a whole number is a number; an answer's options must be understood."""
    if ours.type is theirs.type:
        return not theirs.options or set(ours.options) <= set(theirs.options)
    text = {ValueType.TEXT, ValueType.CHOICE}
    return {ours.type, theirs.type} == text and not theirs.options


# -- tables ------------------------------------------------------------------------------------------------------------


def _table(content: RuleContent) -> Iterator[Finding]:
    if not content.rows:
        yield _error("no_rows", "The table has no row.", "Add one; empty conditions fit everything.")
    for column in content.columns:
        yield from _column(content, column)
    tested = set().union(*(names_in(column.expression) for column in content.columns)) if content.columns else set()
    cells = [cell for row in content.rows for cell in (*row.tests.values(), *row.answers.values())]
    used = tested | set().union(*(names_in(cell) for cell in cells)) if cells else tested
    for fact in content.inputs:
        if fact.name not in used:
            yield _warning("unused", f"Nothing looks at {fact.title}.", "Add a column for it, or remove the fact.")
    for number, row in enumerate(content.rows, 1):
        yield from _row(content, row, number)


def _column(content: RuleContent, column: Column) -> Iterator[Finding]:
    known = tuple(fact.name for fact in content.inputs)
    title = content.column_title(column)
    if column.expression in known:
        return
    said = complaints(column.expression, known)
    if said:
        yield _error("column", f"The column “{title}”: {said[0]}.", "Name a fact, or correct it.", column=column.id)
        return
    type_ = content.column_type(column)
    if type_ in (ValueType.DATE, ValueType.CHOICE):
        message = f"The column “{title}” computes {TYPE_WORDS[type_]}; a formula gives a number, a text or yes and no."
        yield _error("column", message, "Choose another type.", column=column.id)
        return
    wrong = _sample(content, column.expression, RuleField(name="value", type=type_, required=False))
    if wrong:
        yield _error("column", f"The column “{title}” {wrong}.", "Correct it, or its type.", column=column.id)


def _row(content: RuleContent, row: Row, number: int) -> Iterator[Finding]:
    known = tuple(fact.name for fact in content.inputs)
    ids = {column.id for column in content.columns}
    for stray in sorted({*row.tests} - ids):
        yield _error("stray_cell", f"Row {number} has a cell of a column that is gone.", "Clear it.", row.id, stray)
    for column in content.columns:
        try:
            read_test(row.tests.get(column.id, ""), column_field(content, column), known)
        except CellError as error:
            message = f"Row {number}, “{content.column_title(column)}”: {error}"
            yield _error("cell", f"{message}.", "", row.id, column.id)
    for output in content.outputs:
        wrong = answer_problem(content, output, row.answers.get(output.name, ""))
        if wrong:
            yield _error("cell", f"Row {number}, “{output.title}”: {wrong}.", "", row.id, output.name)
    for stray in sorted({*row.answers} - {output.name for output in content.outputs}):
        yield _error("stray_cell", f"Row {number} has an answer that is gone.", "Clear it.", row.id, stray)
    if content.outputs and not any(row.answers.get(output.name, "").strip() for output in content.outputs):
        yield _warning("no_answers", f"Row {number} answers nothing.", "Enter an answer, or remove the row.", row.id)


def answer_problem(content: RuleContent, output: RuleField, cell: str) -> str:
    """What is wrong with an answer cell; empty for nothing."""
    known = tuple(fact.name for fact in content.inputs)
    try:
        answer = read_given(cell, output, known)
    except CellError as error:
        return str(error)
    if isinstance(answer, Given):
        return "an answer is needed" if answer.value is None and output.required else ""
    assert isinstance(answer, Formula)
    return _sample(content, answer.text, output)


def _sample(content: RuleContent, formula: str, output: RuleField) -> str:
    """Try a formula with samples of the right types, so that a wrong type shows while it is written."""
    context = ",".join(f'"{fact.name}":{zen_json(_sample_of(fact))}' for fact in content.inputs)
    try:
        compiled = compile_formula(numeric(formula) if output.type in NUMBERS else formula)
        given = run(compiled, f"{{{context}}}")
    except ZenError as error:
        return str(error)
    if output.type is ValueType.CHOICE:
        return "" if given is None or isinstance(given, str) else f"gives no text, and {output.title} is a choice"
    try:
        read_answer(ValueType.DECIMAL if output.type is ValueType.INTEGER else output.type, given)
    except BadValue:
        meant = f"; put it in quotes if the text “{formula}” is meant" if content.input(formula) else ""
        return f"gives something else than {TYPE_WORDS[output.type]}{meant}"
    return ""


def _sample_of(fact: RuleField) -> Any:
    return (fact.options[0] if fact.options else "x") if fact.type is ValueType.CHOICE else _SAMPLES[fact.type]


# -- formulas ----------------------------------------------------------------------------------------------------------


def _formulas(content: RuleContent) -> Iterator[Finding]:
    names = {output.name for output in content.outputs}
    for output in content.outputs:
        cell = content.formulas.get(output.name, "")
        if not cell.strip():
            yield _error("no_formula", f"{output.title} has no formula.", "Enter one.", column=output.name)
            continue
        wrong = answer_problem(content, output, cell)
        if wrong:
            yield _error("cell", f"“{output.title}”: {wrong}.", "", column=output.name)
    for stray in sorted({*content.formulas} - names):
        yield _error("stray_cell", f"There is a formula for {stray}, which is no answer.", "Remove it.", column=stray)
    used = set().union(*(names_in(cell) for cell in content.formulas.values())) if content.formulas else set()
    for fact in content.inputs:
        if fact.name not in used:
            yield _warning("unused", f"Nothing looks at {fact.title}.", "Use it, or remove the fact.")


# -- tidying -----------------------------------------------------------------------------------------------------------


def tidied(kind: RuleKind, content: RuleContent) -> RuleContent:
    """The content with each cell that can be read written in its one way; the others stay as they were typed."""
    known = tuple(fact.name for fact in content.inputs)
    outputs = {output.name: output for output in content.outputs}
    if kind is RuleKind.EXPRESSION:
        formulas = {n: _tidy_answer(c, outputs[n], known) if n in outputs else c for n, c in content.formulas.items()}
        return content.model_copy(update={"formulas": formulas, "rows": (), "columns": ()})
    columns = {column.id: column_field(content, column) for column in content.columns}
    rows = tuple(
        row.model_copy(
            update={
                "tests": {i: _tidy_test(c, columns[i], known) if i in columns else c for i, c in row.tests.items()},
                "answers": {
                    n: _tidy_answer(c, outputs[n], known) if n in outputs else c for n, c in row.answers.items()
                },
            }
        )
        for row in content.rows
    )
    return content.model_copy(update={"rows": rows, "formulas": {}})


def _tidy_test(cell: str, field: RuleField, known: tuple[str, ...]) -> str:
    try:
        return canonical(read_test(cell, field, known), field.type)
    except CellError:
        return cell


def _tidy_answer(cell: str, field: RuleField, known: tuple[str, ...]) -> str:
    try:
        return canonical_answer(read_given(cell, field, known), field.type)
    except CellError:
        return cell
