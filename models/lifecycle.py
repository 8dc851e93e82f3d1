"""The lifecycle part of the metadata language: states of a record, and the transitions between them.

A lifecycle is written in an entity's definition, in a package, or by an administrator in rows; this is the one shape of
all three. What cannot be right whatever the entity is refused here; what depends on its fields and roles is found by
`app.domain.lifecycles.linter`.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Condition = dict[str, Any]
Code = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=48)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Category = Literal["draft", "active", "waiting", "final", "void"]
Distinct = Literal["creator", "last_editor", "prior_approver"]

CLOSED: frozenset[str] = frozenset({"final", "void"})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class StateDef(_Part):
    """`editable_by` None: whoever may update the record; empty: nobody; else these roles only."""

    name: Code
    label: Label
    colour: str | None = None
    category: Category = "active"
    editable_by: tuple[str, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, data: Any) -> Any:
        return _labelled({"name": data} if isinstance(data, str) else data)


class Approvals(_Part):
    """How many different people it takes, and from whom each of them must be different."""

    count: Annotated[int, Field(ge=1, le=20)] = 1
    distinct_from: tuple[Distinct, ...] = ()


class Effect(_Part):
    """What a transition does beside changing the state.

    set_field      `field`, and `value` or a variable such as `$now`
    emit           `event`: a name that triggers and rules listen for
    notify         `to` (a role, a user field, `$creator`, `$owner`, `$last_editor` or `$actor`), `subject`, `text`
    create_record  `entity`, `values`; a value may be a variable or `$record.<field>`
    start_run      `workflow`, with `business_date` a date field or `$business_date`
    """

    kind: Literal["set_field", "emit", "notify", "create_record", "start_run"]
    field: str | None = None
    value: Any = None
    event: str | None = None
    to: tuple[str, ...] = ()
    subject: str | None = None
    text: str | None = None
    entity: str | None = None
    values: dict[str, Any] = Field(default_factory=dict)
    workflow: str | None = None
    business_date: str = "$business_date"

    @model_validator(mode="before")
    @classmethod
    def _one_recipient(cls, data: Any) -> Any:
        return {**data, "to": [data["to"]]} if isinstance(data, dict) and isinstance(data.get("to"), str) else data

    @model_validator(mode="after")
    def _complete(self) -> "Effect":
        needed: dict[str, dict[str, Any]] = {
            "set_field": {"field": self.field},
            "emit": {"event": self.event},
            "notify": {"to": self.to, "subject": self.subject},
            "create_record": {"entity": self.entity},
            "start_run": {"workflow": self.workflow},
        }
        missing = [name for name, value in needed[self.kind].items() if not value]
        if missing:
            raise ValueError(f"the effect {self.kind} needs {' and '.join(missing)}")
        return self


class TransitionDef(_Part):
    """`roles` empty: whoever may update the record. `activities`: what event logs call it; else its label and name.

    `or_to`: where else it leads, where that depends on the record; for the platform's own lifecycles only.
    """

    name: Code
    label: Label
    sources: Annotated[tuple[Code, ...], Field(alias="from", min_length=1)]
    to: Code
    or_to: tuple[Code, ...] = ()
    roles: tuple[str, ...] = ()
    guard: Condition | None = None
    rule: str | None = None  # the code of a business rule whose output `allowed` must be true
    require_comment: bool = False
    require_fields: tuple[str, ...] = ()
    approvals: Approvals = Approvals()
    effects: tuple[Effect, ...] = ()
    activities: tuple[str, ...] = ()
    tone: Literal["primary", "neutral", "danger"] = "neutral"

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        data: dict[str, Any] = _labelled(given)
        name = data.get("name")
        if isinstance(name, str) and not name.replace("_", "").isalnum():
            # Named as an event log names it: the code is made of it, and the name stays the label and the activity.
            data = {"activities": [name], **data, "name": _code(name)}
        for single, several in (("from", "from"), ("activity", "activities")):
            if isinstance(data.get(single), str):
                data = {**{k: v for k, v in data.items() if k != single}, several: [data[single]]}
        return data

    @property
    def targets(self) -> tuple[str, ...]:
        """Every state that it can lead to."""
        return (self.to, *self.or_to)

    @property
    def known_as(self) -> tuple[str, ...]:
        """The names of its event in a log."""
        return self.activities or tuple(dict.fromkeys((self.label, self.name)))


class LifecycleDef(_Part):
    """A record gets the lifecycle of its entity with the highest `priority` whose `applies_when` it passes."""

    code: Code
    label: Label
    description: str = ""
    applies_when: Condition | None = None
    priority: int = 0
    protected: bool = False  # the platform's own: shown, and changed by nobody
    initial: Code
    states: Annotated[tuple[StateDef, ...], Field(min_length=1)]
    transitions: tuple[TransitionDef, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _first_state(cls, data: Any) -> Any:
        data = _labelled(data, name="code")
        if isinstance(data, dict) and "initial" not in data and data.get("states"):
            first = data["states"][0]
            data = {**data, "initial": first if isinstance(first, str) else dict(first).get("name")}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> "LifecycleDef":
        known = {state.name for state in self.states}
        states, steps = [state.name for state in self.states], [step.name for step in self.transitions]
        for what, names in (("state", states), ("transition", steps)):
            doubled = [name for name, count in Counter(names).items() if count > 1]
            if doubled:
                raise ValueError(f"lifecycle {self.code!r}: the {what} {doubled[0]!r} is there twice")
        branching = next((step for step in self.transitions if step.or_to and not self.protected), None)
        if branching is not None:
            raise ValueError(
                f"lifecycle {self.code!r}: transition {branching.name!r} leads to several states; make it several "
                "transitions, each with its guard"
            )
        for place, name in self._named():
            if name not in known:
                raise ValueError(f"lifecycle {self.code!r}: {place} names the state {name!r}, which there is not")
        return self

    def _named(self) -> Iterable[tuple[str, str]]:
        yield "initial", self.initial
        for transition in self.transitions:
            for name in (*transition.sources, *transition.targets):
                yield f"transition {transition.name!r}", name

    def plain(self) -> dict[str, Any]:
        """As plain data without what equals its default: for files, the digest and comparisons."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _code(name: str) -> str:
    return "_".join(re.findall(r"[a-z0-9]+", name.lower()))[:48].strip("_")


def _labelled(data: Any, *, name: str = "name") -> Any:
    """A label out of the name, where none is given."""
    if isinstance(data, dict) and "label" not in data and isinstance(data.get(name), str):
        return {**data, "label": data[name].replace("_", " ").capitalize()}
    return data
