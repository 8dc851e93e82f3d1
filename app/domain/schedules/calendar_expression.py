"""Calendars by name, combined: `TARGET & LONDON` is open when both are, `TARGET | NYSE` when at least one is.

`&` binds more than `|`; parentheses group. The calendar of an expression speaks of days; its zone is the first name's.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from app.domain.calendars.calendars import Calendar, intersection, union
from app.domain.schedules.errors import InvalidRecurrence

FIELD = "calendars"
MAX_LENGTH = 200
MAX_DEPTH = 10
_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<sign>[&|()]))")
_WORDS = {"AND": "&", "OR": "|"}


@dataclass(frozen=True, slots=True)
class Named:
    code: str


@dataclass(frozen=True, slots=True)
class Both:
    """Open when all parts are."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """Open when at least one part is."""

    parts: tuple["Expression", ...]


Expression: TypeAlias = Named | Both | Either


def parse_calendars(text: str) -> Expression:
    """Read an expression such as `(TARGET | NYSE) & LONDON`.

    Raises:
        InvalidRecurrence: it cannot be read; the message says where and what is expected.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidRecurrence(FIELD, f"At most {MAX_LENGTH} characters.")
    reader = _Reader(list(_tokens(text)))
    found = reader.either(0)
    if reader.next is not None:
        raise InvalidRecurrence(FIELD, f"“{reader.next}” is too much; write & or | between two calendars.")
    return found


def codes_of(expression: Expression) -> tuple[str, ...]:
    """The calendars that it names, each once, in order."""
    match expression:
        case Named(code=code):
            return (code,)
        case Both(parts=parts) | Either(parts=parts):
            return tuple(dict.fromkeys(code for part in parts for code in codes_of(part)))


def combine(expression: Expression, calendars: Mapping[str, Calendar]) -> Calendar:
    """The one calendar that it stands for. `calendars` has every name in it."""
    match expression:
        case Named(code=code):
            return calendars[code]
        case Both(parts=parts):
            return intersection(*(combine(part, calendars) for part in parts))
        case Either(parts=parts):
            return union(*(combine(part, calendars) for part in parts))


def canonical(expression: Expression, *, inside: bool = False) -> str:
    """The expression with one space around each sign and no parentheses that it does not need."""
    match expression:
        case Named(code=code):
            return code
        case Both(parts=parts):
            return " & ".join(canonical(part, inside=True) for part in parts)
        case Either(parts=parts):
            text = " | ".join(canonical(part) for part in parts)
            return f"({text})" if inside else text


def _tokens(text: str) -> Iterator[str]:
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            wrong = text[position:].lstrip()[:1]
            raise InvalidRecurrence(FIELD, f"“{wrong}” cannot stand here; write names of calendars with &, | and ( ).")
        position = match.end()
        token = match["sign"] or match["name"].upper()
        yield _WORDS.get(token, token)


class _Reader:
    """Recursive descent: either := both ('|' both)*, both := one ('&' one)*, one := name | '(' either ')'."""

    def __init__(self, tokens: list[str]) -> None:
        self.nexts = tokens
        self.at = 0

    @property
    def next(self) -> str | None:
        return self.nexts[self.at] if self.at < len(self.nexts) else None

    def either(self, depth: int) -> Expression:
        parts = [self.both(depth)]
        while self.next == "|":
            self.at += 1
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def both(self, depth: int) -> Expression:
        parts = [self.one(depth)]
        while self.next == "&":
            self.at += 1
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def one(self, depth: int) -> Expression:
        word = self.next
        if depth > MAX_DEPTH:
            raise InvalidRecurrence(FIELD, f"Parentheses are nested more than {MAX_DEPTH} deep; write it flatter.")
        if word is None:
            after = f"after “{self.nexts[-1]}”" if self.nexts else "here"
            raise InvalidRecurrence(FIELD, f"The name of a calendar is missing {after}.")
        self.at += 1
        if word == "(":
            inner = self.either(depth + 1)
            if self.next != ")":
                raise InvalidRecurrence(FIELD, "A “)” is missing.")
            self.at += 1
            return inner
        if word in "&|)":
            raise InvalidRecurrence(FIELD, f"The name of a calendar is missing before “{word}”.")
        return Named(word)
