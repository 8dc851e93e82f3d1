"""The content of a rule version as a value: facts in, answers out, and the table or the formulas between them."""

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.core.errors import FieldProblem, ValidationFailed
from app.domain.rules.values import ValueType

MAX_ROWS = 2_000
MAX_COLUMNS = 60
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=48)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=40)]
Cell = Annotated[str, Field(max_length=1_000)]
# Words of the formula language cannot be names of facts.
_RESERVED = frozenset({"and", "or", "not", "in", "true", "false", "null"})


class RuleKind(StrEnum):
    DECISION_TABLE = "decision_table"
    EXPRESSION = "expression"


class HitPolicy(StrEnum):
    """`first`: the first row that fits answers. `collect`: every row that fits does, in order."""

    FIRST = "first"
    COLLECT = "collect"


class VersionState(StrEnum):
    DRAFT = "draft"
    PUBLISHED = "published"
    RETIRED = "retired"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class RuleField(_Part):
    """A fact that a rule is given (`required`: it must be there) or an answer (`required`: every row must give it)."""

    name: Name
    label: Annotated[str, Field(max_length=120)] = ""
    type: ValueType = ValueType.TEXT
    options: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=120)], ...], Field(max_length=200)] = ()
    required: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> "RuleField":
        if self.name in _RESERVED:
            raise ValueError(f"{self.name} is a word of the formula language; choose another name")
        if self.options and self.type is not ValueType.CHOICE:
            raise ValueError(f"{self.name}: only a choice has options")
        return self

    @property
    def title(self) -> str:
        return self.label or self.name.replace("_", " ").capitalize()


class Column(_Part):
    """A condition column: tests a fact by name, or what a formula makes of facts, such as `abs(pnl)`."""

    id: Id
    expression: Annotated[str, Field(min_length=1, max_length=500)]
    label: Annotated[str, Field(max_length=120)] = ""
    type: ValueType | None = None


class Row(_Part):
    """`tests`: cell by column id, a missing or empty one fits anything. `answers`: cell by answer name."""

    id: Id
    tests: Mapping[str, Cell] = Field(default_factory=dict)
    answers: Mapping[str, Cell] = Field(default_factory=dict)
    note: Annotated[str, Field(max_length=500)] = ""


class RuleContent(_Part):
    """A table has columns and rows; formulas are by answer name."""

    hit_policy: HitPolicy = HitPolicy.FIRST
    inputs: Annotated[tuple[RuleField, ...], Field(max_length=MAX_COLUMNS)] = ()
    outputs: Annotated[tuple[RuleField, ...], Field(max_length=MAX_COLUMNS)] = ()
    columns: Annotated[tuple[Column, ...], Field(max_length=MAX_COLUMNS)] = ()
    rows: Annotated[tuple[Row, ...], Field(max_length=MAX_ROWS)] = ()
    formulas: Mapping[str, Cell] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "RuleContent":
        for what, names in (
            ("fact", [field.name for field in self.inputs]),
            ("answer", [field.name for field in self.outputs]),
            ("column", [column.id for column in self.columns]),
            ("row", [row.id for row in self.rows]),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise ValueError(f"there are two of the {what} {doubled[0]}; give each a name of its own")
        return self

    def input(self, name: str) -> RuleField | None:
        return next((field for field in self.inputs if field.name == name), None)

    def output(self, name: str) -> RuleField | None:
        return next((field for field in self.outputs if field.name == name), None)

    def column_type(self, column: Column) -> ValueType:
        """That of the fact it names; a formula says its own, or is a number."""
        named = self.input(column.expression)
        return named.type if named else (column.type or ValueType.DECIMAL)

    def column_title(self, column: Column) -> str:
        named = self.input(column.expression)
        return column.label or (named.title if named else column.expression)

    def plain(self) -> dict[str, Any]:
        """As plain data: what is kept, and what the digest is taken of. Cells that are empty are not there."""
        data = self.model_dump(mode="json")
        for row in data["rows"]:
            for name in ("tests", "answers"):
                row[name] = {key: cell for key, cell in row[name].items() if cell}
        return data

    def digest(self) -> str:
        """SHA-256: equal contents have equal digests."""
        return hashlib.sha256(orjson.dumps(self.plain(), option=orjson.OPT_SORT_KEYS)).hexdigest()


_PREFIX = re.compile(r"^Value error, ")


def read_content(data: Any) -> RuleContent:
    """Read what a draft is to hold. Raises ValidationFailed, each problem with its place such as `rows.3.tests.c1`."""
    try:
        return RuleContent.model_validate(data)
    except ValidationError as error:
        raise ValidationFailed([_problem(found) for found in error.errors()[:50]]) from None


def _problem(found: Any) -> FieldProblem:
    place = ".".join(str(part) for part in found["loc"]) or "content"
    last = place.rpartition(".")[2]
    if found["type"] == "string_pattern_mismatch" and last == "name":
        return FieldProblem(place, "use small letters, digits and _, beginning with a letter")
    return FieldProblem(place, _PREFIX.sub("", found["msg"]))
