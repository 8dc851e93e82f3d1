"""Keyset pagination: sort keys, the condition that continues after a row, and the opaque cursor that carries it."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, and_, false, or_

from app.core.errors import InvalidRequest
from models.fieldtypes import FieldError, FieldKind
from models.schema import FieldDef


@dataclass(frozen=True)
class SortKey:
    """One key of the order; nulls come last in both directions."""

    name: str
    descending: bool
    column: ColumnElement[Any]
    kind: FieldKind
    field: FieldDef

    def order(self) -> ColumnElement[Any]:
        return (self.column.desc() if self.descending else self.column.asc()).nulls_last()


def after(keys: Sequence[SortKey], values: Sequence[Any]) -> ColumnElement[bool]:
    """The rows that follow the one with these key values."""
    alternatives: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for key, value in zip(keys, values, strict=True):
        if value is None:
            following: ColumnElement[bool] = false()
            same: ColumnElement[bool] = key.column.is_(None)
        else:
            beyond = key.column < value if key.descending else key.column > value
            following = or_(beyond, key.column.is_(None)) if key.name != "id" else beyond
            same = key.column == value
        alternatives.append(and_(*equal, following))
        equal.append(same)
    return or_(*alternatives)


def encode(keys: Sequence[SortKey], values: Sequence[Any]) -> str:
    """An opaque, URL-safe cursor after the row with these values."""
    payload = [_signature(keys), [key.kind.to_json(value) for key, value in zip(keys, values, strict=True)]]
    return base64.urlsafe_b64encode(orjson.dumps(payload)).rstrip(b"=").decode()


def decode(keys: Sequence[SortKey], cursor: str) -> list[Any]:
    """The key values of a cursor. Raises InvalidRequest when it is not one of this list and order."""
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        signature, values = orjson.loads(raw)
        if signature != _signature(keys) or len(values) != len(keys):
            raise ValueError
        return [
            None if value is None else key.kind.parse(key.field, value) for key, value in zip(keys, values, strict=True)
        ]
    except (ValueError, TypeError, binascii.Error, UnicodeEncodeError, FieldError):
        raise InvalidRequest("The cursor does not belong to this list and order; start without one.") from None


def _signature(keys: Sequence[SortKey]) -> str:
    return ",".join(f"{'-' if key.descending else ''}{key.name}" for key in keys)
