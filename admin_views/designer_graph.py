"""The picture of a version's dependencies: processes as boxes, what waits for what as lines. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from admin_views.designer_view import Address
from admin_views.graph_layout import ACROSS, HEIGHT, WIDTH, Edge, around, draw
from admin_views.work_words import KIND_ICONS
from app.core.findings import Finding, Severity
from app.domain.workflow.structure import ProcessLine, Structure

MOST = 120  # more boxes are a carpet: then only what is around the chosen part is drawn
MOST_LETTERS = 25
LETTER = 6.6
TYPES = {"FS": "", "SS": "start to start", "FF": "finish to finish", "SF": "start to finish"}
UNITS = {
    "minutes": "min", "hours": "h", "days": "d",
    "working_minutes": "working min", "working_hours": "working h", "working_days": "working d",
}  # fmt: skip


def graph_view(
    address: Address, parts: Structure, edges: Sequence[Mapping[str, Any]], findings: Iterable[Finding]
) -> dict[str, Any]:
    """The `graph` of steps/_workflow_graph.html. `edges` as `designer._edges` reads them.

    The chosen process, or the two of the chosen dependency, stand out with all that lies before and after.
    """
    works = {str(process.id): process for process in parts.processes()}
    shown = [edge for edge in edges if edge["successor"] in works]
    ends = [_ends(edge, works) for edge in shown]
    names = [*works, *dict.fromkeys(source for source, _ in ends if source not in works)]
    chosen = _chosen(address, works, shown)
    before, after = _neighbourhood(ends, chosen)
    drawn = set(names)
    if len(names) > MOST:
        drawn = {*before, *after, *chosen} if chosen else set()
        if not chosen or len(drawn) > MOST:
            return {"too_many": len(names), "nodes": [], "edges": []}
    kept = [number for number, (source, to) in enumerate(ends) if source in drawn and to in drawn]
    names = [name for name in names if name in drawn]
    longest = max((len(_name(shown[number])) for number in kept), default=0)
    across = max(ACROSS, round(longest * LETTER) + 16)
    picture = draw(names, [ends[number] for number in kept], across=across)
    marks = _marks(findings, works)
    others = {ends[number][0]: shown[number] for number in kept if ends[number][0] not in works}
    nodes = []
    for name in names:
        x, y = picture.boxes[name]
        tone = "chosen" if name in chosen else "before" if name in before else "after" if name in after else ""
        box = {"x": round(x), "y": round(y, 1), "tone": tone or ("aside" if chosen else "")}
        nodes.append({**box, **(_box(address, works[name], marks) if name in works else _other(others[name]))})
    lines = []
    for place, number in enumerate(kept):
        source, to = ends[number]
        is_way = (source in before and to in before | chosen) or (source in after | chosen and to in after)
        tone = "chosen" if shown[number]["id"] == _edge_of(address) else "way" if is_way else ""
        line = _line(address, shown[number], picture.paths[place], picture.middles[place], place in picture.back)
        lines.append({**line, "tone": tone or ("aside" if chosen else "")})
    return {
        "width": picture.width,
        "height": picture.height,
        "box": {"width": WIDTH, "height": HEIGHT},
        "nodes": nodes,
        "edges": sorted(lines, key=lambda line: ("aside", "", "way", "chosen").index(line["tone"])),
        "too_many": 0,
        "circle": bool(picture.back),
        "soft": any(edge["hardness"] == "soft" for edge in shown),
        "advisory": any(edge["hardness"] == "advisory" for edge in shown),
        "label": f"{len(nodes)} processes and {len(lines)} dependencies, from left to right",
        "clear_href": address.href(item="") if chosen else None,
    }


def _ends(edge: Mapping[str, Any], works: Mapping[str, ProcessLine]) -> Edge:
    """A process of another workflow is a box of its own, by what it is called."""
    source = edge["predecessor"] if edge["predecessor"] in works else f"other {edge['from']}"
    return source, edge["successor"]


def _edge_of(address: Address) -> str:
    kind, _, id_ = address.item.partition(".")
    return id_ if kind == "edge" else ""


def _chosen(address: Address, works: Mapping[str, ProcessLine], edges: Sequence[Mapping[str, Any]]) -> set[str]:
    kind, _, code = address.item.partition(".")
    if kind == "edge":
        return {name for edge in edges if edge["id"] == code for name in _ends(edge, works)}
    return {name for name, process in works.items() if kind == "process" and process.code == code}


def _neighbourhood(ends: Sequence[Edge], chosen: Iterable[str]) -> tuple[set[str], set[str]]:
    chosen = set(chosen)
    before: set[str] = set()
    after: set[str] = set()
    for name in chosen:
        back, forth = around(ends, name)
        before |= back
        after |= forth
    return before - chosen, after - chosen


def _marks(findings: Iterable[Finding], works: Mapping[str, ProcessLine]) -> dict[str, str]:
    """The worst finding of each process, by its code."""
    codes = {process.code for process in works.values()}
    marks: dict[str, str] = {}
    for finding in findings:
        if finding.place in codes and marks.get(finding.place) != "error":
            marks[finding.place] = "error" if finding.severity is Severity.ERROR else "warn"
    return marks


def _box(address: Address, process: ProcessLine, marks: Mapping[str, str]) -> dict[str, Any]:
    kind = KIND_ICONS.get(process.kind, ("", process.kind.value.replace("_", " ").capitalize()))[1]
    return {
        "label": _short(process.label),
        "title": process.label,
        "sub": f"{process.number} · {kind}",
        "href": address.href(tab="dependencies", item=f"process.{process.code}"),
        "mark": marks.get(process.code, ""),
        "other": False,
    }


def _other(edge: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "label": _short(edge["from"]),
        "title": edge["from"],
        "sub": "Another workflow",
        "href": None,
        "mark": "",
        "other": True,
    }


def _line(
    address: Address, edge: Mapping[str, Any], path: str, middle: tuple[float, float], is_back: bool
) -> dict[str, Any]:
    return {
        "path": path,
        "href": address.href(tab="dependencies", item=f"edge.{edge['id']}"),
        "title": f"{edge['to']} waits for {edge['from']}",
        "hardness": edge["hardness"],
        "name": _name(edge),
        "x": round(middle[0]),
        "y": round(middle[1] - 4, 1),
        "back": is_back,
    }


def _name(edge: Mapping[str, Any]) -> str:
    """What is unusual about it: "SS +30 min", "if" for one with a condition."""
    words = [edge["type"] if edge["type"] != "FS" else "", _lag(edge), "if" if edge["conditional"] else ""]
    return " ".join(filter(None, words))


def edge_note(edge: Mapping[str, Any]) -> str:
    """The same in words, with how hard it is: "start to start, +30 min, soft"."""
    type_ = TYPES.get(edge["type"], edge["type"])
    words = [type_, _lag(edge), edge["hardness"] if edge["hardness"] != "hard" else ""]
    return ", ".join(filter(None, [*words, "with a condition" if edge["conditional"] else ""]))


def _lag(edge: Mapping[str, Any]) -> str:
    amount = edge["lag"]
    return f"+{amount} {UNITS.get(edge['lag_unit'], edge['lag_unit'])}" if amount else ""


def _short(label: str) -> str:
    return label if len(label) <= MOST_LETTERS else f"{label[: MOST_LETTERS - 1].rstrip()}…"
