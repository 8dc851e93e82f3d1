"""Where the boxes and lines of a directed graph stand: layers from left to right, few crossings, straight lines. Pure.

The usual four steps of a layered drawing (Sugiyama, Tagawa, Toda 1981): circles are opened, every node gets the layer
of the longest way to it, layers are sorted by the middle of their neighbours, and heights are fitted to neighbours.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

WIDTH, HEIGHT = 188, 46
ACROSS, DOWN, BETWEEN = 56, 16, 12  # between layers, between boxes of a layer, beside a line that passes
EDGE = 16
LANE = 14
SWEEPS, FITS = 6, 8
STRAIGHT = 4.0  # how much more than a box a line that passes wants to stay where it is

Edge = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Drawing:
    """`boxes`: the upper left corner of each node. `paths`: SVG, one for each edge; `middles`: where its name stands.

    `back`: the edges that close a circle.
    """

    boxes: Mapping[str, tuple[float, float]]
    paths: tuple[str, ...]
    middles: tuple[tuple[float, float], ...]
    back: frozenset[int]
    width: int
    height: int


@dataclass(slots=True)
class _Place:
    """A box, or where a line passes a layer."""

    is_box: bool
    y: float = 0.0

    @property
    def room(self) -> float:
        return HEIGHT / 2 + DOWN / 2 if self.is_box else BETWEEN / 2


def draw(nodes: Sequence[str], edges: Sequence[Edge], *, across: int = ACROSS) -> Drawing:
    """Lay the graph out; `nodes` in the order in which a reader expects them. What has no edge stands below.

    `across`: the room between layers, for the names of edges.
    """
    step = WIDTH + across
    joined = {name for edge in edges for name in edge}
    linked, alone = [n for n in nodes if n in joined], [n for n in nodes if n not in joined]
    back = _back_edges(linked, edges)
    ranks = _ranks(linked, [edge for number, edge in enumerate(edges) if number not in back])
    layers: list[list[str]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for name in linked:
        layers[ranks[name]].append(name)
    places = {name: _Place(True) for name in linked}
    ways = _passing(edges, back, ranks, layers, places)
    before, after = _neighbours(ways.values())
    _sort(layers, before, after)
    _fit(layers, places, before, after)
    top = min((places[name].y - HEIGHT / 2 for name in linked), default=0.0)
    for place in places.values():
        place.y += EDGE - top
    boxes = {name: (_x(ranks[name], step), places[name].y - HEIGHT / 2) for name in linked}
    bottom = max((place.y + (HEIGHT / 2 if place.is_box else 0) for place in places.values()), default=0.0)
    ports = _ports(edges, back, ways, boxes, places)
    paths, middles = [], []
    for number, (source, to) in enumerate(edges):
        if number in back:
            bottom += LANE
            paths.append(_around(boxes[source], boxes[to], bottom))
            middles.append(((boxes[source][0] + boxes[to][0] + WIDTH) / 2, bottom))
        else:
            points = _points(ways[number], places, ports[number], boxes, step)
            paths.append(_curve(points))
            middles.append(_middle(points))
    columns = max(len(layers), min(len(alone), 5), 1)
    for index, name in enumerate(alone):
        row, column = divmod(index, columns)
        boxes[name] = (_x(column, step), bottom + (DOWN if linked else EDGE) + row * (HEIGHT + DOWN))
    bottom = max([bottom, *(y + HEIGHT for _, y in boxes.values())])
    right = max((x + WIDTH for x, _ in boxes.values()), default=0.0)
    extra = EDGE if back else 0
    return Drawing(
        boxes, tuple(paths), tuple(middles), frozenset(back), round(right + EDGE + extra), round(bottom + EDGE)
    )


def around(edges: Sequence[Edge], name: str) -> tuple[set[str], set[str]]:
    """What lies before and after a node, over any number of edges."""
    before, after = defaultdict(list), defaultdict(list)
    for source, to in edges:
        before[to].append(source)
        after[source].append(to)
    return _reached(before, name), _reached(after, name)


def _reached(ways: Mapping[str, Sequence[str]], name: str) -> set[str]:
    found: set[str] = set()
    pending = list(ways.get(name, ()))
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending.extend(ways.get(one, ()))
    return found


def _x(layer: int, step: int) -> float:
    return float(EDGE + layer * step)


def _back_edges(nodes: Sequence[str], edges: Sequence[Edge]) -> set[int]:
    """The edges that lead back to where a walk has come from: without them there is no circle."""
    leaving: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, (source, to) in enumerate(edges):
        leaving[source].append((number, to))
    back: set[int] = set()
    state: dict[str, bool] = {}  # False while the walk is below it, True afterwards
    for start in nodes:
        if start in state:
            continue
        state[start] = False
        walk = [(start, iter(leaving[start]))]
        while walk:
            name, rest = walk[-1]
            following = next(rest, None)
            if following is None:
                state[name] = True
                walk.pop()
                continue
            number, to = following
            if to not in state:
                state[to] = False
                walk.append((to, iter(leaving[to])))
            elif not state[to]:
                back.add(number)
    return back


def _ranks(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The length of the longest way to each node. The edges have no circle."""
    leaving: defaultdict[str, list[str]] = defaultdict(list)
    waits: defaultdict[str, int] = defaultdict(int)
    for source, to in edges:
        leaving[source].append(to)
        waits[to] += 1
    ranks = dict.fromkeys(nodes, 0)
    ready = [name for name in nodes if not waits[name]]
    for name in ready:
        for to in leaving[name]:
            ranks[to] = max(ranks[to], ranks[name] + 1)
            waits[to] -= 1
            if not waits[to]:
                ready.append(to)
    return ranks


def _passing(
    edges: Sequence[Edge], back: set[int], ranks: dict[str, int], layers: list[list[str]], places: dict[str, _Place]
) -> dict[int, list[str]]:
    """The way of each edge through the layers; where it passes one, it gets a place there."""
    ways: dict[int, list[str]] = {}
    for number, (source, to) in enumerate(edges):
        if number in back:
            continue
        way = [source]
        for layer in range(ranks[source] + 1, ranks[to]):
            name = f"\0{number}.{layer}"
            ranks[name] = layer
            places[name] = _Place(False)
            layers[layer].append(name)
            way.append(name)
        ways[number] = [*way, to]
    return ways


def _neighbours(ways: Iterable[Sequence[str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The places before and after each place, one layer away."""
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for way in ways:
        for source, to in pairwise(way):
            after[source].append(to)
            before[to].append(source)
    return before, after


def _sort(layers: list[list[str]], before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> None:
    """Bring each layer into the order of its neighbours, forth and back; equal ones keep theirs."""
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        beside = before if forth else after
        for layer in layers if forth else reversed(layers):
            at = {name: row for other in layers for row, name in enumerate(other)}
            keys = {name: _mean([at[n] for n in beside.get(name, ())], at[name]) for name in layer}
            layer.sort(key=keys.__getitem__)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _fit(
    layers: list[list[str]],
    places: Mapping[str, _Place],
    before: Mapping[str, list[str]],
    after: Mapping[str, list[str]],
) -> None:
    """Heights near those of the neighbours, without changing the order and without overlaps."""
    for layer in layers:
        y = 0.0
        for name in layer:
            y += places[name].room
            places[name].y = y
            y += places[name].room
        for name in layer:
            places[name].y -= y / 2
    for turn in range(FITS):
        for layer in layers if turn % 2 == 0 else reversed(layers):
            wanted = []
            for name in layer:
                beside = [*before.get(name, ()), *after.get(name, ())]
                wanted.append(_mean([places[n].y for n in beside], places[name].y))
            for name, y in zip(layer, _apart([places[n] for n in layer], wanted), strict=True):
                places[name].y = y


def _apart(row: Sequence[_Place], wanted: Sequence[float]) -> list[float]:
    """The heights nearest to those wanted (least squares) that keep order and room: pooled where they would cross."""
    offsets, offset = [], 0.0
    for number, place in enumerate(row):
        offset += place.room + (row[number - 1].room if number else 0.0)
        offsets.append(offset)
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for place, y, off in zip(row, wanted, offsets, strict=True):
        mean, weight, count = y - off, 1.0 if place.is_box else STRAIGHT, 1
        while pools and pools[-1][0] > mean:
            other, heavy, many = pools.pop()
            mean = (mean * weight + other * heavy) / (weight + heavy)
            weight, count = weight + heavy, count + many
        pools.append((mean, weight, count))
    levels = [mean for mean, _, count in pools for _ in range(count)]
    return [level + off for level, off in zip(levels, offsets, strict=True)]


# -- lines -------------------------------------------------------------------------------------------------------------


def _ports(
    edges: Sequence[Edge],
    back: set[int],
    ways: Mapping[int, Sequence[str]],
    boxes: Mapping[str, tuple[float, float]],
    places: Mapping[str, _Place],
) -> dict[int, tuple[float, float]]:
    """Where each line leaves and enters: those at one side of a box are spread over it, in the order of their next."""
    out: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    into: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for number, (source, to) in enumerate(edges):
        if number not in back:
            out[source].append((places[ways[number][1]].y, number))
            into[to].append((places[ways[number][-2]].y, number))
    leaves, enters = _spread(out, boxes), _spread(into, boxes)
    return {number: (leaves[number], enters[number]) for number in ways}


def _spread(sides: Mapping[str, list[tuple[float, int]]], boxes: Mapping[str, tuple[float, float]]) -> dict[int, float]:
    found = {}
    for name, lines in sides.items():
        gap = min(HEIGHT / (len(lines) + 1), 12.0)
        first = boxes[name][1] + HEIGHT / 2 - gap * (len(lines) - 1) / 2
        for row, (_, number) in enumerate(sorted(lines)):
            found[number] = first + row * gap
    return found


def _points(
    way: Sequence[str],
    places: Mapping[str, _Place],
    ports: tuple[float, float],
    boxes: Mapping[str, tuple[float, float]],
    step: int,
) -> list[tuple[float, float]]:
    points = [(boxes[way[0]][0] + WIDTH, ports[0])]
    for layer, name in enumerate(way[1:-1], 1):
        x = boxes[way[0]][0] + layer * step
        points += [(x, places[name].y), (x + WIDTH, places[name].y)]
    return [*points, (boxes[way[-1]][0] - 2, ports[1])]


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """Across the gaps in a curve, straight past the layers between."""
    (x, y), *rest = points
    parts = [f"M{x:.0f} {y:.1f}"]
    for number, (to_x, to_y) in enumerate(rest):
        middle = (x + to_x) / 2
        crosses = number % 2 == 0
        parts.append(
            f"C{middle:.0f} {y:.1f} {middle:.0f} {to_y:.1f} {to_x:.0f} {to_y:.1f}" if crosses else f"H{to_x:.0f}"
        )
        x, y = to_x, to_y
    return "".join(parts)


def _middle(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """In the first gap of the line, where it is nearest to its beginning."""
    (x1, y1), (x2, y2) = points[0], points[1]
    return (x1 + x2) / 2, (y1 + y2) / 2


def _around(source: tuple[float, float], to: tuple[float, float], lane: float) -> str:
    """A line that leads back, below everything."""
    x1, y1 = source[0] + WIDTH, source[1] + HEIGHT / 2
    x2, y2 = to[0], to[1] + HEIGHT / 2
    return f"M{x1:.0f} {y1:.1f}H{x1 + LANE:.0f}V{lane:.1f}H{x2 - LANE:.0f}V{y2:.1f}H{x2 - 2:.0f}"
