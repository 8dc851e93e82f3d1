"""The metadata language: what an entity is, in frozen pydantic models.

Everything else (table, migration, REST resource, screen, permission objects, audit, search) is derived from these.
Definitions are written as YAML (`models/definitions`), one file per entity, and read by `models.loader`.
"""

import re
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from models.lifecycle import LifecycleDef
from models.sla import PolicyDef

# Names that SQLAlchemy's declarative classes or the always-present columns already use.
RESERVED_FIELD_NAMES = frozenset({
    "metadata", "registry", "id", "row_version", "created_at", "created_by", "updated_at", "updated_by", "deleted_at",
})  # fmt: skip
IDENTIFIER = re.compile(r"^[a-z][a-z0-9_]{0,47}$")

SITE_SCHEMA = "ext"

Condition = dict[str, Any]
"""A filter in the one grammar of `app.core.filters`; kept as plain data here."""


class FieldType(StrEnum):
    TEXT = "text"
    LONG_TEXT = "long_text"
    MARKDOWN = "markdown"
    CODE = "code"
    EMAIL = "email"
    URL = "url"
    PHONE = "phone"
    INTEGER = "integer"
    DECIMAL = "decimal"
    MONEY = "money"
    PERCENT = "percent"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    TIME = "time"
    DURATION = "duration"
    CHOICE = "choice"
    MULTI_CHOICE = "multi_choice"
    REFERENCE = "reference"
    POLYMORPHIC_REFERENCE = "polymorphic_reference"
    USER = "user"
    HIERARCHY_NODE = "hierarchy_node"
    LINES = "lines"
    JSON = "json"
    FILE = "file"
    IMAGE = "image"
    SECRET = "secret"  # noqa: S105
    COMPUTED = "computed"
    SEQUENCE = "sequence"


class EntityKind(StrEnum):
    DOCUMENT = "document"
    CHILD = "child"
    TREE = "tree"
    SINGLETON = "singleton"
    REFERENCE = "reference"


class Classification(StrEnum):
    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


class Layer(StrEnum):
    CORE = "core"
    PRODUCT = "product"
    SITE = "site"


class Definition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Option(Definition):
    value: str
    label: str
    colour: str | None = None
    icon: str | None = None
    order: int = 0


class ReferenceOptions(Definition):
    target: str
    on_delete: Literal["restrict", "cascade", "set_null"] = "restrict"
    filter: Condition | None = None
    inverse: str | None = None


class Lookup(Definition):
    """Fetch a value through a reference path: `live` on each read, `snapshot` once when the record is written."""

    path: str
    mode: Literal["live", "snapshot"] = "live"


class FieldDef(Definition):
    """One field. `id` never changes, so a renamed field is a rename and never a drop and an add."""

    id: str
    name: str
    label: str
    type: FieldType
    help: str = ""
    required: bool = False
    required_if: Condition | None = None
    visible_if: Condition | None = None
    read_only_if: Condition | None = None
    read_only: bool = False  # set by services only; no form, API call or import writes it
    editable_in_states: tuple[str, ...] | None = None
    default: Any = None
    # $token: a name that cannot be guessed; for read-only fields, and only where the field is visible.
    default_expr: Literal["$now", "$today", "$me", "$business_date", "$token"] | None = None
    computed: str | None = None
    stored: bool = True  # computed fields: a generated column, or evaluated on read
    result: FieldType | None = None  # computed fields: the type of the value
    lookup: Lookup | None = None
    unique: bool = False
    index: bool = False
    min: Any = None
    max: Any = None
    length: int | None = None
    pattern: str | None = None
    precision: int | None = None
    scale: int | None = None
    currency: str | None = None  # money: a fixed currency; none = a currency column beside the amount
    options: tuple[Option, ...] = ()
    reference: ReferenceOptions | None = None
    access_group: str = "standard"
    mask: str | None = None
    immutable: bool = False
    copyable: bool = True
    in_list: bool = False
    in_filter: bool = False
    in_search: bool = False
    in_quick_create: bool = False
    section: str | None = None
    tab: str | None = None
    width: Literal["quarter", "third", "half", "full"] = "third"
    order: int = 0
    deprecated: bool = False

    @field_validator("name")
    @classmethod
    def _identifier(cls, name: str) -> str:
        if not IDENTIFIER.match(name):
            raise ValueError(f"field name {name!r} must be lower case letters, digits and _, at most 48 characters")
        if name in RESERVED_FIELD_NAMES:
            raise ValueError(f"field name {name!r} is reserved; choose another")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> "FieldDef":
        if self.type in (FieldType.CHOICE, FieldType.MULTI_CHOICE) and not self.options:
            raise ValueError(f"field {self.name!r}: a {self.type} needs options")
        if self.type in (FieldType.REFERENCE, FieldType.LINES) and self.reference is None:
            raise ValueError(f"field {self.name!r}: a {self.type} needs reference.target")
        if self.type is FieldType.COMPUTED and not (self.computed and self.result):
            raise ValueError(
                f"field {self.name!r}: a computed field needs computed (an expression) and result (a type)"
            )
        if self.type is not FieldType.COMPUTED and self.computed:
            raise ValueError(f"field {self.name!r}: only a field of type computed has an expression")
        if self.pattern is not None:
            re.compile(self.pattern)
        return self

    @property
    def is_reference(self) -> bool:
        return self.type in (
            FieldType.REFERENCE,
            FieldType.USER,
            FieldType.HIERARCHY_NODE,
            FieldType.FILE,
            FieldType.IMAGE,
        )

    @property
    def target(self) -> str | None:
        """The entity a reference (or child lines) points at."""
        implied = {
            FieldType.USER: "user",
            FieldType.HIERARCHY_NODE: "hierarchy_node",
            FieldType.FILE: "file",
            FieldType.IMAGE: "file",
        }
        return implied.get(self.type) or (self.reference.target if self.reference else None)

    @property
    def column(self) -> str:
        """The column that holds the value: references are stored as `<name>_id`."""
        return f"{self.name}_id" if self.is_reference else self.name

    @property
    def is_live_lookup(self) -> bool:
        """Read through its path each time, so it has no column."""
        return self.lookup is not None and self.lookup.mode == "live"

    @property
    def writable(self) -> bool:
        return not (self.read_only or self.computed or self.lookup or self.type is FieldType.SEQUENCE)


class ReferenceNumber(Definition):
    """A human reference such as `TRD-2026-000042`: `pattern` with {year} {month} {seq:06d}, counted per `reset`.

    Numbers come from a counter row that is locked until the commit: without gaps, and never twice.
    """

    pattern: str
    field: str = "reference"
    reset: Literal["never", "year", "month"] = "never"


class ConstraintDef(Definition):
    """`message` is what a person reads when the database refuses the row; it says what to change."""

    name: str
    kind: Literal["unique", "check"]
    fields: tuple[str, ...] = ()
    check: str | None = None
    where: str | None = None
    message: str


class IndexDef(Definition):
    name: str
    fields: tuple[str, ...]
    method: Literal["btree", "gin", "gist", "brin"] = "btree"
    where: str | None = None
    unique: bool = False
    opclass: str | None = None


class ListView(Definition):
    columns: tuple[str, ...] = ()
    filter: Condition | None = None
    sort: str | None = None


class ViewDef(Definition):
    id: str
    name: str
    label: str
    kind: Literal["list", "form", "tree", "board", "calendar", "timeline", "report"] = "list"
    list: ListView | None = None


class PermissionLine(Definition):
    """A default policy line; layered under the policy files."""

    role: str
    actions: tuple[str, ...]


class EntityDef(Definition):
    id: str
    name: str
    label: str
    label_plural: str
    slug: str
    module: str
    table: str | None = None
    kind: EntityKind = EntityKind.DOCUMENT
    icon: str = "table"
    description: str = ""
    title_field: str
    search_fields: tuple[str, ...] = ()
    default_sort: str = "-created_at"
    reference_number: ReferenceNumber | None = None
    constraints: tuple[ConstraintDef, ...] = ()
    indexes: tuple[IndexDef, ...] = ()
    history: bool = True
    soft_delete: bool = False
    # Row scope: the hierarchy-node field, or a path through references that ends in one (`process_run.node`).
    scope_field: str | None = None
    # Also show records of the nodes above a granted one: a run of the division has work for the desk in it.
    scope_ancestors: bool = False
    # Whose roles count: a fixed application, the one each record names (a field, or a path to one), or any (neither).
    application: str | None = None
    application_field: str | None = None
    # Records that only services write (runs, facts, clocks): REST and screens offer reading.
    managed: bool = False
    attachments: bool = False
    comments: bool = False
    follow: bool = False
    importable: bool = True
    exportable: bool = True
    retention: str | None = None
    classification: Classification = Classification.INTERNAL
    fields: tuple[FieldDef, ...]
    # Whether its records can have a lifecycle; `lifecycles` are those that ship with the definition.
    lifecycle: bool = False
    # A managed entity whose records take steps all the same: their own service writes everything else of them.
    managed_steps: bool = False
    lifecycles: tuple[LifecycleDef, ...] = ()
    # The SLA policies that ship with the definition.
    sla_policies: tuple[PolicyDef, ...] = ()
    # The field that holds the state, where it is not the general one: records whose steps the engine itself takes.
    state_field: str = "lifecycle_state"
    views: tuple[ViewDef, ...] = ()
    permissions: tuple[PermissionLine, ...] = ()
    layer: Layer = Layer.PRODUCT

    @model_validator(mode="after")
    def _consistent(self) -> "EntityDef":
        if not IDENTIFIER.match(self.name):
            raise ValueError(f"entity name {self.name!r} must be lower case letters, digits and _")
        names = [field.name for field in self.fields]
        taken = {"parent", "position"}.intersection(names) if self.kind is EntityKind.CHILD else set()
        if taken:
            raise ValueError(f"child entity {self.name!r}: parent and position are there already; rename {taken}")
        for attribute in ("name", "id"):
            values = [getattr(field, attribute) for field in self.fields]
            doubled = sorted({value for value in values if values.count(value) > 1})
            if doubled:
                raise ValueError(f"entity {self.name!r}: field {attribute} used twice: {', '.join(doubled)}")
        columns = {
            column for field in self.fields for column in (field.column, f"{field.name}_entity", f"{field.name}_id")
        }
        known = {*names, *columns, "id", "created_at", "updated_at"} | (
            {"parent_id", "position"} if self.kind is EntityKind.CHILD else set()
        )
        named = [("title_field", self.title_field), *(("search_fields", name) for name in self.search_fields)]
        named += [("default_sort", part.removeprefix("-")) for part in self.default_sort.split(",")]
        paths = (("scope_field", self.scope_field), ("application_field", self.application_field))
        named += [(what, path.split(".")[0]) for what, path in paths if path]
        named += [(f"constraint {c.name}", f) for c in self.constraints for f in c.fields]
        named += [(f"index {i.name}", f) for i in self.indexes for f in i.fields]
        for what, name in named:
            if name not in known:
                raise ValueError(f"entity {self.name!r}: {what} names {name!r}, which is not a field")
        return self

    @property
    def takes_steps(self) -> bool:
        """Whether people take the steps of a lifecycle on its records, and administrators define which there are."""
        return self.lifecycle and (self.managed_steps or not self.managed)

    @property
    def table_name(self) -> str:
        return self.table or self.name

    @property
    def schema_name(self) -> str | None:
        """The database schema: what is added at run time is kept apart from what migrations own."""
        return SITE_SCHEMA if self.layer is Layer.SITE else None

    @property
    def qualified_table(self) -> str:
        return f"{self.schema_name}.{self.table_name}" if self.schema_name else self.table_name

    def field(self, name: str) -> FieldDef:
        """Raises KeyError with the fields there are."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.name} has no field {name!r}; it has {', '.join(f.name for f in self.fields)}")

    def has_field(self, name: str) -> bool:
        return any(field.name == name for field in self.fields)
