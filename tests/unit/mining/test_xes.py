"""Event logs as files: what is read, what is refused in words, and what is written so that others can read it."""

import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidRequest
from app.domain.mining.histories import CaseHistory, HistoryEvent
from app.domain.mining.mapping import values_of
from app.domain.mining.ocel_writing import OcelWriter
from app.domain.mining.replay import in_order
from app.domain.mining.xes_reading import LogCase, LogEvent, read_cases
from app.domain.mining.xes_writing import XesWriter
from models.loader import load_entity

AT = datetime(2026, 10, 30, 9, 0, tzinfo=UTC)
TRACE = """<log><trace><string key="concept:name" value="{case}"/>
<event><string key="concept:name" value="Submit"/><date key="time:timestamp" value="{at}"/>
<string key="org:resource" value="Ann"/><string key="(case)_Amount" value="12.5"/></event></trace></log>"""
ENTITY = load_entity(
    """
name: declaration
module: expenses
title_field: case_id
fields:
  - {name: case_id, type: text, required: true}
  - {name: budget_number, type: text}
  - {name: amount, type: decimal, scale: 2}
  - {name: urgent, type: boolean}
"""
)


def _file(folder: Path, text: str, name: str = "log.xes") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_a_log_is_read_plain_and_compressed_with_zones_and_case_attributes_at_events(tmp_path: Path) -> None:
    text = TRACE.format(case="c1", at="2026-10-30T10:00:00.000+01:00")
    plain = list(read_cases(_file(tmp_path, text)))
    packed = tmp_path / "log.xes.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert plain == list(read_cases(packed))
    assert plain[0].events == (LogEvent("Submit", AT, "Ann"),)
    assert (plain[0].name, plain[0].attributes["Amount"]) == ("c1", "12.5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<log><trace>", "not well-formed XML"),
        ("<html></html>", "not an event log in XES: it begins with <html>"),
        ("<log><trace><event/></trace></log>", "has no concept:name and no time:timestamp"),
        (TRACE.format(case="c", at="yesterday"), "'yesterday' in the case c is no time"),
        ("<log><trace></trace></log>", "so its case has no name"),
        ("\\x1f\\x8b", "cannot be read|not well-formed"),
    ],
)
def test_what_is_no_log_is_refused_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        list(read_cases(_file(tmp_path, text)))


def test_attributes_fill_the_fields_of_their_name_however_it_is_written() -> None:
    given_ = {"BudgetNumber": "b 1", "case:Amount": "26.85499", "Urgent": "true", "variant": "7"}
    assert values_of(ENTITY, given_, "c1") == {
        "case_id": "c1", "budget_number": "b 1", "amount": "26.85", "urgent": True,
    }  # fmt: skip


def test_numbers_are_rounded_half_to_even_and_words_are_left_to_the_check() -> None:
    assert values_of(ENTITY, {"amount": "0.125"}, "c")["amount"] == "0.12"
    assert values_of(ENTITY, {"amount": "a lot"}, "c")["amount"] == "a lot"


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=6), min_size=1, max_size=8))
def test_events_go_by_time_and_those_of_a_case_keep_their_order(minutes: list[list[int]]) -> None:
    cases = [
        LogCase(f"c{n}", {}, tuple(LogEvent(f"{n}.{i}", AT + timedelta(minutes=m), None) for i, m in enumerate(each)))
        for n, each in enumerate(minutes)
    ]
    entries = list(in_order(cases))
    assert [entry.position for entry in entries] == list(range(sum(map(len, minutes))))
    for number, case in enumerate(cases):
        mine = [entry for entry in entries if entry.case == number]
        assert tuple(entry.event for entry in mine) == case.events
        assert [entry.first for entry in mine] == [True] + [False] * (len(mine) - 1)


HISTORY = CaseHistory(
    "trade",
    "id-1",
    'T-1 <&"> \x00',
    {"quantity": Decimal("1.50"), "late": False, "lot": 3},
    (
        HistoryEvent("Größe prüfen", AT, "Ann", attributes={"comment": "a\nb"}),
        HistoryEvent("Done", AT, None, "ate_abort", objects=(("process_run", "p1", "Load"),)),
    ),
)


def test_what_is_written_as_xes_reads_back_with_every_character(tmp_path: Path) -> None:
    stream = io.StringIO()
    writer = XesWriter(stream, "trades")
    writer.case(HISTORY)
    writer.end()
    [case] = read_cases(_file(tmp_path, stream.getvalue()))
    assert case.name == 'T-1 <&"> \ufffd'
    assert [(e.activity, e.at, e.resource) for e in case.events] == [("Größe prüfen", AT, "Ann"), ("Done", AT, None)]
    root = ElementTree.fromstring(stream.getvalue())
    kinds = {item.get("key"): item.tag.rpartition("}")[2] for item in root.iter() if item.get("key")}
    assert (kinds["quantity"], kinds["late"], kinds["lot"], kinds["time:timestamp"]) == (
        "float",
        "boolean",
        "int",
        "date",
    )


def test_what_is_written_as_ocel_names_every_object_and_type_that_it_uses() -> None:
    stream = io.StringIO()
    writer = OcelWriter(stream, "trades")
    writer.case(HISTORY)
    writer.end()
    log = json.loads(stream.getvalue())
    objects = {each["id"]: each["type"] for each in log["objects"]}
    assert objects == {"p1": "process_run", "id-1": "trade"}
    assert {each["name"] for each in log["objectTypes"]} == set(objects.values())
    assert {each["name"] for each in log["eventTypes"]} == {each["type"] for each in log["events"]}
    assert {r["objectId"] for each in log["events"] for r in each["relationships"]} <= objects.keys()
    assert len({each["id"] for each in log["events"]}) == 2
