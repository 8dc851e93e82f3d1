"""The SLA part of the metadata language: when the clock of a policy starts, pauses and ends, and what it announces.

A policy is written in an entity's definition or by an administrator in the editor; this is the one shape of both. What
cannot be right whatever the entity is refused here; what depends on its fields is found by `app.domain.sla.linter`.
"""

import re
from collections import Counter
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

Condition = dict[str, Any]
Code = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]
Label = Annotated[str, Field(min_length=1, max_length=200)]

BREACH, WARNING = "breach", "warning"
BUSINESS_DATE = "$business_date"
# The deadline that a workflow's definition gives each of its processes.
OWN_DEADLINE = "$deadline"
# Each of them is asked of the record after every change; what there is not is never true.
CONDITIONS = ("applies_when", "start", "pause", "resume", "stop", "cancel", "reset")
_HOURS = re.compile(r"^PT(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,8})S)?$")
MOST_THRESHOLDS, MOST_TARGETS = 20, 50


def read_hours(value: Any) -> Any:
    """Working time such as PT4H or PT1H30M. Days are refused: a working day is no number of hours."""
    if not isinstance(value, str):
        return value
    match = _HOURS.match(value.strip().upper())
    if match is None or not any(match.groups()):
        raise ValueError("write hours and minutes such as PT4H or PT1H30M; days and hours do not convert")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def hours_text(value: timedelta) -> str:
    """The same, written: PT48H rather than P2D."""
    seconds = int(value.total_seconds())
    parts = ((seconds // 3600, "H"), (seconds % 3600 // 60, "M"), (seconds % 60, "S"))
    return "PT" + ("".join(f"{count}{unit}" for count, unit in parts if count) or "0S")


WorkingTime = Annotated[
    timedelta, BeforeValidator(read_hours), PlainSerializer(hours_text, return_type=str, when_used="json")
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TargetDef(_Part):
    """What is promised to the records that pass `when`: so much time, or a deadline formula."""

    when: Condition | None = None
    within: WorkingTime | None = None
    by: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "TargetDef":
        if (self.within is None) == (self.by is None):
            raise ValueError("a target needs either a time (within) or a deadline (by), and not both")
        if self.within is not None and self.within <= timedelta(0):
            raise ValueError("a target must be more than zero")
        return self


class ThresholdDef(_Part):
    """A point that the clock announces: a percentage of the target, or a time before or after it is due."""

    code: Code
    label: str = ""
    percent: Annotated[int, Field(ge=1, le=1000)] | None = None
    before: WorkingTime | None = None
    after: WorkingTime | None = None

    @model_validator(mode="after")
    def _one(self) -> "ThresholdDef":
        given = [value for value in (self.percent, self.before, self.after) if value is not None]
        if len(given) != 1:
            raise ValueError(f"threshold {self.code}: give one of percent, before and after")
        if self.code == BREACH:
            raise ValueError("the breach is always there; choose another code for this threshold")
        if any(time is not None and time <= timedelta(0) for time in (self.before, self.after)):
            raise ValueError(f"threshold {self.code}: the time must be more than zero")
        return self

    @property
    def title(self) -> str:
        return self.label or self.code.replace("_", " ").replace("-", " ").capitalize()


class PolicyDef(_Part):
    """One version of a policy.

    `measure`       duration: time of `calendar` (of the clock on the wall without one), which pauses; deadline: an
                    instant, which never does
    `applies_when`  which records it is about; a record that stops passing it loses its clock
    `start`         the clock starts once it holds; where it holds from the beginning, with the record
    `pause`         the clock stands while it holds, or, with `resume`, from when it holds until `resume` does
    `stop`          the work is done;  `cancel`: it is not wanted any more
    `reset`         each time it comes to hold, the clock starts from zero; also one that was stopped
    `start_from`    a field of the record: since when the time counts, where that was before the clock started
    `base_date`     what a deadline counts from: a date field of the record, or the business date
    `zone`          of a deadline without one: `calendar`, or a field that names an IANA zone
    `targets`       the first whose `when` the record passes is promised; none of them: no clock
    """

    code: Code
    label: Label
    description: str = ""
    protected: bool = False  # the platform's own: its thresholds may be changed, what it measures not
    measure: Literal["duration", "deadline"] = "duration"
    applies_when: Condition | None = None
    start: Condition | None = None
    pause: Condition | None = None
    resume: Condition | None = None
    stop: Condition | None = None
    cancel: Condition | None = None
    reset: Condition | None = None
    calendar: str | None = None
    start_from: str | None = None
    base_date: str = BUSINESS_DATE
    zone: str | None = None
    targets: Annotated[tuple[TargetDef, ...], Field(min_length=1, max_length=MOST_TARGETS)]
    thresholds: Annotated[tuple[ThresholdDef, ...], Field(max_length=MOST_THRESHOLDS)] = ()

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, data: Any) -> Any:
        """`target: PT4H` for one target, and a label out of the code."""
        if not isinstance(data, dict):
            return data
        given = dict(data)
        if "label" not in given and isinstance(given.get("code"), str):
            given["label"] = given["code"].replace("_", " ").replace("-", " ").capitalize()
        if "target" in given and "targets" not in given:
            target = given.pop("target")
            key = "within" if given.get("measure", "duration") == "duration" else "by"
            given["targets"] = [target if isinstance(target, dict) else {key: target}]
        return given

    @model_validator(mode="after")
    def _consistent(self) -> "PolicyDef":
        for target in self.targets:
            if (target.within is None) == (self.measure == "duration"):
                wanted = "a time such as PT4H" if self.measure == "duration" else "a deadline such as WD+3 18:00"
                raise ValueError(f"policy {self.code!r} measures a {self.measure}: each target needs {wanted}")
        if self.measure == "deadline" and (self.pause or self.resume):
            raise ValueError(f"policy {self.code!r}: a deadline is never paused; take the pause and resume out")
        if self.resume and not self.pause:
            raise ValueError(f"policy {self.code!r}: what never pauses does not resume; say when it pauses")
        doubled = [code for code, count in Counter(t.code for t in self.thresholds).items() if count > 1]
        if doubled:
            raise ValueError(f"policy {self.code!r}: the threshold {doubled[0]!r} is there twice")
        return self

    def plain(self) -> dict[str, Any]:
        """As plain data without what equals its default: for rows, files, the digest and comparisons."""
        return self.model_dump(mode="json", exclude_defaults=True)
