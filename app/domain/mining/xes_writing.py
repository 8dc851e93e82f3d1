"""An event log as XES 1.0 (IEEE 1849-2016), written case by case."""

import re
from datetime import datetime
from decimal import Decimal
from typing import IO, Any
from xml.sax.saxutils import quoteattr

from app.domain.mining.histories import CaseHistory, HistoryEvent

# What XML 1.0 cannot hold at all, however it is written.
_IMPOSSIBLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1.0" xes.features="nested-attributes" xmlns="http://www.xes-standard.org/">
<extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
<extension name="Lifecycle" prefix="lifecycle" uri="http://www.xes-standard.org/lifecycle.xesext"/>
<extension name="Time" prefix="time" uri="http://www.xes-standard.org/time.xesext"/>
<extension name="Organizational" prefix="org" uri="http://www.xes-standard.org/org.xesext"/>
<global scope="trace">
<string key="concept:name" value=""/>
</global>
<global scope="event">
<string key="concept:name" value=""/>
<date key="time:timestamp" value="1970-01-01T00:00:00.000+00:00"/>
<string key="lifecycle:transition" value="complete"/>
</global>
<classifier name="Activity" keys="concept:name"/>
<string key="lifecycle:model" value="standard"/>
"""


class XesWriter:
    def __init__(self, file: IO[str], name: str) -> None:
        self._file = file
        file.write(_HEAD)
        file.write(_attribute("concept:name", name))

    def case(self, history: CaseHistory) -> None:
        parts = ["<trace>\n", _attribute("concept:name", history.name), _attribute("identity:id", history.id)]
        parts += [_attribute(name, value) for name, value in history.attributes.items()]
        parts += [_event(event) for event in history.events]
        parts.append("</trace>\n")
        self._file.write("".join(parts))

    def end(self) -> None:
        self._file.write("</log>\n")


def _event(event: HistoryEvent) -> str:
    parts = ["<event>\n", _attribute("concept:name", event.activity), _attribute("time:timestamp", event.at)]
    parts.append(_attribute("lifecycle:transition", event.transition))
    if event.resource:
        parts.append(_attribute("org:resource", event.resource))
    parts += [_attribute(name, value) for name, value in event.attributes.items()]
    return "".join([*parts, "</event>\n"])


def _attribute(key: str, value: Any) -> str:
    match value:
        case bool():
            kind, written = "boolean", str(value).lower()
        case int():
            kind, written = "int", str(value)
        case float() | Decimal():
            kind, written = "float", str(value)
        case datetime():
            kind, written = "date", value.isoformat(timespec="microseconds")
        case _:
            kind, written = "string", _IMPOSSIBLE.sub("\ufffd", str(value))
    return f"<{kind} key={quoteattr(key)} value={quoteattr(written)}/>\n"
