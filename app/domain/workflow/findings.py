"""What the checks of a workflow need to know of the world outside the definition."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.workflow.definitions import Dependency


@dataclass(frozen=True, slots=True)
class OtherWorkflow:
    """The published version of another workflow; `processes` are labels by code. Empty where none is published."""

    label: str
    published: bool
    processes: Mapping[str, str] = field(default_factory=dict)
    dependencies: tuple[Dependency, ...] = ()


@dataclass(frozen=True, slots=True)
class RoutingRule:
    purpose: str
    active: bool
    published: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What there is outside the definition. None where it is not known, so that nothing is said about it.

    `workflows`: those that it waits for, and all that these wait for in turn, by code. `condition_problem` says what is
    wrong with a filter on a process run, `event_problem` what with an event that is waited for and its filter, None if
    nothing. `rules` by code: those that processes name.
    """

    roles: frozenset[str] | None = None
    actions: frozenset[str] | None = None
    calendar_published: bool = True
    workflows: Mapping[str, OtherWorkflow] | None = None
    rules: Mapping[str, RoutingRule] | None = None
    event_problem: Callable[[str, Mapping[str, Any] | None], str | None] | None = None
    condition_problem: Callable[[Mapping[str, Any]], str | None] | None = None
