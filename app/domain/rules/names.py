"""What a formula is made of: names, numbers, functions. Finds what ZEN itself would take silently for nothing."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from app.domain.rules.values import fits

_TOKEN = re.compile(
    r"""(?P<text>'[^']*'|"[^"]*")|(?P<number>\d[\d_]*(?:\.(?!\.)\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<self>\$\w*|\#\w*)|(?P<template>`)|(?P<assign>(?<![<>=!])=(?!=))|(?P<dot>\.\.|\.)|(?P<open>\()|(?P<space>\s+)"""
    r"""|(?P<other>.)""",
    re.DOTALL,
)
_WORDS = frozenset({"and", "or", "not", "in", "true", "false", "null"})
FUNCTIONS = frozenset({
    "abs", "all", "avg", "bool", "ceil", "contains", "count", "d", "date", "dateString", "dayOfMonth", "dayOfWeek",
    "dayOfYear", "duration", "endOf", "endsWith", "extract", "filter", "flatMap", "floor", "fuzzyMatch", "isNumeric",
    "keys", "len", "lower", "map", "matches", "max", "median", "min", "mode", "monthOfYear", "monthString", "none",
    "number", "one", "round", "some", "split", "startOf", "startsWith", "string", "sum", "time", "trim", "trunc",
    "type", "upper", "values", "weekOfYear", "weekdayString", "year",
})  # fmt: skip
_DATE_FUNCTIONS = frozenset({"d", "date", "time", "year", "dateString", "startOf", "endOf"})
_MOVING = frozenset({"now", "today", "tomorrow", "yesterday"})
_NOT_SELF = frozenset({"$root", "$nodes"})


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str


def tokens(formula: str) -> Iterator[Token]:
    """The parts of a formula, without the spaces."""
    for found in _TOKEN.finditer(formula):
        kind = found.lastgroup or "other"
        if kind != "space":
            yield Token(kind, found.group())


def names_in(formula: str) -> frozenset[str]:
    """The facts that a formula names."""
    return frozenset(token.text for token in _named(tuple(tokens(formula))))


def _named(parts: tuple[Token, ...]) -> Iterator[Token]:
    for number, token in enumerate(parts):
        before = parts[number - 1].text if number else ""
        after = parts[number + 1].kind if number + 1 < len(parts) else ""
        if token.kind == "name" and token.text not in _WORDS and before != "." and after != "open":
            yield token


def complaints(formula: str, known: Iterable[str], *, of_cell: bool = False) -> list[str]:
    """What is wrong with a formula although ZEN would take it. `of_cell`: `$` is the value of the column."""
    parts = tuple(tokens(formula))
    known = tuple(known)
    found = [_unknown(token.text, known) for token in _named(parts) if token.text not in known]
    calls = set()
    for number, token in enumerate(parts):
        after = parts[number + 1] if number + 1 < len(parts) else None
        before = parts[number - 1].text if number else ""
        if token.kind == "name" and after is not None and after.kind == "open" and before != ".":
            calls.add(token.text)
            if token.text not in FUNCTIONS and token.text not in _WORDS:
                found.append(_unknown_function(token.text))
            if token.text in _DATE_FUNCTIONS and number + 2 < len(parts) and parts[number + 2].text == ")":
                found.append(_MOVES)
        found += _part_complaints(token, of_cell=of_cell)
    if calls & _DATE_FUNCTIONS:
        texts = {token.text[1:-1].strip().lower() for token in parts if token.kind == "text"}
        found += [_MOVES] if texts & _MOVING else []
    return list(dict.fromkeys(found))


_MOVES = "reads the clock: a decision must be the same when it is looked at again, so take the date as a fact"


def _part_complaints(token: Token, *, of_cell: bool) -> list[str]:
    match token.kind:
        case "number":
            if not fits(Decimal(token.text.replace("_", ""))):
                return [f"{token.text[:40]} has more than 28 digits, so it could not be kept exactly"]
        case "template":
            return ["joins texts with `…`; join them with +, such as 'over ' + string(limit)"]
        case "assign":
            return ["has a single =; to compare write =="]
        case "self":
            if token.text in _NOT_SELF or (token.text == "$" and not of_cell):
                return [f"{token.text} has no meaning here; name the fact"]
    return []


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"{name} is not known; did you mean {near[0]}?"
    there = ", ".join(known) or "the facts, once there are some"
    return f"{name} is not known: put a text in quotes, or use one of {there}"


def _unknown_function(name: str) -> str:
    if name == "rand":
        return "rand() is chance: a decision must be the same when it is looked at again"
    near = difflib.get_close_matches(name, FUNCTIONS, n=1)
    return f"{name}() is no function" + (f"; did you mean {near[0]}()?" if near else "")
