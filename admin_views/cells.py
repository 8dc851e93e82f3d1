"""A value of a record as a cell: its text in the person's locale and zone, its tone, its icon, its link."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

from admin_views.formats import Formats, clock_time, duration
from admin_views.navigation import record_path
from models.registry import Registry
from models.schema import FieldDef, FieldType

Cell = dict[str, Any]
Titles = Mapping[tuple[str, UUID], str]

MAX_CELL_TEXT = 160
MOST_PLACES = 6

# States and categories that have a colour of their own in the visual language.
TONES = frozenset({
    "planned", "blocked", "ready", "assigned", "in_progress", "submitted", "in_review", "done", "failed", "rejected",
    "on_hold", "waiting", "skipped", "stale", "cancelled", "draft", "active", "final", "void", "open", "ok", "warn",
    "breach", "info",
})  # fmt: skip
# Values that say a state in other words.
_SAID_OTHERWISE = {
    "queued": "planned", "scheduled": "planned", "pending": "waiting", "running": "in_progress", "completed": "done",
    "succeeded": "done", "approved": "done", "published": "done", "met": "done", "sent": "done", "missed": "breach",
    "breached": "breach", "error": "failed", "aborted": "cancelled", "dead": "failed", "retired": "void",
    "paused": "on_hold", "retrying": "warn", "accepted": "done", "explained": "done",
}  # fmt: skip

_TEXTUAL = (FieldType.LONG_TEXT, FieldType.MARKDOWN, FieldType.CODE)
_NUMERIC = (FieldType.INTEGER, FieldType.DECIMAL, FieldType.PERCENT, FieldType.SEQUENCE)


@dataclass(frozen=True, slots=True)
class Drawing:
    """What drawing cells needs to know. `readable` says whether the actor may open records of an entity."""

    registry: Registry
    formats: Formats
    readable: Callable[[str], bool]
    titles: Titles = field(default_factory=dict)
    masked: frozenset[str] = frozenset()
    whole: bool = False  # a record's page shows all of a value, a list the beginning
    header_zone: str = ""  # the zone that the column's head names already
    places: Mapping[str, int] = field(default_factory=dict)


def type_of(definition: FieldDef) -> FieldType:
    """The type of the values: a computed field has that of its result."""
    return definition.result if definition.type is FieldType.COMPUTED and definition.result else definition.type


def column_kind(definition: FieldDef) -> str:
    """How a column of the field is laid out."""
    type_ = type_of(definition)
    if type_ in _NUMERIC:
        return "number"
    if definition.is_reference:
        return "link"
    return {
        FieldType.MONEY: "money", FieldType.DATE: "date", FieldType.DATETIME: "date", FieldType.TIME: "date",
        FieldType.BOOLEAN: "bool", FieldType.CHOICE: "state", FieldType.SECRET: "secret",
    }.get(type_, "text")  # fmt: skip


def places_of(definition: FieldDef, values: list[Any]) -> int | None:
    """How many decimals a column shows: as many as its values need, within what a person can read."""
    type_ = type_of(definition)
    if type_ not in (FieldType.DECIMAL, FieldType.PERCENT, FieldType.MONEY):
        return None
    bound = 2 if definition.scale is None else min(definition.scale, MOST_PLACES)
    least = 2 if type_ is FieldType.MONEY else 0
    needed = least
    for value in values:
        number = value[0] if isinstance(value, tuple) else value
        if isinstance(number, Decimal):
            exponent = number.normalize().as_tuple().exponent
            needed = max(needed, -exponent if isinstance(exponent, int) else 0)
    return min(needed, max(bound, least))


def cell_of(definition: FieldDef, value: Any, drawing: Drawing, *, title: str | None = None) -> Cell:
    """One value as steps/_cells.html draws it. `title`: that of the record referred to, where it is known."""
    if definition.name in drawing.masked and value is not None and definition.type is not FieldType.SECRET:
        return {"kind": "masked", "text": ""}
    if value is None or value in ("", []):
        return {"kind": column_kind(definition), "text": ""}
    if definition.is_reference:
        return _reference(definition, value, title, drawing)
    match type_of(definition):
        case FieldType.CHOICE:
            return _choice(definition, str(value))
        case FieldType.MULTI_CHOICE:
            return {"kind": "text", "text": ", ".join(_option(definition, item).label for item in value)}
        case FieldType.BOOLEAN:
            return {"kind": "bool", "text": "Yes" if value else "No", "tone": "yes" if value else "no"}
        case FieldType.MONEY:
            return _money(definition, value, drawing)
        case FieldType.INTEGER | FieldType.SEQUENCE:
            return _number(drawing.formats.number(int(value)), int(value) < 0)
        case FieldType.DECIMAL:
            return _number(_exact(definition, value, drawing), value < 0)
        case FieldType.PERCENT:
            return _number(f"{_exact(definition, value, drawing)}\u00a0%", value < 0)
        case FieldType.POLYMORPHIC_REFERENCE:
            return _any_record(value, drawing)
        case FieldType.SECRET:
            return {"kind": "secret", "text": "set"}
        case FieldType.MARKDOWN if drawing.whole:
            return {"kind": "markdown", "html": markdown(str(value)), "text": str(value)}
        case FieldType.JSON:
            text = json.dumps(value, ensure_ascii=False, indent=2 if drawing.whole else None, default=str)
            return {"kind": "long", "text": text} if drawing.whole else _text(text, drawing)
        case FieldType.EMAIL:
            return {"kind": "link", "text": str(value), "href": f"mailto:{value}" if drawing.whole else None}
        case FieldType.PHONE:
            return {"kind": "link", "text": str(value), "href": f"tel:{value}" if drawing.whole else None}
        case FieldType.URL:
            safe = urlsplit(str(value)).scheme in ("http", "https")
            return {"kind": "link", "text": str(value), "href": str(value) if safe else None}
        case type_ if type_ in _TEXTUAL and drawing.whole:
            return {"kind": "long", "text": str(value)}
    return _plain(value, drawing)


def _plain(value: Any, drawing: Drawing) -> Cell:
    match value:
        case datetime():
            zone = drawing.formats.zone_name(value) != drawing.header_zone
            return {"kind": "date", "text": drawing.formats.instant(value, zone=zone)}
        case date():
            return {"kind": "date", "text": drawing.formats.date(value)}
        case time():
            return {"kind": "date", "text": clock_time(value)}
        case timedelta():
            return {"kind": "text", "text": duration(value)}
        case Decimal():
            return _number(drawing.formats.number(value), value < 0)
    return _text(str(value), drawing)


def _text(text: str, drawing: Drawing) -> Cell:
    short = text if drawing.whole or len(text) <= MAX_CELL_TEXT else f"{text[:MAX_CELL_TEXT]}…"
    return {"kind": "text", "text": short}


def _number(text: str, negative: bool) -> Cell:
    return {"kind": "number", "text": text, "tone": "neg" if negative else None}


def _exact(definition: FieldDef, value: Decimal, drawing: Drawing) -> str:
    places = drawing.places.get(definition.name)
    if places is None and definition.type is FieldType.COMPUTED:
        places = places_of(definition, [value])
    return drawing.formats.number(value, places=places)


def _money(definition: FieldDef, value: tuple[Decimal, str | None], drawing: Drawing) -> Cell:
    amount, currency = value
    places = drawing.places.get(definition.name)
    text = drawing.formats.number(amount, places=places, least=0 if places is not None else 2)
    shown = f"{text}\u00a0{currency}" if currency else text
    return {"kind": "money", "text": shown, "tone": "neg" if amount < 0 else None}


def _option(definition: FieldDef, value: Any) -> Any:
    return next((o for o in definition.options if o.value == value), _Unknown(str(value)))


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A stored value that the definition does not list any more."""

    label: str
    colour: str | None = None
    icon: str | None = None


def tone_of(definition: FieldDef, value: str) -> str | None:
    """The colour of a choice: its own, or that of the state its value names; None for a plain word."""
    colour = _option(definition, value).colour
    if colour in TONES:
        return str(colour)
    return value if value in TONES else _SAID_OTHERWISE.get(value)


def _choice(definition: FieldDef, value: str) -> Cell:
    option, tone = _option(definition, value), tone_of(definition, value)
    if tone is None:
        return {"kind": "text", "text": option.label}
    return {"kind": "state", "text": option.label, "tone": tone, "icon": option.icon}


def _reference(definition: FieldDef, value: Any, title: str | None, drawing: Drawing) -> Cell:
    target = definition.target or ""
    id_ = value if isinstance(value, UUID) else UUID(str(value))
    text = title if title is not None else drawing.titles.get((target, id_))
    if text is None:
        return {"kind": "masked", "text": ""}
    return {"kind": "link", "text": text or "(untitled)", "href": _href(target, id_, drawing)}


def _href(target: str, id_: UUID, drawing: Drawing) -> str | None:
    entity = drawing.registry.entities.get(target)
    if entity is None or not drawing.readable(target):
        return None
    return record_path(entity, id_)


def _any_record(value: tuple[str, UUID], drawing: Drawing) -> Cell:
    target, id_ = value
    entity = drawing.registry.entities.get(target)
    label = entity.label if entity else target
    text = drawing.titles.get((target, id_))
    return {"kind": "link", "text": f"{label} {text}" if text else label, "href": _href(target, id_, drawing)}


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")


def markdown(text: str) -> Markup:
    """Markdown as clean HTML: without raw HTML, scripts or foreign images."""
    html = nh3.clean(_markdown().render(text), url_schemes={"http", "https", "mailto"}, link_rel="noopener noreferrer")
    return Markup(html)  # noqa: S704  (cleaned in the line above)
