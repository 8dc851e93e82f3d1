"""What a forecast looks at: a run at one moment, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain.prediction.curves import Curve
from app.domain.prediction.hours import OpenHours
from app.domain.workflow.states import ProcessState


class Measure(StrEnum):
    """What is measured of a finished process."""

    READY_TO_DONE = "ready_to_done"
    START_TO_DONE = "start_to_done"
    SUBMIT_TO_DONE = "submit_to_done"
    FINISH_OF_DAY = "finish_of_day"  # seconds from the midnight at which the business date begins


class Source(StrEnum):
    """Which history a prediction rests on, from the closest to none."""

    WEEKDAY = "weekday"
    NODE = "node"
    BELOW = "below"
    ANY = "any"
    EXPECTED = "expected"


class Gate(StrEnum):
    """What a dependency ties together: which event of the predecessor, and which of the successor."""

    FS = "FS"
    SS = "SS"
    FF = "FF"
    SF = "SF"


@dataclass(frozen=True, slots=True)
class Habit:
    """How a process usually goes: a curve for each measure that is known, and on which history they rest."""

    curves: Mapping[Measure, Curve]
    source: Source
    observations: int


@dataclass(frozen=True, slots=True)
class Work:
    """A process of the run. `midnight`: when its business date begins, which arrivals count from."""

    id: UUID
    state: ProcessState
    stage_id: UUID | None
    habit: Habit
    earliest_start: datetime | None = None
    due_at: datetime | None = None
    ready_at: datetime | None = None
    started_at: datetime | None = None
    submitted_at: datetime | None = None
    finished_at: datetime | None = None
    review_by: datetime | None = None
    foreign: bool = False  # of another run: it is waited for and not forecast here


@dataclass(frozen=True, slots=True)
class Link:
    """A dependency. `met_by`: from when on it is known to let go; `hopeless`: it never will.

    `predecessor` None: the run that it belongs to does not exist yet. The lag is in seconds, of working time where
    `working`.
    """

    predecessor: UUID | None
    successor: UUID
    gate: Gate = Gate.FS
    lag: float = 0.0
    working: bool = False
    hard: bool = True
    satisfied: bool = False
    hopeless: bool = False
    met_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class StageOfRun:
    id: UUID
    parent_id: UUID | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A run at `now`."""

    run_id: UUID
    now: datetime
    midnight: datetime
    due_at: datetime | None
    works: Sequence[Work]
    links: Sequence[Link]
    stages: Sequence[StageOfRun]
    hours: OpenHours
