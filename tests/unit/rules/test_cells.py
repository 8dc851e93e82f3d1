"""What people type into cells, and how each is read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.rules.cells import CellError, canonical, canonical_answer, read_given, read_test
from app.domain.rules.definitions import RuleField
from app.domain.rules.engine import compile_formula, compile_test

KNOWN = ("pnl", "desk", "lim", "day")


def _field(type_: str, *options: str) -> RuleField:
    return RuleField.model_validate({"name": "x", "type": type_, "options": options})


TESTS = [
    ("decimal", ">= 5", ">= 5"),
    ("decimal", "≥ 5", ">= 5"),
    ("decimal", "> 5 and <= 7.50", "(5..7.50]"),
    ("decimal", "[1..5)", "[1..5)"),
    ("decimal", "1..5", "[1..5]"),
    ("decimal", "1, 2", "1, 2"),
    ("decimal", "not in [1, 2]", "not in [1, 2]"),
    ("decimal", "not 5", "!= 5"),
    ("decimal", "<> 5", "!= 5"),
    ("decimal", "= 5", "5"),
    ("decimal", "1_000_000", "1000000"),
    ("decimal", "null", "null"),
    ("decimal", "given", "$ != null"),
    ("decimal", "-", ""),
    ("decimal", "any", ""),
    ("decimal", ">= lim * 2", ">= lim * 2"),
    ("decimal", "$ > lim and $ < 2 * lim", "$ > lim and $ < 2 * lim"),
    ("text", "EM", "'EM'"),
    ("text", "FX Spot, 'FX Forward'", "'FX Spot', 'FX Forward'"),
    ("text", "not EM", "!= 'EM'"),
    ("text", '"it\'s"', '"it\'s"'),
    ("text", "desk", "'desk'"),
    ("text", "== desk", "== desk"),
    ("text", "startsWith($, 'FX')", "startsWith($, 'FX')"),
    ("choice", "em", "'EM'"),
    ("boolean", "Yes", "true"),
    ("date", "2026-01-31", "date('2026-01-31')"),
    ("date", ">= 2026-01-31", ">= date('2026-01-31')"),
    ("date", "2026-01-01..2026-03-31", "[date('2026-01-01')..date('2026-03-31')]"),
    ("texts", "EM, G10", "'EM', 'G10'"),
    ("texts", "not EM", "!= 'EM'"),
    ("texts", "len($) > 2", "len($) > 2"),
]


@pytest.mark.parametrize(("type_", "typed", "written"), TESTS)
def test_a_test_is_written_in_one_way_that_is_read_as_the_same(type_: str, typed: str, written: str) -> None:
    field = _field(type_, *(["EM", "G10"] if type_ == "choice" else []))
    test = read_test(typed, field, KNOWN)
    assert canonical(test, field.type) == written
    assert read_test(written, field, KNOWN) == test
    if written:
        compile_test(written)


REFUSED = [
    ("decimal", "1,000,000", "write 1000000 for one number"),
    ("decimal", ">= 1,500", "write 1500 for one number"),
    ("decimal", "'x'", "'x' is a text"),
    ("decimal", ">= lmi", "did you mean lim?"),
    ("decimal", "5 5", "cannot be read to its end"),
    ("decimal", "[5..1]", "the interval is empty"),
    ("decimal", "> 79228162514264337593543950336", "more than 28 digits"),
    ("decimal", "> 1234567890123456789012345678.25 * 1", "more than 28 digits"),
    ("decimal", "rand(5) > 2", "chance"),
    ("decimal", "> d().day()", "reads the clock"),
    ("decimal", "$ = 5", "to compare write =="),
    ("decimal", "eval('x')", "eval() is no function"),
    ("decimal", "$root.x > 1", "has no meaning here"),
    ("text", "> EM", "has no order"),
    ("text", "a;b", "is not known"),
    ("choice", "XX", "choose from EM, G10"),
    ("boolean", "1", "is yes or no"),
    ("date", "2026-13-01", "is not a date"),
]


@pytest.mark.parametrize(("type_", "typed", "said"), REFUSED)
def test_a_cell_that_means_nothing_is_refused_in_words_that_help(type_: str, typed: str, said: str) -> None:
    field = _field(type_, *(["EM", "G10"] if type_ == "choice" else []))
    with pytest.raises(CellError) as refused:
        read_test(typed, field, KNOWN)
    assert said in str(refused.value)
    assert "Stack" not in str(refused.value)


ANSWERS = [
    ("decimal", "5.10", "5.10"),
    ("decimal", "pnl * 0.1", "pnl * 0.1"),
    ("decimal", "=pnl*2", "pnl*2"),
    ("text", "high", "'high'"),
    ("text", "very high", "'very high'"),
    ("text", "desk", "desk"),
    ("text", "= desk + 'x'", "desk + 'x'"),
    ("text", "upper(desk)", "upper(desk)"),
    ("choice", "HIGH", "'high'"),
    ("boolean", "pnl > 5", "pnl > 5"),
    ("date", "2026-01-31", "'2026-01-31'"),
    ("texts", "a, b", "['a', 'b']"),
    ("decimal", "", ""),
    ("text", "null", ""),
]


@pytest.mark.parametrize(("type_", "typed", "written"), ANSWERS)
def test_an_answer_is_written_in_one_way_that_is_read_as_the_same(type_: str, typed: str, written: str) -> None:
    field = _field(type_, *(["high", "low"] if type_ == "choice" else []))
    answer = read_given(typed, field, KNOWN)
    assert canonical_answer(answer, field.type) == written
    assert read_given(written, field, KNOWN) == answer
    if written:
        compile_formula(written)


@given(st.sampled_from(["decimal", "integer", "text", "choice", "boolean", "date", "texts"]), st.text(max_size=40))
def test_whatever_is_typed_is_read_or_refused(type_: str, typed: str) -> None:
    field = _field(type_, *(["a"] if type_ == "choice" else []))
    for read in (read_test, read_given):
        said = "read"
        try:
            read(typed, field, KNOWN)
        except CellError as refused:
            said = str(refused)
        assert said


@given(st.text(alphabet="<>=!.[]()'\",$#+-*/ 0123456789abpnl", max_size=30))
def test_what_is_read_can_be_compiled(typed: str) -> None:
    field = _field("decimal")
    try:
        written = canonical(read_test(typed, field, KNOWN), field.type)
    except CellError:
        return
    if written:
        compile_test(written)
