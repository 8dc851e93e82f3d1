"""Dates and times: date, instant (aware UTC), time of day, duration in ISO 8601."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Column, Date, Interval, Time

from models.fieldtypes.base import ORDERED, FieldError, FieldKind, check_bounds, column
from models.schema import FieldDef, FieldType
from models.types import UtcDateTime

_DURATION = re.compile(
    r"^(?P<sign>-)?P(?:(?P<days>\d{1,6})D)?(?:T(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,8})M)?(?:(?P<seconds>\d{1,9})S)?)?$"
)


class DateOnly(FieldKind):
    type = FieldType.DATE
    widget = "date"
    operators = ORDERED
    python = date

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, Date)]

    def parse(self, field: FieldDef, value: Any) -> Any:
        if isinstance(value, datetime):
            raise FieldError("must be a date without a time")
        if not isinstance(value, date):
            try:
                value = date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else None
            except ValueError:
                value = None
            if value is None:
                raise FieldError("must be a date such as 2026-10-30")
        low, high = (date.fromisoformat(str(b)) if b is not None else None for b in (field.min, field.max))
        return check_bounds(field, value, low=low, high=high)

    def to_json(self, value: Any) -> Any:
        return None if value is None else value.isoformat()

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {"type": "string", "format": "date"}


class Instant(FieldKind):
    type = FieldType.DATETIME
    widget = "datetime"
    operators = ORDERED
    python = datetime

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, UtcDateTime)]

    def parse(self, field: FieldDef, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.strip())
            except ValueError:
                value = None
        if not isinstance(value, datetime):
            raise FieldError("must be an instant such as 2026-10-30T16:00:00Z")
        if value.tzinfo is None:
            raise FieldError("needs a zone: end it with Z or an offset such as +01:00")
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise FieldError("is out of range") from None

    def to_json(self, value: Any) -> Any:
        return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


class TimeOfDay(FieldKind):
    type = FieldType.TIME
    widget = "time"
    operators = ORDERED
    python = time

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, Time)]

    def parse(self, field: FieldDef, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = time.fromisoformat(value.strip())
            except ValueError:
                value = None
        if not isinstance(value, time) or value.tzinfo is not None:
            raise FieldError("must be a time of day such as 16:30")
        return value

    def to_json(self, value: Any) -> Any:
        return None if value is None else value.isoformat()

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$", "examples": ["16:30"]}


class Duration(FieldKind):
    type = FieldType.DURATION
    widget = "duration"
    operators = ORDERED
    python = timedelta

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, Interval)]

    def parse(self, field: FieldDef, value: Any) -> Any:
        if isinstance(value, timedelta):
            return value
        match = _DURATION.match(value.strip()) if isinstance(value, str) else None
        if match is None or value.strip() in ("P", "-P", "PT", "-PT") or value.strip().endswith("T"):
            raise FieldError("must be a duration such as PT1H30M or P2D")
        parts = {name: int(n) for name, n in match.groupdict().items() if n and name != "sign"}
        length = timedelta(**parts)
        return -length if match["sign"] else length

    def to_json(self, value: Any) -> Any:
        if value is None:
            return None
        sign, value = ("-", -value) if value < timedelta(0) else ("", value)
        hours, rest = divmod(value.seconds, 3600)
        minutes, seconds = divmod(rest, 60)
        clock = "".join(f"{n}{u}" for n, u in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n)
        days = f"{value.days}D" if value.days else ""
        return f"{sign}P{days}{'T' + clock if clock else ''}" if days or clock else "PT0S"

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": r"^-?P(\d{1,6}D)?(T(\d{1,6}H)?(\d{1,8}M)?(\d{1,9}S)?)?$",
            "examples": ["PT1H30M"],
        }


KINDS: tuple[FieldKind, ...] = (DateOnly(), Instant(), TimeOfDay(), Duration())
