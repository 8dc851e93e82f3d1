"""What a rule will do over months to come: every date, why it moved, what is omitted, and what clashes. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from app.domain.calendars.calendars import Calendar
from app.domain.schedules.recurrence import Occurrence, Recurrence, occurrences
from app.domain.schedules.wording import why_moved, why_omitted

# So many runs at one minute are worth a warning: each is some writes, and people get all of them at once.
MOST_IN_A_MINUTE = 20
MOST_ROWS = 5_000

RunKey = tuple[UUID, UUID | None, str, date]
"""Workflow, node, variant, business date: there is one run of each."""


@dataclass(frozen=True, slots=True)
class Clash:
    """Something that two schedules, or many, do to each other. `others` are their codes."""

    kind: str  # "same_run" | "crowded"
    business_date: date
    due_at: datetime
    others: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Simulated:
    """One occurrence: `omitted` and `moved` say why, and are empty where it is neither."""

    occurrence: Occurrence
    variant: str
    moved: str
    omitted: str
    clashes: tuple[Clash, ...] = ()


@dataclass(frozen=True, slots=True)
class Simulation:
    """`cut` is set where there is more than is shown, with the last instant that is."""

    since: datetime
    until: datetime
    words: str
    rows: tuple[Simulated, ...]
    warnings: tuple[str, ...] = ()
    cut: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Other:
    """Another schedule that is in force."""

    code: str
    rule: Recurrence
    calendar: Calendar
    workflow_id: UUID
    node_id: UUID | None
    variant: str

    def variant_at(self, occurrence: Occurrence) -> str:
        return self.variant.replace("{time}", f"{occurrence.local_time(self.rule.zone):%H%M}")


def simulate_rule(
    own: Other,
    *,
    words: str,
    since: datetime,
    until: datetime,
    others: Sequence[Other] = (),
    warnings: Sequence[str] = (),
) -> Simulation:
    """Every occurrence of `own` in `[since, until)`; clashes with `others`. Raises OutsideCalendarRange."""
    found = occurrences(own.rule, own.calendar, since, until)
    cut = found[MOST_ROWS - 1].due_at if len(found) > MOST_ROWS else None
    found = found[:MOST_ROWS]
    around = _of_others(others, since, cut or until)
    for one in found:
        if one.taken_by is None:
            around.minutes[_minute(one.due_at)].append(own.code)
    rows = []
    for one in found:
        variant = own.variant_at(one)
        clashes: list[Clash] = []
        if one.taken_by is None:
            clashes = _clashes(own, one, variant, around)
        rows.append(
            Simulated(
                one,
                variant,
                why_moved(own.rule, own.calendar, one),
                why_omitted(own.rule, own.calendar, one),
                tuple(clashes),
            )
        )
    return Simulation(
        since, until, words, tuple(rows), tuple(warnings), cut,
        {
            "created": sum(not row.omitted for row in rows),
            "omitted": sum(bool(row.omitted) for row in rows),
            "moved": sum(bool(row.moved) and not row.omitted for row in rows),
            "clashes": sum(bool(row.clashes) for row in rows),
        },
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Around:
    """Which schedules create a run, and which create something in a minute."""

    runs: dict[RunKey, list[str]] = field(default_factory=lambda: defaultdict(list))
    minutes: dict[datetime, list[str]] = field(default_factory=lambda: defaultdict(list))


def _of_others(others: Sequence[Other], since: datetime, until: datetime) -> _Around:
    around = _Around()
    for other in others:
        for found in occurrences(other.rule, other.calendar, since, until):
            if found.taken_by is None:
                key = other.workflow_id, other.node_id, other.variant_at(found), found.business_date
                around.runs[key].append(other.code)
                around.minutes[_minute(found.due_at)].append(other.code)
    return around


def _clashes(own: Other, found: Occurrence, variant: str, around: _Around) -> list[Clash]:
    clashes = []
    same = around.runs.get((own.workflow_id, own.node_id, variant, found.business_date))
    if same:
        codes = tuple(dict.fromkeys(same))
        text = f"{', '.join(codes)} creates this run too; whichever is first does, the other finds it there."
        clashes.append(Clash("same_run", found.business_date, found.due_at, codes, text))
    crowd = around.minutes[_minute(found.due_at)]
    if len(crowd) > MOST_IN_A_MINUTE:
        codes = tuple(dict.fromkeys(code for code in crowd if code != own.code))
        text = f"{len(crowd)} runs are created in this minute; spread them over several."
        clashes.append(Clash("crowded", found.business_date, found.due_at, codes, text))
    return clashes


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
