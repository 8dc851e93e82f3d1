"""The demo package: its files agree with each other, and its PnL with a second computation from the ECB file."""

import csv
import graphlib
import io
import runpy
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.domain.calendars.deadlines import parse_deadline
from app.domain.finance.pnl import Measure, PositionKey, Trade, compute_pnl, positions_after, rate_with_spread
from app.domain.finance.rate_checks import RateLimits
from app.domain.finance.rate_file import open_rate_file
from app.domain.finance.thresholds import thresholds_of
from tests.unit.finance.exact import eighteen_places

DEMO = Path(__file__).parents[3] / "demo"
CUT_OFF = "16:00"
LIMIT_COLUMNS = ("absolute_limit", "percent_limit", "percent_floor", "zscore_limit")
Row = dict[str, str]


def rows_of(name: str) -> list[Row]:
    with (DEMO / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def document(name: str) -> dict[str, Any]:
    content = yaml.safe_load((DEMO / f"{name}.yaml").read_text(encoding="utf-8"))[name]
    assert isinstance(content, dict)
    return content


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    return document("workflow")


@pytest.fixture(scope="module")
def package() -> dict[str, Any]:
    return document("package")


def processes_of(stage: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from stage.get("processes", [])
    for child in stage.get("stages", []):
        yield from processes_of(child)


def stages_of(stage: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield stage
    for child in stage.get("stages", []):
        yield from stages_of(child)


def nodes_of(name: str) -> dict[str, Row]:
    return {row["code"]: row for row in rows_of(f"hierarchies/{name}.csv")}


def books() -> dict[str, Row]:
    return {code: row for code, row in nodes_of("desk_book").items() if row["kind"] == "book"}


def test_the_workflow_has_five_stages_with_desks_below_the_third_and_fourth(workflow: dict[str, Any]) -> None:
    assert [stage["order"] for stage in workflow["stages"]] == [1, 2, 3, 4, 5]
    assert [len(stage.get("stages", [])) for stage in workflow["stages"]] == [0, 0, 2, 2, 0]
    assert [len(list(processes_of(stage))) for stage in workflow["stages"]] == [3, 2, 5, 4, 2]


def test_the_workflow_is_acyclic_and_every_process_leads_to_publish(workflow: dict[str, Any]) -> None:
    codes = [process["code"] for stage in workflow["stages"] for process in processes_of(stage)]
    assert max(Counter(codes).values()) == 1
    predecessors: dict[str, set[str]] = {code: set() for code in codes}
    for edge in workflow["dependencies"]:
        assert {edge["from"], edge["to"]} <= set(codes)
        assert (edge["type"], edge["hardness"]) == ("FS", "hard")
        predecessors[edge["to"]].add(edge["from"])
    order = list(graphlib.TopologicalSorter(predecessors).static_order())
    assert sorted(order) == sorted(codes)
    reached = {"publish"}
    for code in reversed(order):
        if code in reached:
            reached |= predecessors[code]
    assert reached == set(codes)


def test_no_deadline_is_before_that_of_a_predecessor_or_after_that_of_its_stage(workflow: dict[str, Any]) -> None:
    def minute(text: str) -> int:
        parse_deadline(text)
        prefix, clock, zone = text.split()
        assert (prefix, zone) == ("BD+0", "Europe/Berlin")
        return int(clock[:2]) * 60 + int(clock[3:])

    due: dict[str, int] = {}
    for top in workflow["stages"]:
        for stage in stages_of(top):
            for process in processes_of(stage):
                due[process["code"]] = minute(process["deadline"])
                assert due[process["code"]] <= minute(stage["deadline"]) <= minute(top["deadline"])
    for edge in workflow["dependencies"]:
        assert due[edge["from"]] <= due[edge["to"]]


def test_every_role_node_action_and_calendar_of_the_workflow_resolves(
    workflow: dict[str, Any], package: dict[str, Any]
) -> None:
    roles = {role for user in rows_of("users.csv") for role in user["roles"].split()}
    actions = {"load_rates", "check_rates", "load_positions", "compute_pnl", "roll_up", "test_thresholds", "publish"}
    hierarchies = {hierarchy["code"]: hierarchy["file"] for hierarchy in package["hierarchies"]}
    nodes = {row["code"] for row in rows_of(hierarchies[workflow["node_hierarchy"]])}
    used: set[str] = set()
    for process in (process for stage in workflow["stages"] for process in processes_of(stage)):
        assert process["owner_role"] in roles
        assert process.get("node", "FX") in nodes
        assert 0 < process["warn_minutes"] <= 30
        assert process["expected_minutes"] > 0
        if process["kind"] == "automatic":
            used.add(process["action"])
            assert process["retry"]["max_attempts"] > 1
        if process["kind"] == "approval":
            assert process["approver_role"] in roles - {process["owner_role"]}
            assert [level["level"] for level in process["approval_levels"]] == [1]
            assert {level["role"] for level in process["approval_levels"]} == {process["approver_role"]}
        if process["kind"] == "checklist":
            assert any(item["required"] for item in process["checklist"])
    assert used == {f"finance.{action}" for action in actions}
    assert workflow["calendar"] == package["calendar"] == "TARGET"
    assert set(package["run"]) == {"workflow", "node", "start"}
    assert package["run"]["node"] in nodes
    parse_deadline(package["run"]["start"])


def test_every_file_of_the_package_exists_and_its_limits_are_valid(package: dict[str, Any]) -> None:
    for name in ("users", "positions", "trades", "thresholds", "workflow"):
        assert (DEMO / package[name]).is_file()
    for limits in (package["rates"]["limits"], *package["rates"]["limits_by_currency"].values()):
        decimals: dict[str, Any] = {n: Decimal(v) if isinstance(v, str) else v for n, v in limits.items()}
        assert RateLimits(**decimals).window == 60
    today = open_rate_file().day(open_rate_file().dates[-1])
    assert set(package["rates"]["expected"]) <= set(today.rates)
    assert {row["currency"] for row in books().values()} <= set(package["rates"]["expected"])


@pytest.mark.parametrize("name", ["legal_entity", "region", "desk_book"])
def test_a_hierarchy_has_one_root_and_parents_before_children(name: str) -> None:
    seen: set[str] = set()
    for row in rows_of(f"hierarchies/{name}.csv"):
        assert row["parent_code"] in seen or (not seen and not row["parent_code"])
        assert row["code"] not in seen
        assert not row["valid_to"] or date.fromisoformat(row["valid_from"]) < date.fromisoformat(row["valid_to"])
        seen.add(row["code"])


def test_fourteen_books_in_thirteen_currencies_stand_in_all_three_hierarchies() -> None:
    assert len(books()) == 14
    assert len({row["currency"] for row in books().values()}) == 13
    legal_entities, regions = nodes_of("legal_entity"), nodes_of("region")
    for row in nodes_of("desk_book").values():
        assert row["legal_entity"] in legal_entities
        assert row["region"] in regions


def test_thresholds_are_valid_and_cover_every_book_and_desk() -> None:
    limited: set[str] = set()
    for row in rows_of("thresholds.csv"):
        limits = {name: Decimal(row[name]) for name in LIMIT_COLUMNS if row[name]}
        assert thresholds_of(row["node"], Measure(row["measure"]), **limits)  # type: ignore[arg-type]
        limited.add(row["node"])
    desks = {
        code
        for code, row in nodes_of("desk_book").items()
        if row["kind"] in {"desk", "sub_desk"} and not row["valid_to"]
    }
    assert limited == set(books()) | desks


def test_the_seven_people_have_the_roles_of_their_names() -> None:
    users = {row["email"].removesuffix("@demo.example"): row["roles"] for row in rows_of("users.csv")}
    roles = ["admin", "preparer", "controller", "desk_head", "operations", "auditor"]
    people = {role.replace("_", ""): role for role in roles}
    assert users == people | {"controller2": "controller"}


def test_making_the_sample_again_gives_the_committed_files(tmp_path: Path) -> None:
    runpy.run_path(str(DEMO / "make_sample.py"))["write"](tmp_path)
    for name in ("positions.csv", "trades.csv"):
        assert (tmp_path / name).read_bytes() == (DEMO / name).read_bytes()


def test_trades_are_on_every_day_of_the_window_in_books_of_their_currency() -> None:
    trades = rows_of("trades.csv")
    assert sorted({int(row["day_offset"]) for row in trades}) == list(range(-74, 1))
    assert len({row["trade_ref"] for row in trades}) == len(trades) > 4_000
    for row in trades:
        assert row["side"] in {"buy", "sell"}
        assert Decimal(row["quantity"]) > 0
        assert row["traded_at"] < CUT_OFF
        assert bool(row["late_reason"]) is (row["captured_at"] > CUT_OFF)
        assert row["traded_at"] <= row["captured_at"]
    assert {(row["book"], row["currency"]) for row in trades} == {(b, r["currency"]) for b, r in books().items()}
    late_today = {row["book"][:4] for row in trades if row["day_offset"] == "0" and row["captured_at"] > CUT_OFF}
    assert late_today == {"FXG1", "FXEM"}
    opening = rows_of("positions.csv")
    assert {row["day_offset"] for row in opening} == {"-75"}
    assert sorted(row["book"] for row in opening) == sorted(books())


def fractions_of_the_ecb_file() -> list[dict[str, Fraction]]:
    """Read the packaged file without the product's reader; newest day first, as in the file."""
    content = files("currency_converter").joinpath("eurofxref-hist.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read(archive.namelist()[0]).decode("utf-8-sig").splitlines()
    header = lines[0].split(",")
    return [
        {c: Fraction(text) for c, text in zip(header[1:], line.split(",")[1:], strict=True) if c and text != "N/A"}
        for line in lines[1:77]
    ]


def test_pnl_of_every_book_and_day_equals_a_recomputation_in_fractions_to_the_last_digit() -> None:
    ecb = fractions_of_the_ecb_file()
    held = {row["book"]: Fraction(row["quantity"]) for row in rows_of("positions.csv")}
    by_day: dict[int, list[Row]] = defaultdict(list)
    for row in rows_of("trades.csv"):
        by_day[int(row["day_offset"])].append(row)

    known = open_rate_file()
    dates = known.dates[-76:]
    positions = {
        PositionKey(row["book"], row["currency"]): Decimal(row["quantity"]) for row in rows_of("positions.csv")
    }
    compared = 0
    for offset in range(-74, 1):
        rates, previous = known.day(dates[offset - 1]).rates, known.day(dates[offset - 2]).rates
        trades = [
            Trade(
                trade_ref=row["trade_ref"],
                business_date=dates[offset - 1],
                book=row["book"],
                currency=row["currency"],
                quantity=Decimal(row["quantity"]) if row["side"] == "buy" else -Decimal(row["quantity"]),
                rate=rate_with_spread(rates[row["currency"]], Decimal(row["spread_bp"])),
                captured_late=row["captured_at"] > CUT_OFF,
            )
            for row in by_day[offset]
        ]
        results = compute_pnl(opening=positions, trades=trades, rates=rates, previous_rates=previous)
        positions = positions_after(positions, trades)
        for result in results:
            now, before = ecb[-offset][result.currency], ecb[-offset + 1][result.currency]
            market = held[result.book] / now - held[result.book] / before
            new = on_time = Fraction()
            for row in by_day[offset]:
                if row["book"] == result.book:
                    quantity = Fraction(row["quantity"]) * (1 if row["side"] == "buy" else -1)
                    dealt = Fraction(round(now * (1 + Fraction(row["spread_bp"]) / 10_000) * 10**6), 10**6)
                    new += quantity / now - quantity / dealt
                    on_time += quantity / now - quantity / dealt if row["captured_at"] <= CUT_OFF else 0
                    held[result.book] += quantity
            assert result.actual == eighteen_places(market + new)
            assert result.flash == eighteen_places(market + on_time)
            assert result.market_move == eighteen_places(market)
            assert result.closing_value == eighteen_places(held[result.book] / now)
            assert result.is_rounding_only
            compared += 1
    assert compared == 75 * 14
