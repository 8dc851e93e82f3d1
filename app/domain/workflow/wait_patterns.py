"""What a process waits for, as its definition writes it: names of files and of events. Pure."""

import fnmatch
import re
from datetime import date

RUN_EVENT = "run:"
_DATE = re.compile(r"\{business_date(?::((?:%[dmyYj]|[-_.])+))?\}")
_EVENT = re.compile(r"([a-z][a-z0-9_]*)\.([A-Za-z0-9_. -]{1,80})")
_RUN = re.compile(r"run:[A-Z][A-Z0-9_]*")
SAMPLE = date(2026, 10, 30)


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with the pattern of a file name; None if nothing."""
    if "/" in pattern or "\\" in pattern:
        return "it is the name of a file, without a folder"
    left = _DATE.sub("", pattern)
    if "{" in left or "}" in left:
        return "between { and } stands business_date, or business_date:%d%m%Y to write it another way"
    if not left.strip("*?. "):
        return "it would take every file; write a part of the name"
    return None


def dated(pattern: str) -> bool:
    """Whether the pattern itself says of which business date the file is."""
    return _DATE.search(pattern) is not None


def name_matches(pattern: str, name: str, business_date: date) -> bool:
    """Whether a file of this name is the one that is waited for; `*` and `?` stand for anything, capitals count."""
    wanted = _DATE.sub(lambda found: business_date.strftime(found[1] or "%Y-%m-%d"), pattern)
    return fnmatch.fnmatchcase(name, wanted)


def event_name(entity: str, name: str) -> str:
    return f"{entity}.{name}"


def run_event(workflow: str) -> str:
    return f"{RUN_EVENT}{workflow}"


def event_entity(event: str) -> str | None:
    """The entity of the record that an event is about; None where it is no event."""
    if _RUN.fullmatch(event):
        return "workflow_run"
    found = _EVENT.fullmatch(event)
    return found[1] if found else None
