"""The values that rules are given and give: their types, as ZEN reads them and as they are kept. Numbers stay exact.

ZEN computes with 96-bit decimals. Its Python binding answers with floats and reads too long a number as a float, so a
number goes in as the text of a JSON number that fits, and comes out as text.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

import orjson

MAX_COEFFICIENT = 2**96 - 1
MAX_SCALE = 28
MAX_TEXT = 4_000
MAX_TEXTS = 1_000
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_SECONDS_A_DAY = 86_400
_EPOCH = date(1970, 1, 1)


class ValueType(StrEnum):
    """What a fact or an answer can be."""

    TEXT = "text"
    CHOICE = "choice"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    TEXTS = "texts"


NUMBERS = frozenset({ValueType.INTEGER, ValueType.DECIMAL})
ORDERED = NUMBERS | {ValueType.DATE}
TYPE_WORDS: Mapping[ValueType, str] = {
    ValueType.TEXT: "a text", ValueType.CHOICE: "one of its options", ValueType.INTEGER: "a whole number",
    ValueType.DECIMAL: "a number", ValueType.BOOLEAN: "yes or no", ValueType.DATE: "a date such as 2026-10-30",
    ValueType.TEXTS: "a list of texts",
}  # fmt: skip


class BadValue(ValueError):
    """A value does not fit its type; the message says what to give instead."""


def read_value(type_: ValueType, given: Any, *, options: tuple[str, ...] = ()) -> Any:
    """The value in its type, out of what a service, a form or a JSON document gives; None stays None.

    Raises: BadValue. A float is refused for a number: it has lost what it was.
    """
    if given is None:
        return None
    match type_:
        case ValueType.INTEGER:
            return _whole(given)
        case ValueType.DECIMAL:
            return read_number(given)
        case ValueType.BOOLEAN:
            return _truth(given)
        case ValueType.DATE:
            return _date(given)
        case ValueType.TEXTS:
            return _texts(given)
    text = _text(given)
    if type_ is ValueType.CHOICE and text not in options:
        raise BadValue(f"“{text}” is none of its options: {', '.join(options) or 'it has none yet'}")
    return text


def read_number(given: Any) -> Decimal:
    """An exact number that ZEN can hold. Raises BadValue."""
    if isinstance(given, float):
        raise BadValue("write the number as a text, such as “0.10”: a binary fraction is not exact")
    if isinstance(given, str) and not _NUMBER.fullmatch(given.strip()):
        raise BadValue(f"“{given[:80]}” is not a number; write it like 1250000.50")
    if isinstance(given, bool) or not isinstance(given, int | str | Decimal):
        raise BadValue("give a number")
    try:
        number = Decimal(given)
    except InvalidOperation:
        raise BadValue("give a number") from None
    if not fits(number):
        raise BadValue("has more than 28 digits, so it could not be kept exactly; round it first")
    return number


def fits(number: Decimal) -> bool:
    """Whether ZEN holds the number exactly: a coefficient of 96 bits with at most 28 decimals."""
    if not number.is_finite():
        return False
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if -MAX_SCALE <= exponent <= 0 and len(digits) <= MAX_SCALE:
        return True
    text = "".join(map(str, digits))
    stripped = text.rstrip("0") or "0"
    exponent += len(text) - len(stripped) if stripped != "0" else -exponent
    if exponent > MAX_SCALE or len(stripped) > MAX_SCALE + 1:
        return False
    return -exponent <= MAX_SCALE and int(stripped) * 10 ** max(exponent, 0) <= MAX_COEFFICIENT


def number_text(number: Decimal) -> str:
    """As ZEN and JSON write it: no exponent, no zeros that would not fit."""
    text = f"{number:f}"
    if "." in text and len(text) > MAX_SCALE:
        text = text.rstrip("0").rstrip(".")
    return text


def _whole(given: Any) -> int:
    number = read_number(given)
    if number != number.to_integral_value():
        raise BadValue(f"{given} is not a whole number")
    return int(number)


def _truth(given: Any) -> bool:
    words = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(given, bool):
        return given
    if isinstance(given, str) and given.strip().lower() in words:
        return words[given.strip().lower()]
    raise BadValue("give true or false")


def _date(given: Any) -> date:
    if isinstance(given, datetime):
        raise BadValue("give a date without a time")
    if isinstance(given, date):
        return given
    try:
        return date.fromisoformat(given)
    except (TypeError, ValueError):
        raise BadValue(f"“{given}” is not a date; write it like 2026-10-30") from None


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise BadValue("give a text")
    if len(given) > MAX_TEXT:
        raise BadValue(f"is longer than {MAX_TEXT} characters")
    if "\x00" in given or any("\ud800" <= character <= "\udfff" for character in given):
        raise BadValue("contains a character that no text can have")
    return str(given)


def _texts(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",") if part.strip()]
    if not isinstance(given, list | tuple | set | frozenset) or len(given) > MAX_TEXTS:
        raise BadValue("give a list of texts")
    return tuple(_text(item) for item in (sorted(given) if isinstance(given, set | frozenset) else given))


def zen_json(value: Any) -> str:
    """A value as the JSON that ZEN is given."""
    match value:
        case Decimal():
            return number_text(value)
        case bool() | None | int():
            return orjson.dumps(value).decode() if not isinstance(value, int) or isinstance(value, bool) else str(value)
        case date():
            return f'"{value.isoformat()}"'
    return orjson.dumps(value).decode()


def day_number(day: date) -> int:
    """What ZEN's `date('2026-10-30')` is: seconds since 1970 at midnight UTC."""
    return (day - _EPOCH).days * _SECONDS_A_DAY


def read_answer(type_: ValueType, given: Any, *, options: tuple[str, ...] = ()) -> Any:
    """What ZEN answered, in its type; a number arrives as text. Raises BadValue."""
    if type_ in NUMBERS:
        if given is None or given == "null":
            return None
        if not isinstance(given, str):
            raise BadValue("gives no number")
        return read_value(type_, given)
    if type_ is ValueType.DATE and isinstance(given, str) and len(given) > len("2026-10-30"):
        return _date(given[:10]) if given[10:] in ("T00:00:00Z", " 00:00:00") else _date(given)
    if type_ is ValueType.DATE and isinstance(given, float):
        at = datetime.fromtimestamp(given, UTC)
        if given % _SECONDS_A_DAY:
            raise BadValue("gives a time; a date is wanted")
        return at.date()
    if type_ is ValueType.BOOLEAN and given is not None and not isinstance(given, bool):
        raise BadValue("gives neither true nor false")
    return read_value(type_, given, options=options)


def shown(value: Any) -> str:
    """A value in words, for messages and screens."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return number_text(value)
        case tuple() | list():
            return ", ".join(map(str, value)) or "an empty list"
    return str(value)
