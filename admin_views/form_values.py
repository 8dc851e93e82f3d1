"""The way of a value between the record, the control that shows it, and what the service is given. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from starlette.datastructures import FormData

from admin_views.form_model import Control, FormModel, LinesModel
from admin_views.formats import Formats, clock_time
from app.core.errors import FieldProblem
from models.fieldtypes import FIELD_TYPES
from models.schema import EntityDef, FieldDef, FieldType

Raw = Any
"""What a control holds: text, a bool, a list of texts, or for money a mapping of amount and currency."""

_NUMERIC = (FieldType.DECIMAL, FieldType.PERCENT)
_JSON = (FieldType.JSON, FieldType.POLYMORPHIC_REFERENCE)
_OWN_NAMES = frozenset({"csrf_token", "row_version", "_then"})
LONGEST_JSON = 1_000_000


@dataclass(frozen=True, slots=True)
class PostedLine:
    """One row of child lines as it was sent."""

    id: str
    raw: Mapping[str, Raw]


@dataclass(slots=True)
class Posted:
    """A form as it was sent. `extra`: names that no control of the form has; the service refuses them."""

    raw: dict[str, Raw] = field(default_factory=dict)
    lines: dict[str, list[PostedLine]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Given:
    """What the service gets, and what could not even be read."""

    values: dict[str, Any] = field(default_factory=dict)
    problems: list[FieldProblem] = field(default_factory=list)


def currency_name(name: str) -> str:
    return f"{name}__currency"


def raw_of(definition: FieldDef, value: Any, formats: Formats) -> Raw:
    """A stored value as its control holds it."""
    if definition.type is FieldType.BOOLEAN:
        return value is True
    if definition.type is FieldType.MULTI_CHOICE:
        return list(value or ())
    if definition.type is FieldType.MONEY:
        amount, currency = value or (None, None)
        text = "" if amount is None else formats.number(amount, least=2)
        return {"amount": text, "currency": currency or definition.currency or ""}
    if value is None or definition.type is FieldType.SECRET:
        return ""
    if definition.type in _JSON:
        return json.dumps(FIELD_TYPES[definition.type].to_json(value), ensure_ascii=False, indent=2)
    match value:
        case Decimal():
            return formats.number(value)
        case datetime():
            return formats.wall(value)
        case time():
            return clock_time(value)
    json_value = FIELD_TYPES[definition.type].to_json(value)
    return "" if json_value is None else str(json_value)


def line_raw(definition: FieldDef, json_value: Any, formats: Formats) -> Raw:
    """A value of a child line, which records hold as JSON, as its control holds it."""
    if json_value is None or definition.type is FieldType.BOOLEAN or definition.type in _JSON:
        return raw_of(definition, json_value, formats) if definition.type not in _JSON else _dumped(json_value)
    return raw_of(definition, FIELD_TYPES[definition.type].parse(definition, json_value), formats)


def _dumped(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, indent=2)


def default_raw(definition: FieldDef, formats: Formats, *, variables: Mapping[str, Any]) -> Raw:
    """What a new record's control holds."""
    value = variables.get(definition.default_expr) if definition.default_expr else definition.default
    if value is not None and value != "":
        value = FIELD_TYPES[definition.type].parse(definition, value)
    return raw_of(definition, value, formats)


def read_posted(model: FormModel, form: FormData) -> Posted:
    """Take a form apart by the controls that the entity has; what belongs to none is `extra`."""
    posted = Posted()
    known: set[str] = set(_OWN_NAMES)
    for control in model.controls:
        name = control.field.name
        known |= {name, currency_name(name)}
        raw = _posted_raw(control.field, form, name)
        if raw is not None:
            posted.raw[name] = raw
    prefixes = tuple(f"{lines.field.name}-" for lines in model.lines)
    for lines in model.lines:
        rows = _posted_lines(lines, form)
        if rows is not None:
            posted.lines[lines.field.name] = rows
    for name in form:
        if name not in known and not (prefixes and name.startswith(prefixes)):
            posted.extra[name] = _text(form.get(name))
    return posted


def _posted_raw(definition: FieldDef, form: FormData, name: str) -> Raw | None:
    if name not in form:
        return None
    values = [_text(value) for value in form.getlist(name)]
    # Check boxes send nothing when they are off: a hidden empty value before them says that they were there.
    if definition.type is FieldType.BOOLEAN:
        return values[-1] == "true"
    if definition.type is FieldType.MULTI_CHOICE:
        return [value for value in values if value]
    if definition.type is FieldType.MONEY:
        currency = _text(form.get(currency_name(name))) or definition.currency or ""
        return {"amount": values[-1], "currency": currency}
    return values[-1]


def _text(value: Any) -> str:
    return value.replace("\r\n", "\n") if isinstance(value, str) else ""


def _posted_lines(lines: LinesModel, form: FormData) -> list[PostedLine] | None:
    name = lines.field.name
    if f"{name}-_count" not in form:
        return None
    rows: list[PostedLine] = []
    # The order of the rows on the page is the order in which they were sent, whatever their numbers say.
    for index in _indexes(form, name):
        if form.get(f"{name}-{index}-_delete"):
            continue
        id_ = _text(form.get(f"{name}-{index}-_id"))
        raw = {
            control.field.name: value
            for control in lines.controls
            if (value := _posted_raw(control.field, form, f"{name}-{index}-{control.field.name}")) is not None
        }
        if id_ or any(_filled(value) for value in raw.values()):
            rows.append(PostedLine(id_, raw))
    return rows


def _indexes(form: FormData, name: str) -> Iterable[str]:
    found: dict[str, None] = {}
    for key in form:
        if key.startswith(f"{name}-") and key.endswith("-_id"):
            index = key.removeprefix(f"{name}-").removesuffix("-_id")
            if index.isascii() and index.isdigit():
                found[index] = None
    return found


def _filled(raw: Raw) -> bool:
    return bool(raw.get("amount")) if isinstance(raw, dict) else raw not in ("", False, [])


def read_raw(definition: FieldDef, raw: Raw, formats: Formats, path: str) -> tuple[Any, FieldProblem | None]:
    """What a control holds as the JSON value that the service checks."""
    if isinstance(raw, bool | list):
        return raw, None
    if isinstance(raw, dict):
        if not raw.get("amount", "").strip():
            return None, None
        return {"amount": formats.read_number(raw["amount"]), "currency": raw.get("currency") or None}, None
    text = str(raw)
    if not text.strip():
        return None, None
    if definition.type in _NUMERIC:
        return formats.read_number(text), None
    if definition.type is FieldType.INTEGER:
        number = formats.read_number(text)
        return (int(number) if number.lstrip("+-").isdigit() and len(number) < 20 else text.strip()), None
    if definition.type is FieldType.DATETIME:
        return formats.from_wall(text), None
    if definition.type in _JSON:
        return _read_json(text, path)
    return text if definition.type in (FieldType.LONG_TEXT, FieldType.MARKDOWN, FieldType.CODE) else text.strip(), None


def _read_json(text: str, path: str) -> tuple[Any, FieldProblem | None]:
    if len(text) > LONGEST_JSON:
        return None, FieldProblem(path, "is larger than 1 MB")
    try:
        return json.loads(text), None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        return None, FieldProblem(path, f"is not JSON: {error.msg[:1].lower()}{error.msg[1:]} at {where}")
    except RecursionError:
        return None, FieldProblem(path, "is nested too deeply")


def given_values(model: FormModel, posted: Posted, formats: Formats, *, record: Mapping[str, Any] | None) -> Given:
    """What to write. Of a record that exists only what differs from it, so that nothing is rounded or reformatted."""
    given = Given()
    for control in model.controls:
        definition, name = control.field, control.field.name
        if name not in posted.raw:
            continue
        raw = posted.raw[name]
        if definition.type is FieldType.SECRET and raw == "":
            continue
        if record is not None and raw == _unbroken(raw_of(definition, record.get(name), formats)):
            continue
        if record is None and not definition.writable and raw == "":
            continue
        value, problem = read_raw(definition, raw, formats, name)
        given.values[name] = value
        if problem is not None:
            given.problems.append(problem)
    for lines in model.lines:
        _add_lines(given, lines, posted, formats, record)
    given.values |= posted.extra
    return given


def _unbroken(raw: Raw) -> Raw:
    return raw.replace("\r\n", "\n") if isinstance(raw, str) else raw


def _add_lines(
    given: Given, lines: LinesModel, posted: Posted, formats: Formats, record: Mapping[str, Any] | None
) -> None:
    name = lines.field.name
    rows = posted.lines.get(name)
    if rows is None or (record is not None and _same_lines(lines, rows, record.get(name) or (), formats)):
        return
    values: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        line: dict[str, Any] = {"id": row.id} if row.id else {}
        for control in lines.controls:
            if control.field.name not in row.raw:
                continue
            path = f"{name}.{number}.{control.field.name}"
            value, problem = read_raw(control.field, row.raw[control.field.name], formats, path)
            line[control.field.name] = value
            if problem is not None:
                given.problems.append(problem)
        values.append(line)
    if values or record is not None:
        given.values[name] = values


def _same_lines(
    lines: LinesModel, rows: Sequence[PostedLine], stored: Sequence[Mapping[str, Any]], formats: Formats
) -> bool:
    if [row.id for row in rows] != [str(line.get("id")) for line in stored]:
        return False
    return all(
        row.raw[control.field.name] == _unbroken(line_raw(control.field, line.get(control.field.name), formats))
        for row, line in zip(rows, stored, strict=True)
        for control in lines.controls
        if control.field.name in row.raw
    )


def editable(entity: EntityDef, writable: frozenset[str], definition: FieldDef, *, exists: bool) -> bool:
    """Whether the actor may change the field on this form; the service decides again."""
    return definition.name in writable and definition.writable and not (exists and definition.immutable)


def shown_controls(model: FormModel, names: Iterable[str]) -> tuple[Control, ...]:
    wanted = set(names)
    return tuple(control for control in model.controls if control.field.name in wanted)
