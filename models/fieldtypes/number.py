"""Numbers: integer, decimal, percent, money (amount and currency), sequence. Exact everywhere, never a float."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import BigInteger, Column, Text

from models.fieldtypes.base import ORDERED, FieldError, FieldKind, check_bounds, column
from models.schema import FieldDef, FieldType
from models.types import AMOUNT_PRECISION, AMOUNT_SCALE, Amount

_CURRENCY = re.compile(r"^[A-Z]{3}$")
_BIGINT = 2**63 - 1


def parse_decimal(value: Any, *, precision: int, scale: int) -> Decimal:
    """Read an exact number from a string, an int or a JSON number. Raises FieldError."""
    if isinstance(value, bool):
        raise FieldError("must be a number")
    try:
        # A JSON number has passed through a float: its shortest text form is what the sender wrote.
        number = Decimal(str(value).strip()) if isinstance(value, str | int | float | Decimal) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise FieldError("must be a number, for example 1250.75")
    exponent = number.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > scale:
        raise FieldError(f"has more than {scale} decimals")
    if number.adjusted() >= precision - scale and number != 0:
        raise FieldError(f"is too large: at most {precision - scale} digits before the decimal point")
    return number


def plain(value: Decimal) -> str:
    """The shortest exact text, without an exponent: 1250.75, never 1.25075E+3."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


class Integer(FieldKind):
    type = FieldType.INTEGER
    widget = "number"
    operators = ORDERED
    python = int

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, BigInteger)]

    def parse(self, field: FieldDef, value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,19}\s*", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise FieldError("must be a whole number")
        if abs(value) > _BIGINT:
            raise FieldError("is too large")
        return check_bounds(field, value, low=field.min, high=field.max)

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        low = -_BIGINT if field.min is None else field.min
        return {"type": "integer", "minimum": low, "maximum": _BIGINT if field.max is None else field.max}


class Sequence(Integer):
    """Numbered by the database on insert; nobody writes it."""

    type = FieldType.SEQUENCE
    widget = "readonly"


class ExactDecimal(FieldKind):
    type = FieldType.DECIMAL
    widget = "decimal"
    operators = ORDERED
    python = Decimal

    def _size(self, field: FieldDef) -> tuple[int, int]:
        scale = AMOUNT_SCALE if field.scale is None else field.scale
        return field.precision or AMOUNT_PRECISION, scale

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, Amount(*self._size(field)))]

    def parse(self, field: FieldDef, value: Any) -> Any:
        precision, scale = self._size(field)
        number = parse_decimal(value, precision=precision, scale=scale)
        low, high = (None if bound is None else Decimal(str(bound)) for bound in (field.min, field.max))
        return check_bounds(field, number, low=low, high=high)

    def to_json(self, value: Any) -> Any:
        return None if value is None else plain(value)

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^-?[0-9]{1,38}(\.[0-9]{1,18})?$", "examples": ["1250.75"]}


class Percent(ExactDecimal):
    """Held in percent points: 12.5 means 12.5 %."""

    type = FieldType.PERCENT
    widget = "percent"

    def _size(self, field: FieldDef) -> tuple[int, int]:
        return field.precision or 12, 6 if field.scale is None else field.scale


class Money(ExactDecimal):
    """An amount with its currency: `{"amount": "12.50", "currency": "EUR"}`; held as a (amount, currency) pair."""

    type = FieldType.MONEY
    widget = "money"
    python = tuple[Decimal, str]

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [*super().columns(field), Column(f"{field.name}_currency", Text, nullable=True)]

    def parse(self, field: FieldDef, value: Any) -> Any:
        if isinstance(value, tuple) and len(value) == 2:
            value = {"amount": value[0], "currency": value[1]}
        if not isinstance(value, dict):
            if field.currency is None or isinstance(value, list | tuple):
                raise FieldError('must be an amount with a currency: {"amount": "12.50", "currency": "EUR"}')
            value = {"amount": value, "currency": field.currency}
        currency = value.get("currency") or field.currency
        if not isinstance(currency, str) or not _CURRENCY.match(currency):
            raise FieldError("needs a currency of three letters, for example EUR")
        if field.currency and currency != field.currency:
            raise FieldError(f"must be in {field.currency}")
        if value.get("amount") is None:
            raise FieldError("needs an amount")
        return (super().parse(field, value["amount"]), currency)

    def to_json(self, value: Any) -> Any:
        if value is None or value[0] is None:
            return None
        return {"amount": plain(value[0]), "currency": value[1]}

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["amount", "currency"],
            "additionalProperties": False,
            "properties": {
                "amount": super().json_schema(field),
                "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
            },
        }

    def from_text(self, field: FieldDef, text: str) -> Any:
        amount, _, currency = text.strip().partition(" ")
        return self.parse(field, {"amount": amount, "currency": currency or field.currency})

    def to_text(self, value: Any) -> str:
        return "" if value is None or value[0] is None else f"{plain(value[0])} {value[1]}"

    def split(self, field: FieldDef, value: Any) -> Mapping[str, Any]:
        amount, currency = value or (None, None)
        return {field.name: amount, f"{field.name}_currency": currency}

    def join(self, field: FieldDef, row: Mapping[str, Any]) -> Any:
        amount = row.get(field.name)
        return None if amount is None else (amount, row.get(f"{field.name}_currency"))


KINDS: tuple[FieldKind, ...] = (Integer(), Sequence(), ExactDecimal(), Percent(), Money())
