"""Column types shared by every table."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import DateTime, Dialect, Numeric
from sqlalchemy.types import TypeDecorator, UserDefinedType

AMOUNT_PRECISION = 38
AMOUNT_SCALE = 18


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant, stored as timestamptz. Refuses naive values: a missing zone is a bug, not a default."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: instants are aware UTC")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None


class Amount(TypeDecorator[Decimal]):
    """An exact amount: numeric(38, 18) by default. Floats are refused."""

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int = AMOUNT_PRECISION, scale: int = AMOUNT_SCALE) -> None:
        super().__init__(precision, scale, asdecimal=True)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | None:
        if isinstance(value, float):
            raise ValueError(f"float {value!r} where an exact Decimal is needed")
        return value


class Ltree(UserDefinedType[str]):
    """A materialised path of labels, from the ltree extension; asyncpg sends and reads it as text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "ltree"
