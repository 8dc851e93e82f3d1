"""A workflow version as a value: what designers write, the linter reads and `definition_store` keeps in rows."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.domain.workflow.edges import EdgeType, Hardness, LagTime, LagUnit, RunNode, RunSelector
from app.domain.workflow.states import ProcessKind

Code = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
WorkflowCode = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=48)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
RoleCode = Annotated[str, Field(min_length=1, max_length=48)]
Formula = Annotated[str, Field(min_length=1, max_length=80)]
EndState = Literal["done", "skipped", "cancelled", "failed"]

OF_ANOTHER_WORKFLOW = ("run_selector", "run_node", "calendar", "expected_by")
LONGEST_LAG: Mapping[LagUnit, int] = {
    LagUnit.MINUTES: 100_000,
    LagUnit.HOURS: 17_520,
    LagUnit.DAYS: 731,
    LagUnit.WORKING_MINUTES: 100_000,
    LagUnit.WORKING_HOURS: 5_000,
    LagUnit.WORKING_DAYS: 520,
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ApprovalLevel(_Part):
    """Signed by `needed` people of the role, of the group, or of both at once."""

    level: Annotated[int, Field(ge=1, le=9)]
    role: RoleCode | None = None
    group: RoleCode | None = None
    needed: Annotated[int, Field(ge=1, le=20)] = 1
    deadline: Formula | None = None

    @model_validator(mode="after")
    def _somebody(self) -> "ApprovalLevel":
        if self.role is None and self.group is None:
            raise ValueError("an approval level needs a role, a group or both")
        return self


class Candidates(_Part):
    """Who of the owner role may take it: groups by code, people by e-mail address. Nobody named: the whole role."""

    groups: tuple[RoleCode, ...] = ()
    users: tuple[str, ...] = ()


class Evidence(_Part):
    """Files of a purpose. `min_rows` and `tie_column` are about each csv or xlsx file: so many rows of data, and the
    total of a column that equals `tie_figure`, a number or the dotted name of a figure of the process."""

    code: Annotated[str, Field(min_length=1, max_length=48)]
    label: Label
    required: bool = True
    min_count: Annotated[int, Field(ge=1, le=99)] | None = None
    min_rows: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    tie_column: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    tie_figure: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    file_types: tuple[str, ...] = ("pdf", "xlsx", "csv", "png", "jpg", "txt")


class ChecklistItem(_Part):
    code: Annotated[str, Field(min_length=1, max_length=48)]
    label: Annotated[str, Field(min_length=1, max_length=300)]
    required: bool = True


class AnswerType(StrEnum):
    YES_NO = "yes_no"
    TEXT = "text"
    NUMBER = "number"
    CHOICE = "choice"


class Question(_Part):
    """An answer other than `expected` needs a comment."""

    code: Annotated[str, Field(min_length=1, max_length=48)]
    label: Annotated[str, Field(min_length=1, max_length=300)]
    type: AnswerType = AnswerType.YES_NO
    required: bool = True
    options: tuple[str, ...] = ()
    expected: Annotated[str, Field(min_length=1, max_length=300)] | None = None


class WaitKind(StrEnum):
    FILE = "file"
    EVENT = "event"
    TIME = "time"


class Wait(_Part):
    """What a process of the kind wait_for waits for.

    file: `pattern` for its name, from the inbox (below `folder`) or from the files `attached` to processes of the run.
    event: `entity.name` of a lifecycle, or `run:CODE`; with a `condition` on the record. time: `until`, a formula.
    `early`: what comes before its turn counts.
    """

    kind: WaitKind
    source: Literal["inbox", "attached"] = "inbox"
    folder: Annotated[str, Field(max_length=80)] | None = None
    pattern: Annotated[str, Field(min_length=1, max_length=150)] | None = None
    event: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    condition: dict[str, Any] | None = None
    until: Formula | None = None
    early: bool = False


class Retry(_Part):
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    backoff_seconds: Annotated[int, Field(ge=0, le=86_400)] = 10


class ProcessDefinition(_Part):
    """`approver_role` is short for one approval level with that role.

    `rule` names the business rule that decides who owns it, how many levels approve it and whether it is skipped.
    A skip with `skip_second_person` is asked for by one person and confirmed by another.
    """

    code: Code
    label: Label
    kind: ProcessKind
    owner_role: RoleCode | None = None
    node: str | None = None
    action: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    instructions: str | None = None
    deadline: Formula | None = None
    earliest_start: Formula | None = None
    warn_minutes: Annotated[int, Field(ge=0)] = 30
    expected_minutes: Annotated[int, Field(ge=0)] = 10
    critical: bool = False
    require_comment: bool = False
    skip_allowed: bool = False
    skip_second_person: bool = False
    candidates: Candidates = Candidates()
    retry: Retry = Retry()
    approval_levels: tuple[ApprovalLevel, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    checklist: tuple[ChecklistItem, ...] = ()
    questions: tuple[Question, ...] = ()
    rule: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    wait: Wait | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_level_in_short(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "approver_role" not in data:
            return data
        data = dict(data)
        role = data.pop("approver_role")
        levels = data.setdefault("approval_levels", [{"level": 1, "role": role}])
        if role not in [level.get("role") for level in levels if isinstance(level, Mapping)]:
            raise ValueError(f"approver_role {role!r} is not among the approval_levels; write one or the other")
        return data


class StageDefinition(_Part):
    """A stage's own processes come before its sub-stages; `order` sorts stages beside each other when it is read."""

    code: Code
    label: Label
    deadline: Formula | None = None
    processes: tuple[ProcessDefinition, ...] = ()
    stages: tuple["StageDefinition", ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _sort(cls, data: Any) -> Any:
        return _in_order(data)


class Lag(_Part):
    """At most about two years."""

    amount: Annotated[int, Field(ge=1, le=100_000)]
    unit: LagUnit = LagUnit.MINUTES

    @model_validator(mode="after")
    def _within_reach(self) -> "Lag":
        most = LONGEST_LAG[self.unit]
        if self.amount > most:
            raise ValueError(f"a lag is at most {most:,} {self.unit.value.replace('_', ' ')} long")
        return self

    @property
    def time(self) -> LagTime:
        return LagTime(self.amount, self.unit)


class Dependency(_Part):
    """`to` waits for `from`; see `edges` for the types.

    With `workflow`, `from` is a process of that workflow and `run_selector` says of which of its runs. `condition` is a
    filter on the predecessor's process run; where it does not hold, the dependency does not bind.
    """

    predecessor: Annotated[Code, Field(alias="from")]
    successor: Annotated[Code, Field(alias="to")]
    type: EdgeType = EdgeType.FS
    hardness: Hardness = Hardness.HARD
    accepts: Annotated[tuple[EndState, ...], Field(min_length=1)] = ("done", "skipped")
    lag: Lag | None = None
    condition: dict[str, Any] | None = None
    workflow: WorkflowCode | None = None
    run_selector: RunSelector | None = None
    run_node: RunNode | None = None
    calendar: str | None = None
    expected_by: Formula | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_another_workflow(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        if data.get("workflow") is not None:
            return {**data, "run_selector": data.get("run_selector") or RunSelector.SAME_DATE.value}
        extra = [name for name in OF_ANOTHER_WORKFLOW if data.get(name) is not None]
        if extra:
            raise ValueError(f"{', '.join(extra)}: only where `workflow` names another workflow")
        return data

    @property
    def within(self) -> bool:
        """Whether both of its ends are in this workflow."""
        return self.workflow is None


class WorkflowDefinition(_Part):
    """Nodes are codes in the hierarchy `node_hierarchy`."""

    code: WorkflowCode
    label: Label
    application: str
    calendar: str
    node_hierarchy: str | None = None
    node: str | None = None
    description: str | None = None
    stages: tuple[StageDefinition, ...] = ()
    dependencies: tuple[Dependency, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _sort(cls, data: Any) -> Any:
        return _in_order(data)

    def walk(self) -> Iterator[tuple[StageDefinition, tuple[StageDefinition, ...]]]:
        """Every stage with the stages above it, from top to bottom as a reader sees them."""
        pending: list[tuple[StageDefinition, tuple[StageDefinition, ...]]]
        pending = [(stage, ()) for stage in reversed(self.stages)]
        while pending:
            stage, above = pending.pop()
            yield stage, above
            pending.extend((child, (*above, stage)) for child in reversed(stage.stages))

    def processes(self) -> Iterator[tuple[ProcessDefinition, StageDefinition]]:
        """Every process with its stage, from top to bottom."""
        for stage, _ in self.walk():
            for process in stage.processes:
                yield process, stage

    def plain(self) -> dict[str, Any]:
        """As plain data, without what equals its default: the shape of a package's file and of the digest."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _in_order(data: Any) -> Any:
    """Sort `stages` by their `order`, where they have one, and take it off: from here on their place says it."""
    if not isinstance(data, Mapping) or not isinstance(data.get("stages"), list | tuple):
        return data
    stages = list(data["stages"])
    if not all(isinstance(stage, Mapping) for stage in stages):
        return data
    places = [stage.get("order", index + 1) for index, stage in enumerate(stages)]
    if not all(isinstance(place, int) for place in places):
        raise ValueError("the order of a stage is a whole number")
    ordered = [stage for _, stage in sorted(zip(places, stages, strict=True), key=lambda pair: pair[0])]
    return {**data, "stages": [{k: v for k, v in stage.items() if k != "order"} for stage in ordered]}
