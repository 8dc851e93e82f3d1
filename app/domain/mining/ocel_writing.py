"""An event log as OCEL 2.0 in JSON: events about several objects, such as a process and its run."""

from typing import IO, Any

import orjson

from app.domain.mining.histories import CaseHistory, HistoryEvent

_KINDS = {bool: "boolean", int: "integer", float: "float"}


class OcelWriter:
    """Events are written as they come; objects and types, which the format wants whole, at the end."""

    def __init__(self, file: IO[str], name: str) -> None:
        self._file = file
        self._events = 0
        self._event_types: dict[str, dict[str, str]] = {}
        self._object_types: dict[str, dict[str, str]] = {}
        self._objects: dict[str, dict[str, Any]] = {}
        file.write('{"events":[')

    def case(self, history: CaseHistory) -> None:
        for number, event in enumerate(history.events):
            for kind, id_, name in event.objects:
                self._object(kind, id_, {"name": name}, event.at.isoformat(), {history.id: "part of"})
            self._write(history, number, event)
        began = history.events[0].at.isoformat() if history.events else "1970-01-01T00:00:00+00:00"
        self._object(history.type, history.id, {"name": history.name, **history.attributes}, began, {})

    def end(self) -> None:
        self._file.write('],"objects":[')
        for number, values in enumerate(self._objects.values()):
            self._file.write(("," if number else "") + _json(values))
        self._file.write(f'],"objectTypes":{_json(_types(self._object_types))}')
        self._file.write(f',"eventTypes":{_json(_types(self._event_types))}}}\n')

    def _write(self, history: CaseHistory, number: int, event: HistoryEvent) -> None:
        attributes = {"lifecycle": event.transition, "resource": event.resource or "", **event.attributes}
        known = self._event_types.setdefault(event.activity, {})
        known.update({name: _kind(value) for name, value in attributes.items()})
        row = {
            "id": f"{history.id}:{number}",
            "type": event.activity,
            "time": event.at.isoformat(),
            "attributes": [{"name": name, "value": _value(value)} for name, value in attributes.items()],
            "relationships": [
                {"objectId": history.id, "qualifier": history.type},
                *({"objectId": id_, "qualifier": kind} for kind, id_, _ in event.objects),
            ],
        }
        self._file.write(("," if self._events else "") + _json(row))
        self._events += 1

    def _object(self, kind: str, id_: str, attributes: dict[str, Any], at: str, related: dict[str, str]) -> None:
        if id_ in self._objects:
            return
        self._object_types.setdefault(kind, {}).update({name: _kind(value) for name, value in attributes.items()})
        self._objects[id_] = {
            "id": id_,
            "type": kind,
            "attributes": [{"name": name, "time": at, "value": _value(v)} for name, v in attributes.items()],
            "relationships": [{"objectId": other, "qualifier": how} for other, how in related.items()],
        }


def _types(known: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "attributes": [{"name": attribute, "type": kind} for attribute, kind in attributes.items()]}
        for name, attributes in known.items()
    ]


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "string")


def _value(value: Any) -> Any:
    return value if isinstance(value, bool | int | float) else str(value)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
