"""What is found in a rule before it is published."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings

from app.core.findings import Severity
from app.domain.rules.compiled import compile_rule
from app.domain.rules.definitions import RuleContent, RuleKind, read_content
from app.domain.rules.linter import lint, tidied
from app.domain.rules.purposes import Purpose
from tests.unit.rules.tables import OUTPUTS, table
from tests.unit.rules.test_compiled import ROWS

TABLE = RuleKind.DECISION_TABLE
HIGH, LOW = {"severity": "high"}, {"severity": "low"}


def _said(content: RuleContent, *, purpose: Purpose = Purpose.GENERAL) -> list[tuple[str, str, str]]:
    return [(f.severity, f.rule, f.row) for f in lint(TABLE, content, purpose)]


def _messages(content: RuleContent) -> list[str]:
    return [finding.message for finding in lint(TABLE, content)]


def test_a_whole_table_has_no_finding() -> None:
    assert lint(TABLE, table([({"pnl": ">= 5", "desk": "EM"}, HIGH), ({}, LOW)])) == []


def test_a_case_without_a_row_is_named() -> None:
    content = table([({"pnl": ">= 5"}, HIGH), ({"pnl": "< 0"}, LOW), ({"pnl": "[0..5)", "desk": "EM"}, LOW)])
    assert _said(content) == [(Severity.WARNING, "gap", "")]
    assert _messages(content) == ["No row fits when Pnl is from 0 below 5 and Desk is something other than EM."]


def test_a_missing_optional_fact_is_a_case_of_its_own() -> None:
    optional = [{"name": "pnl", "type": "decimal", "required": False}]
    content = table([({"pnl": ">= 5"}, HIGH), ({"pnl": "< 5"}, LOW)], inputs=optional)
    assert _messages(content) == ["No row fits when Pnl is missing."]


def test_whole_numbers_and_dates_have_no_gap_between_neighbours() -> None:
    whole = [{"name": "level", "type": "integer"}]
    assert lint(TABLE, table([({"level": "<= 5"}, HIGH), ({"level": ">= 6"}, LOW)], inputs=whole)) == []
    days = [{"name": "day", "type": "date"}]
    rows = [({"day": "<= 2026-01-31"}, HIGH), ({"day": ">= 2026-02-02"}, LOW)]
    assert _messages(table(rows, inputs=days)) == ["No row fits when Day is 2026-02-01."]


def test_an_amount_without_a_sign_is_never_below_zero() -> None:
    rows = [({"pnl": ">= 100"}, HIGH), ({"pnl": "[0..100)"}, LOW)]
    only = [{"name": "pnl", "type": "decimal"}]
    assert lint(TABLE, table(rows, columns={"pnl": "abs(pnl)"}, inputs=only)) == []


def test_a_row_that_is_never_reached_is_an_error() -> None:
    content = table([({"pnl": "< 10"}, HIGH), ({"pnl": ">= 10"}, LOW), ({"pnl": "[5..15]", "desk": "EM"}, HIGH)])
    assert (Severity.ERROR, "unreachable", "r3") in _said(content)
    assert "Row 3 is never reached: rows 1, 2 above it take all of it." in _messages(content)


def test_rows_that_meet_with_other_answers_are_noted() -> None:
    content = table([({"pnl": ">= 5"}, HIGH), ({"desk": "EM"}, LOW), ({}, LOW)])
    assert _said(content) == [(Severity.INFO, "overlap", "r2")]
    assert _messages(content) == [
        "Rows 1 and 2 both fit when Pnl is from 5 and Desk is EM; row 1 answers, because it is the first."
    ]


def test_a_row_that_repeats_another_is_noted_where_the_rule_collects() -> None:
    content = table([({"pnl": ">= 5"}, HIGH), ({"pnl": ">= 5"}, HIGH), ({}, LOW)], hit_policy="collect")
    assert _said(content) == [(Severity.WARNING, "repeated", "r2")]


def test_a_row_with_a_formula_claims_nothing() -> None:
    content = table([({"pnl": "> 2 * 3"}, HIGH), ({"pnl": "<= 6"}, LOW)])
    assert _messages(content) == ["Perhaps no row fits when Pnl is over 6."]


def test_cells_of_the_wrong_type_are_errors_at_their_place() -> None:
    outputs: list[dict[str, Any]] = [{"name": "limit", "type": "decimal"}, *OUTPUTS]
    rows = [({"pnl": "EM", "desk": "> 5"}, {"limit": "desk", "severity": "highest"})]
    found = [(f.row, f.column) for f in lint(TABLE, table(rows, outputs=outputs)) if f.severity is Severity.ERROR]
    assert found == [("r1", "pnl"), ("r1", "desk"), ("r1", "limit"), ("r1", "severity")]


def test_a_formula_column_with_an_unknown_name_is_an_error() -> None:
    content = table([({}, HIGH)], columns={"c": "abs(pln)"})
    assert [f.column for f in lint(TABLE, content) if f.rule == "column"] == ["c"]


def test_a_rule_without_rows_or_answers_is_not_ready() -> None:
    rules = {f.rule for f in lint(TABLE, read_content({}))}
    assert {"no_answer", "no_rows"} <= rules


def test_a_purpose_knows_its_facts_and_answers() -> None:
    inputs = [
        {"name": "value", "type": "text"},
        {"name": "pln", "type": "decimal"},
        {"name": "flash", "type": "decimal"},
    ]
    outputs = [{"name": "severity", "type": "choice", "options": ["huge"]}]
    content = table([({}, {"severity": "huge"})], inputs=inputs, outputs=outputs)
    found = {(f.rule, f.column) for f in lint(TABLE, content, Purpose.PNL_THRESHOLD) if f.severity is Severity.ERROR}
    assert found == {
        ("fact_type", "value"), ("unknown_fact", "pln"), ("fact_may_be_missing", "flash"), ("answer_type", "severity"),
    }  # fmt: skip


def test_formulas_are_needed_and_checked() -> None:
    content = read_content(
        {
            "inputs": [{"name": "pnl", "type": "decimal"}],
            "outputs": [{"name": "limit", "type": "decimal"}, {"name": "over", "type": "boolean"}],
            "formulas": {"limit": "pnl > 5", "stray": "1"},
        }
    )
    found = [(f.rule, f.column) for f in lint(RuleKind.EXPRESSION, content) if f.severity is Severity.ERROR]
    assert found == [("cell", "limit"), ("no_formula", "over"), ("stray_cell", "stray")]


@settings(max_examples=150)
@given(ROWS)
def test_what_the_search_says_of_gaps_and_dead_rows_is_true(rows: list[tuple[dict[str, str], dict[str, str]]]) -> None:
    outputs = [{"name": "limit", "type": "decimal", "required": False}]
    content = tidied(TABLE, table(rows, outputs=outputs))
    findings = lint(TABLE, content)
    if any(finding.rule in ("cell", "impossible") for finding in findings):
        return
    rule = compile_rule(TABLE, content)
    values = [Decimal(n) / 2 for n in range(-62, 63)]
    outcomes = [rule.evaluate({"pnl": p, "desk": d}) for p in values for d in ("EM", "G10", "X", "other")]
    answered = {row for outcome in outcomes for row in outcome.matched}
    dead = {finding.row for finding in findings if finding.rule == "unreachable"}
    assert not dead & answered
    gaps = [finding for finding in findings if finding.rule == "gap" and finding.severity is Severity.WARNING]
    opaque = any("startsWith" in row.tests.get("desk", "") for row in content.rows)
    if not opaque:
        assert bool(gaps) == any(not outcome.matched for outcome in outcomes)
