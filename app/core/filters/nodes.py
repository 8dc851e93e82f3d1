"""The parsed form of a filter: a frozen tree of And, Or, Not and Term, with every path and value already checked.

One meaning, in SQL, in Python and in the browser. It is two-valued: a filter holds for a record or does not.

- A value is null when its field is empty, or when a reference on the way to it is empty or names a deleted record.
- Every comparison with null is false, on either side: a variable such as `$business_date` may be null too.
- `ne` is exactly "not eq" and `nin` exactly "not in", so both are true for null. `is_null` is never unknown.
- A path through child lines is true when any line is: all operators of one term are asked of the same line. Without
  lines it is false, `ne` and `is_null` included. Deleted lines and deleted targets do not count.
- `between` includes both ends. `in` with an empty list is false; so is `{"or": []}`; `{}` and `{"and": []}` are true.
- `contains` and `starts_with` ignore case (each letter's simple Unicode mapping); `eq` does not.
- `under` is true for the given node itself and all below it, `ancestor_of` for the node itself and all above it.
- Choices in a multiple choice are a set: their order means nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from app.core.errors import FieldProblem, InvalidRequest
from models.schema import FieldDef


class FilterError(InvalidRequest, ValueError):
    """A filter cannot be used; the message says what to change, `path` says where it stands in the filter."""

    code = "filter_invalid"
    title = "The filter is not valid"

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message, problems=[FieldProblem(path, message)])
        self.message = message
        self.path = path


class Operator(StrEnum):
    EQ = "eq"
    NE = "ne"
    IN = "in"
    NIN = "nin"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    BETWEEN = "between"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    IS_NULL = "is_null"
    UNDER = "under"
    ANCESTOR_OF = "ancestor_of"


TREE_OPERATORS = (Operator.UNDER, Operator.ANCESTOR_OF)
LIST_OPERATORS = (Operator.IN, Operator.NIN, *TREE_OPERATORS)


class ValueType(StrEnum):
    """How values compare; the browser is told it, because JSON alone does not say what a text stands for."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    INSTANT = "instant"
    TIME = "time"
    DURATION = "duration"
    ID = "id"
    SET = "set"
    OPAQUE = "opaque"  # only asked whether it is there


class VariableName(StrEnum):
    NOW = "now"
    TODAY = "today"
    BUSINESS_DATE = "business_date"
    ME = "me"
    MY_ROLES = "my_roles"
    MY_NODES = "my_nodes"


LIST_VARIABLES = (VariableName.MY_ROLES, VariableName.MY_NODES)


@dataclass(frozen=True, slots=True)
class Variable:
    """`$now`, or `$now-PT1H` with an offset: filled in when the filter is evaluated."""

    name: VariableName
    offset: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """What the variables stand for in one evaluation. `node_paths` (node -> ltree path) is for `under` in Python."""

    now: datetime
    today: date
    business_date: date | None = None
    me: UUID | None = None
    my_roles: frozenset[str] = frozenset()
    my_nodes: frozenset[UUID] = frozenset()
    node_paths: Mapping[UUID, str] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Hop:
    """One step from a record to another: through a reference, or to its child lines."""

    entity: str
    name: str
    column: str
    target: str
    many: bool
    label: str
    # A live lookup ends a path: where the record has its value under this name, the value is taken from there.
    lookup: str | None = None


@dataclass(frozen=True, slots=True)
class Leaf:
    """The field at the end of a path."""

    entity: str
    name: str
    column: str | None  # None: computed on read, so that no column holds it
    value_type: ValueType
    operators: tuple[Operator, ...]
    label: str
    definition: FieldDef
    target: str | None = None
    part: int | None = None  # money and polymorphic references are pairs in memory


@dataclass(frozen=True, slots=True)
class Path:
    text: str
    hops: tuple[Hop, ...]
    leaf: Leaf
    reads: tuple[tuple[str, str], ...]  # (entity, field) a person has to be allowed to read to use this path

    @property
    def label(self) -> str:
        return " / ".join([hop.label for hop in self.hops if hop.lookup is None] + [self.leaf.label])


@dataclass(frozen=True, slots=True)
class Test:
    """One operator with its values: plain ones as held in memory, or variables."""

    __test__ = False  # not a test case for pytest

    operator: Operator
    values: tuple[Any, ...]

    @property
    def true_on_null(self) -> bool:
        if self.operator is Operator.IS_NULL:
            return bool(self.values[0])
        return self.operator in (Operator.NE, Operator.NIN)


@dataclass(frozen=True, slots=True)
class Term:
    """All tests hold for the value at the end of the path."""

    path: Path
    tests: tuple[Test, ...]

    def true_when_absent(self, after: int) -> bool:
        """Whether the term holds when the reference at hop `after` leads nowhere."""
        lines_follow = any(hop.many for hop in self.path.hops[after + 1 :])
        return not lines_follow and all(test.true_on_null for test in self.tests)


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple["FilterNode", ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple["FilterNode", ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "FilterNode"


FilterNode: TypeAlias = And | Or | Not | Term

EVERYTHING = And(())
NOTHING = Or(())
