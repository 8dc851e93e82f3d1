"""The picture of a lifecycle: states in layers from the first one on, steps as lines between them. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from admin_views.cells import TONES
from models.lifecycle import LifecycleDef, TransitionDef

WIDTH, HEIGHT = 148, 44
ACROSS, DOWN = 168, 40  # between layers, where the names of steps stand, and between states of one layer
EDGE = 18
LANE = 30
LETTER = 6.3
MOST_LETTERS = 24
MOST_SOURCES = 4  # a step from more states is named below the picture: its lines would cover everything
LINE = 15


@dataclass(frozen=True, slots=True)
class _Box:
    name: str
    layer: int
    x: float
    y: float

    @property
    def right(self) -> float:
        return self.x + WIDTH

    @property
    def middle(self) -> float:
        return self.y + HEIGHT / 2


def diagram(lifecycle: LifecycleDef, counts: dict[str, int] | None = None) -> dict[str, Any]:
    """The `diagram` of steps/_lifecycle_diagram.html; `counts`: records by state, written into the boxes."""
    layers = [layer for layer in _layers(lifecycle) if layer]
    tallest = max(len(layer) for layer in layers)
    steps = _merged(lifecycle.transitions)
    place = {name: number for number, layer in enumerate(layers) for name in layer}
    far = [edge for edge in steps if abs(place[edge[1]] - place[edge[0]]) > 1]
    above = [edge for edge in far if place[edge[1]] > place[edge[0]]]
    below = [edge for edge in far if place[edge[1]] < place[edge[0]]]
    top = EDGE + LANE * len(above)
    depth = tallest * HEIGHT + (tallest - 1) * DOWN
    boxes: dict[str, _Box] = {}
    for number, layer in enumerate(layers):
        own = len(layer) * HEIGHT + (len(layer) - 1) * DOWN
        for row, name in enumerate(layer):
            y = top + (depth - own) / 2 + row * (HEIGHT + DOWN)
            boxes[name] = _Box(name, number, EDGE + number * (WIDTH + ACROSS), y)
    width = 2 * EDGE + len(layers) * WIDTH + (len(layers) - 1) * ACROSS + (EDGE * 2 if _has_loops(steps, place) else 0)
    height = top + depth + LANE * len(below) + EDGE
    ports = _ports(steps, boxes)
    edges = []
    for edge in steps:
        lane = None
        if edge in above:
            lane = top - LANE * (above.index(edge) + 1) + 8
        elif edge in below:
            lane = top + depth + LANE * (below.index(edge) + 1) - 8
        edges.append(_edge(edge, boxes, ports[edge[:2]], lane))
    _spread(edges)
    return {
        "width": round(width),
        "height": round(height),
        "nodes": [_node(lifecycle, boxes[state.name], counts or {}) for state in lifecycle.states],
        "edges": edges,
        "not_drawn": ", ".join(step.label for step in lifecycle.transitions if not is_drawn(step)),
        "label": f"{len(lifecycle.states)} states and {len(lifecycle.transitions)} steps, from {_first(lifecycle)} on",
    }


def _first(lifecycle: LifecycleDef) -> str:
    return next(state.label for state in lifecycle.states if state.name == lifecycle.initial)


def _layers(lifecycle: LifecycleDef) -> list[list[str]]:
    """States by the longest way to them. The order in which they are defined says which steps lead back.

    What no drawn step leads to stands where there is room.
    """
    names = sorted((state.name for state in lifecycle.states), key=lambda name: name != lifecycle.initial)
    order = {name: number for number, name in enumerate(names)}
    edges = {(source, to) for source, to, _ in _merged(lifecycle.transitions) if order[source] < order[to]}
    distance = {lifecycle.initial: 0}
    for name in names:
        before = [distance[source] for source, to in edges if to == name and source in distance]
        if before:
            distance[name] = max(before) + 1
        elif any(source == name for source, _ in edges):
            distance.setdefault(name, 0)  # another way in
    layers: dict[int, list[str]] = {number: [] for number in range(max(distance.values()) + 1)}
    for name in names:
        if name in distance:
            layers[distance[name]].append(name)
    for name in names:
        if name not in distance:
            emptiest = min(layers, key=lambda number: (len(layers[number]), -number))
            layers[emptiest].append(name)
    leaving: dict[str, list[str]] = defaultdict(list)
    for source, to in edges:
        leaving[source].append(to)
    ordered = [layers[number] for number in sorted(layers)]
    return [_ordered(layer, ordered[number - 1] if number else [], leaving) for number, layer in enumerate(ordered)]


def _ordered(layer: list[str], before: Sequence[str], leaving: dict[str, list[str]]) -> list[str]:
    """States near those that lead to them, so that few lines cross."""

    def height(name: str) -> float:
        from_ = [row for row, source in enumerate(before) if name in leaving[source]]
        return sum(from_) / len(from_) if from_ else len(before)

    return sorted(layer, key=height)


def is_drawn(step: TransitionDef) -> bool:
    """Whether its lines can be followed by the eye."""
    return len(step.sources) <= MOST_SOURCES


_Merged = tuple[str, str, tuple[tuple[str, str], ...]]


def _merged(transitions: Sequence[TransitionDef]) -> list[_Merged]:
    """One line for all the steps between the same two states: (from, to, (label, tone) of each)."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for step in transitions:
        for source in step.sources if is_drawn(step) else ():
            if source != step.to or not step.or_to:  # of several targets the usual one
                found[source, step.to].append((step.label, step.tone))
    return [(source, to, tuple(labels)) for (source, to), labels in found.items()]


def _has_loops(steps: Sequence[_Merged], place: dict[str, int]) -> bool:
    last = max(place.values())
    return any(place[a] == place[b] == last for a, b, _ in steps)


def _ports(steps: Sequence[_Merged], boxes: dict[str, _Box]) -> dict[tuple[str, str], tuple[float, float]]:
    """Where each line leaves and enters: lines at one side of a box are spread over it, in the order of their ends."""
    ends: dict[tuple[str, str], list[tuple[float, tuple[str, str], bool]]] = defaultdict(list)
    for source, to, _ in steps:
        a, b = boxes[source], boxes[to]
        out, into = (
            ("right", "left") if b.layer > a.layer else ("left", "right") if b.layer < a.layer else ("right",) * 2
        )
        ends[source, out].append((b.middle, (source, to), True))
        ends[to, into].append((a.middle, (source, to), False))
    found: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (name, _side), lines in ends.items():
        gap = HEIGHT / (len(lines) + 1)
        for number, (_, edge, leaves) in enumerate(sorted(lines)):
            found[edge][0 if leaves else 1] = boxes[name].y + gap * (number + 1)
    return {edge: (ys[0], ys[1]) for edge, ys in found.items()}


def _edge(edge: _Merged, boxes: dict[str, _Box], ports: tuple[float, float], lane: float | None) -> dict[str, Any]:
    source, to, labels = edge
    a, b, (y1, y2) = boxes[source], boxes[to], ports
    if source == to or a.layer == b.layer:
        out = a.right + 26 + (8 if source != to else 0)
        path = f"M{a.right:.0f} {y1:.1f}H{out:.0f}V{y2:.1f}H{b.right + 2:.0f}"
        x, y = out + 4, (y1 + y2) / 2
        return _drawn(path, labels, x, y, "start")
    forth = b.layer > a.layer
    x1, x2 = (a.right, b.x - 2) if forth else (a.x, b.right + 2)
    if lane is not None:
        aside = 10 + 5 * (round(abs(lane)) // LANE % 7)  # so that lines beside each other are told apart
        turn = aside if forth else -aside
        path = f"M{x1:.0f} {y1:.1f}H{x1 + turn:.0f}V{lane:.1f}H{x2 - turn:.0f}V{y2:.1f}H{x2:.0f}"
        return _drawn(path, labels, (x1 + x2) / 2, lane, "middle")
    middle = (x1 + x2) / 2
    path = f"M{x1:.0f} {y1:.1f}C{middle:.0f} {y1:.1f} {middle:.0f} {y2:.1f} {x2:.0f} {y2:.1f}"
    return _drawn(path, labels, middle, (y1 + y2) / 2, "middle")


def _drawn(path: str, labels: Sequence[tuple[str, str]], x: float, y: float, anchor: str) -> dict[str, Any]:
    tones = {tone for _, tone in labels}
    tone = next(iter(tones)) if len(tones) == 1 else "neutral"
    return {
        "path": path,
        "lines": [_short(label) for label, _ in labels],
        "x": round(x),
        "y": y,
        "anchor": anchor,
        "tone": tone,
    }


def _short(label: str) -> str:
    return label if len(label) <= MOST_LETTERS else f"{label[: MOST_LETTERS - 1]}…"


def _spread(edges: list[dict[str, Any]]) -> None:
    """Move the names of steps apart where they would stand on each other."""
    placed: list[tuple[float, float, float, float]] = []
    for edge in sorted(edges, key=lambda edge: (edge["x"], edge["y"])):
        wide = max(len(line) for line in edge["lines"]) * LETTER
        tall = len(edge["lines"]) * LINE
        left = edge["x"] - (wide / 2 if edge["anchor"] == "middle" else 0)
        y = edge["y"] - tall / 2
        right = left + wide
        while any(left < b[2] and right > b[0] and y < b[3] and y + tall > b[1] for b in placed):
            y += 4
        placed.append((left, y, right, y + tall))
        edge["y"] = round(y + LINE * 0.78, 1)


def _node(lifecycle: LifecycleDef, box: _Box, counts: dict[str, int]) -> dict[str, Any]:
    state = next(state for state in lifecycle.states if state.name == box.name)
    return {
        "name": state.name,
        "label": _short(state.label),
        "tone": state.colour if state.colour in TONES else state.category,
        "x": round(box.x),
        "y": round(box.y, 1),
        "width": WIDTH,
        "height": HEIGHT,
        "first": state.name == lifecycle.initial,
        "end": state.category in ("final", "void"),
        "count": counts.get(state.name),
    }
