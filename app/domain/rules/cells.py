"""What people type into a cell, read: a test of a column's value, or an answer. What ZEN runs is written from that.

Plain words are taken as texts in a text column, `≥ 100` as `>= 100`, `2026-10-30` as a date; `canonical` is the one way
to write each, which is what is kept and shown.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from app.domain.rules.definitions import RuleField
from app.domain.rules.engine import ZenError, compile_formula, compile_test
from app.domain.rules.names import complaints
from app.domain.rules.values import NUMBERS, ORDERED, TYPE_WORDS, BadValue, ValueType, number_text, read_value

ANYTHING = frozenset({"", "-", "\u2013", "*", "any"})
_SIGNS = {"≥": ">=", "≤": "<=", "≠": "!=", "<>": "!=", "\u2212": "-"}
_COMPARISON = re.compile(r"(>=|<=|==|!=|>|<|=)\s*(.+)", re.DOTALL)
_INTERVAL = re.compile(r"([\[(\]]?)\s*([^\[\](),]+(?:\([^()]*\))?)\s*\.\.\s*([^\[\](),]+(?:\([^()]*\))?)\s*([\])\[]?)")
_MEMBERS = re.compile(r"(not\s+)?in\s*\[(.*)\]|(not)\s+(.+)", re.DOTALL)
_BARE = re.compile(r"\w[\w .:/&+@%-]*")
_NUMBER = re.compile(r"[+-]?\d[\d_]*(\.\d+)?")
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_DAY = re.compile(r"date\(\s*['\"](\d{4}-\d\d-\d\d)['\"]\s*\)|['\"]?(\d{4}-\d\d-\d\d)['\"]?")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_PARTS = re.compile(r"""((?:'[^']*'|"[^"]*"|\([^()]*\)|[^,'"(])+)(?:,|$)""")


class CellError(ValueError):
    """A cell cannot be used; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Anything:
    """An empty cell fits every value."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value is one of these; `negated`: none of them."""

    values: tuple[Any, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Compare:
    """`operator` is one of > >= < <=."""

    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Between:
    low: Any
    high: Any
    low_closed: bool = True
    high_closed: bool = True


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no value; `negated`: there is one."""

    negated: bool = False


@dataclass(frozen=True, slots=True)
class Formula:
    """Anything else that ZEN can test; nothing is known of it before it runs."""

    text: str


Test = Anything | OneOf | Compare | Between | Missing | Formula


def read_test(text: str, field: RuleField, known: Iterable[str]) -> Test:
    """What a condition cell of a column with values like `field` means. `known`: the names of all facts.

    Raises: CellError.
    """
    text, known = _tidy(text), tuple(known)
    if text.lower() in ANYTHING:
        return Anything()
    if text.lower() in ("null", "missing"):
        return Missing()
    if text.lower() in ("not null", "!= null", "$ != null", "given"):
        return Missing(negated=True)
    found = _both(text, field, known) or _comparison(text, field, known) or _interval(text, field)
    found = found or _members(text, field)
    if found is None:
        found = _formula(text, known, field)
    return found


def _tidy(text: str) -> str:
    for sign, plain in _SIGNS.items():
        if sign in text and not _QUOTED.search(text):
            text = text.replace(sign, plain)
    return text.strip()


def _is_text(type_: ValueType) -> bool:
    return type_ in (ValueType.TEXT, ValueType.CHOICE, ValueType.TEXTS)


def _both(text: str, field: RuleField, known: tuple[str, ...]) -> Between | None:
    """`> 5 and <= 7` is an interval."""
    parts = re.split(r"\s+and\s+", text)
    if len(parts) != 2 or field.type not in ORDERED or not all(_COMPARISON.fullmatch(part) for part in parts):
        return None
    tests = [_comparison(part, field, known) for part in parts]
    low = next((test for test in tests if isinstance(test, Compare) and test.operator in (">", ">=")), None)
    high = next((test for test in tests if isinstance(test, Compare) and test.operator in ("<", "<=")), None)
    if low is None or high is None:
        return None
    return _between(low.value, high.value, low.operator == ">=", high.operator == "<=")


def _comparison(text: str, field: RuleField, known: tuple[str, ...]) -> Test | None:
    match = _COMPARISON.fullmatch(text)
    if match is None:
        return None
    operator, right = match.group(1), match.group(2).strip()
    _refuse_grouped(right, field.type)
    if right.lower() == "null" and operator in ("=", "==", "!="):
        return Missing(negated=operator == "!=")
    value = _literal(right, field)
    if value is None or (right in known and not _QUOTED.fullmatch(right)):
        return _formula(f"{'==' if operator == '=' else operator} {right}", known, field)
    if operator in ("=", "==", "!="):
        return OneOf((value,), negated=operator == "!=")
    if field.type not in ORDERED:
        raise CellError(f"{field.title} is {TYPE_WORDS[field.type]}: it has no order that {operator} could compare")
    return Compare(operator, value)


def _interval(text: str, field: RuleField) -> Between | None:
    match = _INTERVAL.fullmatch(text)
    if match is None or field.type not in ORDERED:
        return None
    opens, first, last, closes = match.groups()
    low, high = _literal(first.strip(), field), _literal(last.strip(), field)
    if low is None or high is None:
        return None
    if bool(opens) != bool(closes):
        raise CellError("an interval is written like [100..200], or [100..200) without its end")
    return _between(low, high, opens in ("", "["), closes in ("", "]"))


def _between(low: Any, high: Any, low_closed: bool, high_closed: bool) -> Between:
    if low > high or (low == high and not (low_closed and high_closed)):
        raise CellError(f"the interval is empty: {_shown(low)} is not below {_shown(high)}")
    return Between(low, high, low_closed, high_closed)


def _members(text: str, field: RuleField) -> OneOf | None:
    match = _MEMBERS.fullmatch(text)
    negated = match is not None and bool(match.group(1) or match.group(3))
    inner = text if match is None else (match.group(2) if match.group(2) is not None else match.group(4))
    _refuse_grouped(inner, field.type)
    parts = [part.strip() for part in _PARTS.findall(inner)]
    if not parts or ",".join(parts).replace(" ", "") != inner.rstrip(", ").replace(" ", "") or "" in parts:
        return None
    values = [_literal(part, field) for part in parts]
    if any(value is None for value in values):
        return None
    return OneOf(tuple(dict.fromkeys(values)), negated)


def _refuse_grouped(text: str, type_: ValueType) -> None:
    if type_ in NUMBERS and _GROUPED.fullmatch(text):
        plain = text.replace(",", "")
        raise CellError(f"write {plain} for one number, or put a space after the comma for several: 1, 500")


def _literal(text: str, field: RuleField) -> Any:
    """The value that a text stands for in a column; None where it is no plain value. Raises CellError."""
    type_ = field.type
    if type_ in NUMBERS:
        if not _NUMBER.fullmatch(text):
            if _QUOTED.fullmatch(text):
                raise CellError(f"{field.title} is {TYPE_WORDS[type_]}; {text} is a text")
            return None
        return _checked(type_, text.replace("_", ""))
    if type_ is ValueType.BOOLEAN:
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower())
    if type_ is ValueType.DATE:
        day = _DAY.fullmatch(text)
        return _checked(type_, day.group(1) or day.group(2)) if day else None
    if _QUOTED.fullmatch(text):
        text = text[1:-1]
    elif not _BARE.fullmatch(text):
        return None
    if type_ is ValueType.CHOICE:
        return next((option for option in field.options if option.lower() == text.lower()), None) or _no_option(
            text, field
        )
    return text


def _no_option(text: str, field: RuleField) -> str:
    raise CellError(f"“{text}” is no option of {field.title}; choose from {', '.join(field.options) or 'nothing yet'}")


def _checked(type_: ValueType, text: str) -> Any:
    try:
        return read_value(type_, text)
    except BadValue as error:
        raise CellError(str(error)) from None


def _formula(text: str, known: tuple[str, ...], field: RuleField) -> Formula:
    if _NUMBER.fullmatch(text) and field.type not in NUMBERS:
        raise CellError(f"{field.title} is {TYPE_WORDS[field.type]}: {_how(field.type)}")
    said = complaints(text, known, of_cell=True)
    if said:
        raise CellError(said[0])
    try:
        compile_test(text)
    except ZenError as error:
        raise CellError(f"{error}: {_how(field.type)}") from None
    return Formula(text)


def _how(type_: ValueType) -> str:
    """What a cell of such a column can look like."""
    if type_ in NUMBERS:
        return "write for example >= 100, [100..200) or 1, 2, 3"
    if type_ is ValueType.DATE:
        return "write for example >= 2026-10-30 or [2026-01-01..2026-03-31]"
    if type_ is ValueType.BOOLEAN:
        return "write true or false"
    return "write for example 'EM', 'G10' or not in ['EM']"


def canonical(test: Test, type_: ValueType) -> str:
    """The test as it is kept and shown."""
    match test:
        case Anything():
            return ""
        case Missing(negated):
            return "$ != null" if negated else "null"
        case Compare(operator, value):
            return f"{operator} {literal(value, type_)}"
        case Between(low, high, low_closed, high_closed):
            ends = ("[" if low_closed else "(", "]" if high_closed else ")")
            return f"{ends[0]}{literal(low, type_)}..{literal(high, type_)}{ends[1]}"
        case OneOf(values, negated):
            if negated and len(values) == 1:
                return f"!= {literal(values[0], type_)}"
            joined = ", ".join(literal(value, type_) for value in values)
            return f"not in [{joined}]" if negated else joined
    assert isinstance(test, Formula)
    return test.text


def zen_cell(test: Test, type_: ValueType) -> str:
    """The test as ZEN runs it: a list fits where one of its texts does."""
    if isinstance(test, OneOf) and type_ is ValueType.TEXTS:
        texts = ", ".join(literal(value, ValueType.TEXT) for value in test.values)
        return f"{'none' if test.negated else 'some'}($, # in [{texts}])"
    return canonical(test, type_)


def literal(value: Any, type_: ValueType) -> str:
    """A value as a formula writes it. Raises CellError for a text with both kinds of quotes."""
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal() | int():
            return number_text(Decimal(value))
        case date():
            return f"date('{value.isoformat()}')" if type_ is ValueType.DATE else f"'{value.isoformat()}'"
    if "'" in value and '"' in value:
        raise CellError("a text can hold ' or \" but not both")
    return f'"{value}"' if "'" in value else f"'{value}'"


def _shown(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


# -- answers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that is the same for every input; None for an empty cell."""

    value: Any


Answer = Given | Formula


def read_given(text: str, field: RuleField, known: Iterable[str]) -> Answer:
    """What an answer cell means: a value, or a formula over the facts, with or without `=`. Raises CellError."""
    text, known = text.strip(), tuple(known)
    if not text or text.lower() == "null":
        return Given(None)
    if text.startswith("=") and not text.startswith("=="):
        return _computed(text[1:].strip(), known)
    _refuse_grouped(text, field.type)
    if text in known or (_is_text(field.type) and re.match(r"\w+\(", text)):
        return _computed(text, known)
    if field.type is ValueType.TEXTS:
        return Given(_texts(text)) if "(" not in text else _computed(text, known)
    value = _literal(text, field)
    if value is not None:
        return Given(value)
    return _computed(text, known)


def _texts(text: str) -> tuple[str, ...]:
    parts = [part.strip() for part in _PARTS.findall(text.strip("[] "))]
    return tuple(part[1:-1] if _QUOTED.fullmatch(part) else part for part in parts if part)


def _computed(text: str, known: tuple[str, ...]) -> Formula:
    said = complaints(text, known)
    if said:
        raise CellError(said[0])
    try:
        compile_formula(text)
    except ZenError as error:
        raise CellError(str(error)) from None
    return Formula(text)


def canonical_answer(answer: Answer, type_: ValueType) -> str:
    """The answer as ZEN computes it; empty for none."""
    if isinstance(answer, Formula):
        return answer.text
    if answer.value is None:
        return ""
    if type_ is ValueType.TEXTS:
        return f"[{', '.join(literal(value, ValueType.TEXT) for value in answer.value)}]"
    return literal(answer.value, ValueType.TEXT if type_ is ValueType.DATE else type_)
