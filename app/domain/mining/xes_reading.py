"""Read an event log in XES (IEEE 1849), plain or compressed, without holding more of it than asked for."""

import gzip
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import Element, ParseError, iterparse

from app.core.errors import InvalidRequest

NAME, TIME, RESOURCE = "concept:name", "time:timestamp", "org:resource"
# What stands before the name of a case's attribute, where a tool has written it at each event.
_CASE = re.compile(r"^(\(case\)_|case:)")


@dataclass(frozen=True, slots=True)
class LogEvent:
    activity: str
    at: datetime  # aware, UTC
    resource: str | None


@dataclass(frozen=True, slots=True)
class LogCase:
    """`attributes`: those of the case, also where the log repeats them at its events."""

    name: str
    attributes: dict[str, str]
    events: tuple[LogEvent, ...]


def read_cases(path: Path) -> Iterator[LogCase]:
    """Every case in the order of the file; its events in theirs.

    Raises:
        InvalidRequest: the file cannot be read, is no XES, or an event lacks its name or time.
    """
    try:
        with closing(_open(path)) as file:
            yield from _cases(file, path.name)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise InvalidRequest(f"{path.name} cannot be read: {error}") from error
    except ParseError as error:
        raise InvalidRequest(f"{path.name} is not well-formed XML: {error}") from error


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as probe:
        compressed = probe.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else path.open("rb")  # type: ignore[return-value]


def _cases(file: IO[bytes], name: str) -> Iterator[LogCase]:
    root: Element | None = None
    for step, element in iterparse(file, events=("start", "end")):  # noqa: S314  (expat resolves nothing external)
        if root is None:
            root = element
            if _tag(root) != "log":
                raise InvalidRequest(f"{name} is not an event log in XES: it begins with <{_tag(root)}>.")
        elif step == "end" and _tag(element) == "trace":
            yield _case(element, name)
            root.clear()


def _case(trace: Element, file: str) -> LogCase:
    attributes = {k: v for child in trace if _tag(child) != "event" for k, v in _value(child)}
    events = []
    for child in trace:
        if _tag(child) != "event":
            continue
        values = dict(pair for item in child for pair in _value(item))
        attributes.update({_CASE.sub("", k): v for k, v in values.items() if _CASE.match(k)})
        events.append(_event(values, attributes.get(NAME, ""), file))
    if not attributes.get(NAME):
        raise InvalidRequest(f"{file}: a trace has no {NAME}, so its case has no name.")
    return LogCase(attributes[NAME], attributes, tuple(events))


def _event(values: dict[str, str], case: str, file: str) -> LogEvent:
    missing = [key for key in (NAME, TIME) if not values.get(key)]
    if missing:
        raise InvalidRequest(f"{file}: an event of the case {case} has no {' and no '.join(missing)}.")
    try:
        at = datetime.fromisoformat(values[TIME])
    except ValueError:
        raise InvalidRequest(f"{file}: {values[TIME]!r} in the case {case} is no time.") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return LogEvent(values[NAME], at, values.get(RESOURCE))


def _value(element: Element) -> Iterator[tuple[str, str]]:
    key, value = element.get("key"), element.get("value")
    if key is not None and value is not None:
        yield key, value


def _tag(element: Any) -> str:
    tag: str = element.tag
    return tag.rpartition("}")[2]
