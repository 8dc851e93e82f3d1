"""The picture of a graph: nothing covers anything, lines lead forth, and circles are drawn as such."""

import re
from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from admin_views.graph_layout import HEIGHT, WIDTH, Drawing, around, draw

NAMES = [f"n{number}" for number in range(12)]
EDGES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=24)


def numbers(path: str) -> list[float]:
    return [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", path)]


def overlaps(drawing: Drawing) -> list[tuple[str, str]]:
    return [
        (a, b)
        for (a, (ax, ay)), (b, (bx, by)) in combinations(drawing.boxes.items(), 2)
        if abs(ax - bx) < WIDTH and abs(ay - by) < HEIGHT - 0.01
    ]


@given(edges=EDGES)
def test_boxes_stand_inside_the_picture_and_none_covers_another(edges: list[tuple[str, str]]) -> None:
    drawing = draw(NAMES, edges)
    assert set(drawing.boxes) == set(NAMES)
    assert overlaps(drawing) == []
    for x, y in drawing.boxes.values():
        assert x >= 0
        assert y >= 0
        assert x + WIDTH <= drawing.width
        assert y + HEIGHT <= drawing.height


@given(edges=EDGES)
def test_every_line_begins_at_its_first_box_and_ends_at_its_second(edges: list[tuple[str, str]]) -> None:
    drawing = draw(NAMES, edges)
    for (source, to), path in zip(edges, drawing.paths, strict=True):
        x1, y1 = drawing.boxes[source]
        x2, y2 = drawing.boxes[to]
        found = numbers(path)
        assert abs(found[0] - (x1 + WIDTH)) <= 1
        assert y1 - 0.1 <= found[1] <= y1 + HEIGHT + 0.1
        last = re.findall(r"[MCHV][^MCHV]*", path)[-1]
        assert abs(numbers(last)[0 if last[0] == "H" else -2] - (x2 - 2)) <= 1
        if last[0] == "C":
            assert y2 - 0.1 <= numbers(last)[-1] <= y2 + HEIGHT + 0.1


@given(edges=EDGES)
def test_without_the_lines_that_close_a_circle_all_lead_from_left_to_right(edges: list[tuple[str, str]]) -> None:
    drawing = draw(NAMES, edges)
    for number, (source, to) in enumerate(edges):
        if number not in drawing.back:
            assert drawing.boxes[source][0] < drawing.boxes[to][0]


def test_what_has_no_circle_is_drawn_without_lines_back() -> None:
    assert draw(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")]).back == frozenset()
    assert draw(["a", "b", "c"], [("a", "b"), ("b", "c"), ("c", "a")]).back == {2}


def test_a_line_that_passes_a_layer_goes_round_the_boxes_in_it() -> None:
    drawing = draw(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    straight = numbers(re.findall(r"H[\d.]+", drawing.paths[2])[0])
    top = drawing.boxes["b"][1]
    passes_at = numbers(re.findall(r"C[^H]*H", drawing.paths[2])[0])[-1]
    assert straight == [drawing.boxes["b"][0] + WIDTH]
    assert not top <= passes_at <= top + HEIGHT


def test_what_nothing_waits_for_stands_below_and_not_in_one_column() -> None:
    drawing = draw(["a", "b", "x", "y", "z"], [("a", "b")])
    lowest = max(drawing.boxes[name][1] for name in ("a", "b")) + HEIGHT
    assert all(drawing.boxes[name][1] >= lowest for name in ("x", "y", "z"))
    assert len({drawing.boxes[name][0] for name in ("x", "y", "z")}) > 1


def test_an_empty_graph_is_a_picture_without_boxes() -> None:
    drawing = draw([], [])
    assert drawing.boxes == {}
    assert drawing.paths == ()


def test_a_chain_is_straight() -> None:
    names = [f"c{number}" for number in range(6)]
    drawing = draw(names, list(pairwise(names)))
    assert len({y for _, y in drawing.boxes.values()}) == 1


def test_what_lies_before_and_after_is_found_over_any_number_of_lines() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "d"), ("x", "c")]
    assert around(edges, "c") == ({"a", "b", "x"}, {"d"})
    assert around(edges, "a") == (set(), {"b", "c", "d"})
