"""Decisions of compiled rules: exact numbers, hit policies, traces, and agreement with ZEN's own decision table."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import orjson
import pytest
import zen
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.errors import ValidationFailed
from app.domain.rules.compiled import RuleFailed, compile_rule
from app.domain.rules.definitions import RuleKind, read_content
from app.domain.rules.jdm import ROW, to_jdm
from app.domain.rules.linter import tidied
from app.domain.rules.values import MAX_COEFFICIENT, fits
from tests.unit.rules.tables import table

TABLE = RuleKind.DECISION_TABLE
SEVERITY = table(
    [
        ({"pnl": ">= 1000000"}, {"severity": "'high'"}),
        ({"pnl": "[100000..1000000)", "desk": "'EM'"}, {"severity": "'high'"}),
        ({"pnl": "[100000..1000000)"}, {"severity": "'medium'"}),
        ({}, {"severity": "'low'"}),
    ],
    columns={"pnl": "abs(pnl)", "desk": "desk"},
)


@pytest.mark.parametrize(
    ("pnl", "desk", "severity", "row"),
    [
        ("-1000000", "G10", "high", "r1"),
        ("999999.999999999999999999", "G10", "medium", "r3"),
        ("-100000", "EM", "high", "r2"),
        ("99999.999999999999999999", "EM", "low", "r4"),
    ],
)
def test_the_first_row_that_fits_answers(pnl: str, desk: str, severity: str, row: str) -> None:
    outcome = compile_rule(TABLE, SEVERITY).evaluate({"pnl": Decimal(pnl), "desk": desk})
    assert outcome.answers == ({"severity": severity},)
    assert outcome.matched == (row,)


def test_every_row_that_fits_answers_where_the_rule_collects() -> None:
    content = read_content({**SEVERITY.plain(), "hit_policy": "collect"})
    outcome = compile_rule(TABLE, content).evaluate({"pnl": "200000", "desk": "EM"})
    assert outcome.matched == ("r2", "r3", "r4")
    assert [answer["severity"] for answer in outcome.answers] == ["high", "medium", "low"]


def test_the_trace_names_the_column_that_said_no() -> None:
    outcome = compile_rule(TABLE, SEVERITY).evaluate({"pnl": "200000", "desk": "G10"})
    assert outcome.trace() == {
        "values": {"pnl": "200000", "desk": "G10"},
        "matched": ["r3"],
        "rows": [["r1", "pnl"], ["r2", "desk"], ["r3"]],
    }


def test_nothing_fits_a_comparison_with_a_missing_value() -> None:
    optional = [{"name": "pnl", "type": "decimal", "required": False}]
    content = table(
        [({"pnl": ">= 5"}, {"severity": "'high'"}), ({"pnl": "null"}, {"severity": "'low'"})], inputs=optional
    )
    assert compile_rule(TABLE, content).evaluate({}).matched == ("r2",)
    assert compile_rule(TABLE, content).evaluate({"pnl": 1}).matched == ()


def test_a_formula_that_cannot_be_evaluated_refuses_and_names_its_place() -> None:
    content = table(
        [({}, {"limit": "pnl * 79228162514264337593543950335"})], outputs=[{"name": "limit", "type": "decimal"}]
    )
    with pytest.raises(RuleFailed, match="Row 1, “Limit”: computes a number that is too large"):
        compile_rule(TABLE, content).evaluate({"pnl": "10", "desk": "x"})


def test_an_answer_that_is_needed_and_is_nothing_is_refused() -> None:
    content = table([({}, {"limit": "1 / pnl"})], outputs=[{"name": "limit", "type": "decimal"}])
    with pytest.raises(RuleFailed, match="has no value"):
        compile_rule(TABLE, content).evaluate({"pnl": "0", "desk": "x"})


def test_facts_that_do_not_fit_are_all_named_at_once() -> None:
    with pytest.raises(ValidationFailed) as refused:
        compile_rule(TABLE, SEVERITY).evaluate({"pnl": 1.5, "dsk": "EM"})
    assert {problem.path: problem.code for problem in refused.value.problems} == {
        "pnl": "invalid",
        "dsk": "unknown",
        "desk": "required",
    }


def test_dates_and_lists_are_tested() -> None:
    content = table(
        [({"day": "[2026-01-01..2026-03-31]", "path": "EM"}, {"from": "day"}), ({}, {"from": "2030-12-31"})],
        inputs=[{"name": "day", "type": "date"}, {"name": "path", "type": "texts"}],
        outputs=[{"name": "from", "type": "date"}],
    )
    rule = compile_rule(TABLE, content)
    day = date(2026, 3, 31)
    assert rule.evaluate({"day": day, "path": ["FX", "EM"]}).answers == ({"from": day},)
    assert rule.evaluate({"day": day, "path": ["FX"]}).answers == ({"from": date(2030, 12, 31)},)


def test_formulas_answer_each_by_itself() -> None:
    content = read_content(
        {
            "inputs": [{"name": "pnl", "type": "decimal"}],
            "outputs": [{"name": "limit", "type": "decimal"}, {"name": "over", "type": "boolean"}],
            "formulas": {"limit": "round(abs(pnl) * 0.15, 2)", "over": "abs(pnl) > 100"},
        }
    )
    outcome = compile_rule(RuleKind.EXPRESSION, content).evaluate({"pnl": "-1000.10"})
    assert outcome.answers == ({"limit": Decimal("150.02"), "over": True},)


NUMBERS = st.builds(
    lambda coefficient, scale, sign: Decimal(coefficient).scaleb(-scale) * sign,
    st.integers(0, 10**27),
    st.integers(0, 18),
    st.sampled_from([1, -1]),
)


@given(NUMBERS)
def test_a_number_goes_through_a_rule_exactly(number: Decimal) -> None:
    content = table([({}, {"limit": "pnl"})], outputs=[{"name": "limit", "type": "decimal"}])
    outcome = compile_rule(TABLE, content).evaluate({"pnl": number, "desk": "x"})
    assert outcome.answers[0]["limit"] == number
    assert isinstance(outcome.answers[0]["limit"], Decimal)


@given(NUMBERS, NUMBERS)
def test_sums_are_exact(one: Decimal, other: Decimal) -> None:
    from decimal import Context

    total = Context(prec=60).add(one, other)
    assume(fits(total))
    content = read_content(
        {
            "inputs": [{"name": "a", "type": "decimal"}, {"name": "b", "type": "decimal"}],
            "outputs": [{"name": "total", "type": "decimal"}],
            "formulas": {"total": "a + b"},
        }
    )
    assert compile_rule(RuleKind.EXPRESSION, content).evaluate({"a": one, "b": other}).answers[0]["total"] == total


@given(st.integers(-(2**100), 2**100), st.integers(0, 40))
def test_a_number_is_taken_exactly_or_refused(coefficient: int, scale: int) -> None:
    number = Decimal(coefficient).scaleb(-scale, context=None) if abs(coefficient) < 10**27 else Decimal(coefficient)
    content = table([({}, {"limit": "pnl"})], outputs=[{"name": "limit", "type": "decimal"}])
    rule = compile_rule(TABLE, content)
    if fits(number):
        assert rule.evaluate({"pnl": number, "desk": "x"}).answers[0]["limit"] == number
    else:
        with pytest.raises(ValidationFailed, match="28 digits"):
            rule.evaluate({"pnl": number, "desk": "x"})


def test_the_largest_numbers_are_held_and_the_next_is_not() -> None:
    assert fits(Decimal(MAX_COEFFICIENT))
    assert not fits(Decimal(MAX_COEFFICIENT + 1))
    assert fits(Decimal("1e28"))
    assert fits(Decimal("0E-40"))
    assert not fits(Decimal("1e29"))
    assert not fits(Decimal("NaN"))


# -- agreement with the engine's own table ----------------------------------------------------------------------------

_AMOUNT = st.integers(-20, 20).map(str)
PNL_CELLS = st.one_of(
    st.just(""),
    st.builds(lambda o, n: f"{o} {n}", st.sampled_from([">", ">=", "<", "<=", "!="]), _AMOUNT),
    st.lists(_AMOUNT, min_size=1, max_size=3).map(", ".join),
    st.builds(lambda low, width, a, b: f"{a}{low}..{low + width}{b}", st.integers(-20, 20), st.integers(1, 9),
              st.sampled_from("[("), st.sampled_from("])")),
)  # fmt: skip
DESK_CELLS = st.sampled_from(["", "EM", "EM, G10", "not EM", "not in [EM, X]", "startsWith($, 'G')"])
ROWS = st.lists(
    st.tuples(
        st.fixed_dictionaries({"pnl": PNL_CELLS, "desk": DESK_CELLS}),
        st.fixed_dictionaries({"limit": st.sampled_from(["1.10", "pnl * 2", "abs(pnl) + 0.01", ""])}),
    ),
    min_size=1,
    max_size=6,
)


@given(ROWS, st.integers(-25, 25), st.sampled_from(["EM", "G10", "X"]), st.sampled_from(["first", "collect"]))
def test_a_table_decides_as_zen_itself_decides(rows: Any, pnl: int, desk: str, hit_policy: str) -> None:
    outputs = [{"name": "limit", "type": "decimal", "required": False}]
    content = tidied(TABLE, table(rows, outputs=outputs, hit_policy=hit_policy))
    ours = compile_rule(TABLE, content).evaluate({"pnl": pnl, "desk": desk})
    graph = zen.ZenEngine().create_decision(json.dumps(to_jdm(content, exact=True)))
    theirs = graph.evaluate(orjson.dumps({"pnl": pnl, "desk": desk}).decode())["result"]
    found = theirs if hit_policy == "collect" else [theirs] if theirs else []
    assert [answer[ROW] for answer in found] == list(ours.matched)
    limits = [Decimal(answer["limit"]) if answer.get("limit") is not None else None for answer in found]
    assert limits == [answer["limit"] for answer in ours.answers]


def test_the_exported_graph_is_the_table() -> None:
    graph = to_jdm(SEVERITY)
    assert [node["type"] for node in graph["nodes"]] == ["inputNode", "decisionTableNode", "outputNode"]
    content = graph["nodes"][1]["content"]
    assert [column["field"] for column in content["inputs"]] == ["abs(pnl)", "desk"]
    assert content["rules"][1] == {
        "_id": "r2", "_description": "", "i_pnl": "[100000..1000000)", "i_desk": "'EM'", "o_severity": "'high'",
    }  # fmt: skip
