"""A real log of 10,357 expense declarations, put through the steps of a lifecycle."""

import asyncio
import gzip
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
import yaml
from sqlalchemy import text

from app.bootstrap import Runtime, build
from app.core.site_entities import install
from app.domain.mining.export import export_log
from app.domain.mining.replay import replay
from app.domain.sla.sweep import sweep
from models.loader import load_entity
from tests.conftest import test_settings as settings_in
from tests.factories import SYSTEM
from tests.service.mining.service_levels import breaches, rounded

ROOT = Path(__file__).resolve().parents[3]
LOG = ROOT.parent / "shared" / "data" / "bpi2020" / "DomesticDeclarations.xes.gz"
DEFINITION = Path(__file__).parent / "declaration.yaml"

pytestmark = pytest.mark.skipif(not LOG.exists(), reason="the log of declarations is not on this machine")

Applied = list[tuple[str, str, datetime]]


def traces(log: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Case and events of the log, by nothing but the standard library."""
    with gzip.open(log) as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag.rpartition("}")[2] == "trace":
                events = [{i.get("key", ""): i.get("value", "") for i in e} for e in element if e.tag.endswith("event")]
                yield next(i.get("value", "") for i in element if i.get("key") == "concept:name"), events
                element.clear()


def fold(log: Path = LOG) -> tuple[Applied, Counter[str], Counter[str]]:
    """The same model on the same log, by an interpreter of its own: what it applies, refuses, and where cases end."""
    model = yaml.safe_load(DEFINITION.read_text("utf-8"))["lifecycle"]
    ways: dict[tuple[str, str], str] = {}
    for step in model["transitions"]:
        for source in [step["from"]] if isinstance(step["from"], str) else step["from"]:
            ways[source, step["activity"]] = step["to"]
    applied: Applied = []
    refused: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for case, events in traces(log):
        state = "new"
        for event in events:
            activity, at = event["concept:name"], datetime.fromisoformat(event["time:timestamp"]).astimezone(UTC)
            guarded = activity == "Request Payment" and round(float(event["(case)_Amount"]), 2) <= 0
            if (state, activity) in ways and not guarded:
                state = ways[state, activity]
                applied.append((case, activity, at))
            else:
                refused[f"{state} -> {activity}"] += 1
        ends[state] += 1
    return applied, refused, ends


async def _installed(database_url: str, folder: Path) -> Runtime:
    settings = settings_in(folder, database_url=database_url)
    first = await build(settings)
    await install(first.engine, [load_entity(DEFINITION.read_text("utf-8"))])
    await first.aclose()
    return await build(settings)


async def _marks(runtime: Runtime) -> Mapping[str, Any]:
    """What a replay could have changed, condensed."""
    statement = """
    SELECT (SELECT md5(string_agg(d::text, '' ORDER BY d.id)) FROM ext.declaration d) AS records,
           (SELECT md5(string_agg(t::text, '' ORDER BY t.id)) FROM record_transition t) AS steps,
           (SELECT count(*) FROM audit_entry) AS entries, (SELECT count(*) FROM log_replay_refusal) AS refusals
    """
    async with runtime.uow(SYSTEM) as uow:
        return dict((await uow.execute(text(statement))).mappings().one())


async def _breaches_are_those_of_the_log(runtime: Runtime) -> None:
    """The clocks that the replay drove, once swept, against the log itself."""
    end = datetime(2026, 11, 1, tzinfo=UTC)
    await sweep(runtime, now=end)
    model = yaml.safe_load(DEFINITION.read_text("utf-8"))["lifecycle"]
    reached = {
        (source, step["activity"]): step["to"]
        for step in model["transitions"]
        for source in ([step["from"]] if isinstance(step["from"], str) else step["from"])
    }
    cases = []
    for case, events in traces(LOG):
        state, visits = "new", []
        amount = rounded(events[0]["(case)_Amount"])
        for event in events:
            activity, at = event["concept:name"], datetime.fromisoformat(event["time:timestamp"]).astimezone(UTC)
            if (state, activity) in reached and not (activity == "Request Payment" and amount <= 0):
                state = reached[state, activity]
                visits.append((at, state))
        cases.append((case, visits, amount))
    expected = breaches(cases, end)
    for code, wanted in zip(("declaration-response", "declaration-resolution"), expected, strict=True):
        async with runtime.uow(SYSTEM) as uow:
            rows = await uow.execute(
                text(
                    "SELECT c.label, c.breached_at FROM sla_clock c JOIN sla_policy p ON p.id = c.policy_id"
                    " WHERE p.code = :code AND c.breached_at IS NOT NULL"
                ),
                {"code": code},
            )
            assert {row.label: row.breached_at for row in rows} == wanted
        assert len(wanted) > 300


async def test_every_event_is_applied_or_refused_as_an_independent_fold_says_and_comes_back_from_the_export(
    database_url: str, tmp_path: Path
) -> None:
    runtime = await _installed(database_url, tmp_path)
    applied, refused, ends = fold()
    result = await replay(runtime, log=LOG, entity="declaration")
    assert (result.cases, result.events) == (10_357, 55_628)
    assert result.applied == len(applied)
    assert result.refused_by == dict(refused)
    assert result.refused == refused.total() == 55_628 - len(applied)
    async with runtime.uow(SYSTEM) as uow:
        found = await uow.execute(text("SELECT lifecycle_state, count(*) AS cases FROM ext.declaration GROUP BY 1"))
        assert {row.lifecycle_state: row.cases for row in found} == dict(ends)
    await _breaches_are_those_of_the_log(runtime)
    before = await _marks(runtime)
    assert (await replay(runtime, log=LOG, entity="declaration")).plain() == result.plain()
    assert await _marks(runtime) == before
    target = tmp_path / "declarations.xes.gz"
    async with runtime.uow(SYSTEM) as uow:
        assert await export_log(uow, target=target, entity="declaration") == (
            len({a[0] for a in applied}),
            len(applied),
        )
    await runtime.aclose()
    # In a process of its own: the reader takes half a gigabyte of libraries.
    reader = await asyncio.create_subprocess_exec(sys.executable, "-c", READ_WITH_PM4PY, str(target), stdout=PIPE)
    read, _ = await reader.communicate()
    exported = [tuple(row) for row in orjson.loads(read.splitlines()[-1])]
    by_case: dict[str, list[tuple[str, str]]] = {}
    for case, activity, at in applied:
        by_case.setdefault(case, []).append((activity, at.isoformat()))
    back: dict[str, list[tuple[str, str]]] = {}
    for case, activity, written in exported:
        back.setdefault(case, []).append((activity, datetime.fromisoformat(written).astimezone(UTC).isoformat()))
    assert back == by_case


READ_WITH_PM4PY = """
import sys, orjson, pm4py
log = pm4py.read_xes(sys.argv[1])
rows = zip(log["case:concept:name"], log["concept:name"], log["time:timestamp"])
print(orjson.dumps([[case, activity, at.isoformat()] for case, activity, at in rows]).decode())
"""


def beginning(log: Path, cases: int, target: Path) -> Path:
    """A log of the first cases only."""
    with gzip.open(log, "rt", encoding="utf-8") as whole:
        parts = whole.read().split("<trace>")[: cases + 1]
    with gzip.open(target, "wt", encoding="utf-8", compresslevel=1) as file:
        file.write("<trace>".join(parts) + "</log>\n")
    return target


async def test_a_replay_that_was_killed_ends_like_one_that_was_not(database_url: str, tmp_path: Path) -> None:
    runtime = await _installed(database_url, tmp_path)
    log = beginning(LOG, 3_000, tmp_path / "beginning.xes.gz")
    command = [sys.executable, "-m", "app.cli", "replay", str(log), "--definition", str(DEFINITION), "--json"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "STEPS_DATABASE_URL": database_url,
        "STEPS_REDIS_URL": "redis://127.0.0.1:1/0",
        "STEPS_SECRET_KEY": "k" * 48,
        "STEPS_DEMO": "false",
        "STEPS_DATA_DIR": str(tmp_path),
    }
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=DEVNULL)
    position, deadline = 0, time.monotonic() + 120
    while position < 3_000 and time.monotonic() < deadline and child.returncode is None:
        async with runtime.uow(SYSTEM) as uow:
            position = await uow.scalar(text("SELECT max(position) FROM log_replay")) or 0
    child.send_signal(signal.SIGKILL)
    await child.wait()
    assert 3_000 <= position < 15_000, "it was killed on its way"
    again = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=PIPE)
    printed, _ = await again.communicate()
    assert again.returncode == 0
    result = orjson.loads(printed)
    applied, refused, ends = fold(log)
    assert (result["applied"], result["refused_by"]) == (len(applied), dict(refused))
    async with runtime.uow(SYSTEM) as uow:
        found = await uow.execute(text("SELECT lifecycle_state, count(*) AS cases FROM ext.declaration GROUP BY 1"))
        assert {row.lifecycle_state: row.cases for row in found} == dict(ends)
        assert await uow.scalar(text("SELECT count(*) FROM record_transition")) == len(applied)
        assert await uow.scalar(text("SELECT count(DISTINCT source_index) FROM record_transition")) == len(applied)
    await runtime.aclose()
