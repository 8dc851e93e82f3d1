"""A trigger as the platform uses it, read from its row; what it can be about. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from app.core.errors import FieldProblem, ValidationFailed
from models.schema import IDENTIFIER, EntityDef, FieldDef, FieldType

MAX_PAYLOAD_FIELDS = 40
PAYLOAD_TYPES = (
    FieldType.TEXT, FieldType.INTEGER, FieldType.DECIMAL, FieldType.BOOLEAN, FieldType.DATE, FieldType.DATETIME,
)  # fmt: skip
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]{0,47})\}")
_PATH = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,9}")


class TriggerKind(StrEnum):
    EVENT = "event"
    WEBHOOK = "webhook"
    FILE = "file"
    SCHEDULE = "schedule"
    RUN_STATE = "run_state"


class FileSource(StrEnum):
    FOLDER = "folder"
    DOCUMENT = "document"


class DateRule(StrEnum):
    PAYLOAD = "payload"
    TODAY = "today"
    WORKING_DAY = "working_day"
    PREVIOUS_WORKING_DAY = "previous_working_day"


@dataclass(frozen=True, slots=True)
class PayloadField:
    """A value that a call carries: where it stands in the JSON, and what it is."""

    name: str
    path: tuple[str, ...]
    type: FieldType


@dataclass(frozen=True, slots=True)
class Trigger:
    """An active or inactive row of `event_trigger`."""

    id: UUID
    code: str
    kind: TriggerKind
    active: bool
    workflow_id: UUID
    entity: str | None
    change: str | None
    source_workflow_id: UUID | None
    run_state: str | None
    source_schedule_id: UUID | None
    source: str | None
    folder: str
    file_name: str
    payload_fields: tuple[PayloadField, ...]
    condition: Mapping[str, Any] | None
    date_rule: DateRule
    date_field: str
    node_id: UUID | None
    node_field: str | None
    variant: str
    variant_field: str | None
    most_per_hour: int

    @property
    def subject(self) -> str | None:
        """The entity whose record the condition is about; None where it is about what arrives itself."""
        match self.kind:
            case TriggerKind.EVENT:
                return self.entity
            case TriggerKind.SCHEDULE | TriggerKind.RUN_STATE:
                return "workflow_run"
            case TriggerKind.FILE if self.source == FileSource.DOCUMENT:
                return "file"
            case _:
                return None

    @property
    def key(self) -> tuple[str, Any]:
        """By what an occurrence finds its triggers."""
        match self.kind:
            case TriggerKind.EVENT:
                return "event", self.entity
            case TriggerKind.SCHEDULE:
                return "schedule", self.source_schedule_id
            case TriggerKind.RUN_STATE:
                return "run_state", (self.source_workflow_id, self.run_state)
            case TriggerKind.WEBHOOK:
                return "webhook", None
            case TriggerKind.FILE:
                return "file", self.source

    @property
    def payload_entity(self) -> EntityDef:
        """What arrives, as an entity: conditions on it are checked as those on any other."""
        if self.kind is TriggerKind.FILE:
            fields = {"name": FieldType.TEXT, "folder": FieldType.TEXT, "size": FieldType.INTEGER}
            fields |= dict.fromkeys(placeholders(self.file_name), FieldType.TEXT)
        else:
            fields = {field.name: field.type for field in self.payload_fields}
        return EntityDef(
            id="payload", name="payload", label="What arrives", label_plural="What arrives", slug="payload",
            module="triggers", title_field="id", default_sort="id",
            fields=tuple(_field(name, type_) for name, type_ in fields.items()),
        )  # fmt: skip


def _field(name: str, type_: FieldType) -> FieldDef:
    label = name.replace("_", " ").capitalize()
    return FieldDef(id=f"payload.{name}", name=name, label=label, type=type_)


def trigger_of(row: Mapping[str, Any]) -> Trigger:
    """Read a row. Raises ValidationFailed where its JSON says nothing that can be used."""
    return Trigger(
        id=row["id"],
        code=row["code"],
        kind=TriggerKind(row["kind"]),
        active=row["active"],
        workflow_id=row["workflow_id"],
        entity=row["entity"],
        change=row["change"],
        source_workflow_id=row["source_workflow_id"],
        run_state=row["run_state"],
        source_schedule_id=row["source_schedule_id"],
        source=row["source"],
        folder=folder_of(row["folder"]),
        file_name=row["file_name"] or "",
        payload_fields=payload_fields_of(row["payload_fields"]),
        condition=row["condition"],
        date_rule=DateRule(row["business_date_rule"]),
        date_field=row["date_field"] or "business_date",
        node_id=row["node_id"],
        node_field=row["node_field"] or None,
        variant=row["variant"] or "",
        variant_field=row["variant_field"] or None,
        most_per_hour=row["most_per_hour"],
    )


def payload_fields_of(given: Any) -> tuple[PayloadField, ...]:
    """Read `{"business_date": "date", "amount": {"path": "data.amount", "type": "decimal"}}`."""
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise _refused("payload_fields", 'Write an object such as {"business_date": "date"}.')
    if len(given) > MAX_PAYLOAD_FIELDS:
        raise _refused("payload_fields", f"At most {MAX_PAYLOAD_FIELDS} fields.")
    return tuple(_payload_field(str(name), said) for name, said in given.items())


def _payload_field(name: str, said: Any) -> PayloadField:
    path, type_ = (said.get("path", name), said.get("type", "text")) if isinstance(said, Mapping) else (name, said)
    if not IDENTIFIER.match(name):
        raise _refused("payload_fields", f"{name!r} is no name of a field: lower case letters, digits and _.")
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise _refused("payload_fields", f"{name}: a path is names with dots between them, such as data.amount.")
    if type_ not in PAYLOAD_TYPES:
        raise _refused("payload_fields", f"{name}: the type is one of {', '.join(PAYLOAD_TYPES)}, not {type_!r}.")
    return PayloadField(name, tuple(path.split(".")), FieldType(type_))


def folder_of(text: str | None) -> str:
    """A folder below the inbox, `rates/ecb`; empty for the inbox itself."""
    parts = PurePosixPath((text or "").strip().replace("\\", "/").strip("/")).parts
    if any(part in ("..", ".") or part.startswith(".") or "\0" in part for part in parts):
        raise _refused("folder", "Name a folder below the inbox, such as rates/ecb.")
    return "/".join(parts)


def placeholders(pattern: str) -> tuple[str, ...]:
    return tuple(_PLACEHOLDER.findall(pattern))


def name_pattern(pattern: str) -> re.Pattern[str]:
    """What `rates_{business_date}*.csv` matches; placeholders are groups. Raises ValidationFailed."""
    names = placeholders(pattern)
    if len(set(names)) != len(names):
        raise _refused("file_name", "Each name in { } may stand once.")
    if not pattern.strip() or "/" in pattern:
        raise _refused("file_name", "Write the name of a file, such as rates_{business_date}.csv.")
    if "{" in _PLACEHOLDER.sub("", pattern) or "}" in _PLACEHOLDER.sub("", pattern):
        raise _refused("file_name", "Between { and } stands a name of lower case letters, such as {business_date}.")
    if set(names) & {"name", "folder", "size"}:
        raise _refused("file_name", "name, folder and size are there anyway; choose another name in { }.")
    parts: list[str] = []
    position = 0
    for match in re.finditer(r"\{([a-z][a-z0-9_]*)\}|\*", pattern):
        parts.append(re.escape(pattern[position : match.start()]))
        # A placeholder takes letters, digits and dashes, so that it ends where a * can begin.
        parts.append(f"(?P<{match[1]}>[A-Za-z0-9-]{{1,64}})" if match[1] else "[^/]{0,200}")
        position = match.end()
    parts.append(re.escape(pattern[position:]))
    if len(parts) > 21:
        raise _refused("file_name", "At most ten * and { } in a name.")
    return re.compile("".join(parts))


def _refused(field: str, message: str) -> ValidationFailed:
    return ValidationFailed([FieldProblem(field, message)])
