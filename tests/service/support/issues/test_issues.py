"""Raising an issue and its way to a solution: priority, times, messages, who is told, who sees it."""

import asyncio
from datetime import timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from app.core.errors import Conflict, Forbidden, NotFound, TransitionRefused, ValidationFailed
from app.domain.entities.queries import ListQuery, list_records
from app.domain.entities.service import create_record
from app.domain.lifecycles.publishing import publish, save_draft
from app.domain.support.issue_links import ISSUE, link_records
from app.domain.support.issue_messages import post_message, thread
from app.domain.support.issue_priorities import SHIPPED, Impact, Priority, Urgency, matrix, set_cell
from app.domain.support.issue_similar import similar_issues
from app.domain.support.issue_trend import issue_trend
from app.domain.support.issues import merge_issue, watch
from models.lifecycle import LifecycleDef
from models.registry import product_registry
from tests.factories import SYSTEM
from tests.service.support.issues.desk import Desk


async def test_an_issue_takes_its_place_from_what_it_is_about_and_its_priority_from_the_matrix(desk: Desk) -> None:
    issue = await desk.read(await desk.issue("No rates", "a", impact="significant", urgency="critical"))
    process = await desk.row("a")
    assert (issue["application_id"], issue["node_id"]) == (process["application_id"], process["node_id"])
    assert issue["requester_id"] == desk.people["operations"].id
    assert issue["reference"].startswith("ISS-")
    assert (issue["priority"], issue["lifecycle_state"]) == ("p1", "new")


async def test_without_an_impact_the_deadline_of_the_process_says_which(desk: Desk) -> None:
    async with desk.runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text("UPDATE process_run SET due_at = :due, critical = true WHERE code = 'b'"),
            {"due": uow.now - timedelta(hours=1)},
        )
        await uow.execute(
            text("UPDATE process_run SET due_at = :due WHERE code = 'a'"), {"due": uow.now + timedelta(days=9)}
        )
    late = await desk.read(await desk.issue("No rates", "a", "b"))
    calm = await desk.read(await desk.issue("A question", "a"))
    assert (late["impact"], late["impact_reason"]) == (
        "extensive",
        "“B” is on the critical path and has missed its deadline.",
    )
    assert calm["impact"] == "minor"


async def test_the_priority_follows_impact_and_urgency_and_the_matrix(desk: Desk) -> None:
    issue = await desk.issue(impact="minor", urgency="low")
    assert (await desk.read(issue))["priority"] == "p4"
    await desk.change(issue, impact="moderate")
    assert (await desk.read(issue))["priority"] == "p3"
    done = await desk.issue(impact="moderate", urgency="low")
    await desk.solve(done)
    async with desk.runtime.uow(desk.people["admin"]) as uow:
        await set_cell(uow, impact=Impact.MODERATE, urgency=Urgency.LOW, priority=Priority.P1)
    assert (await desk.read(issue))["priority"] == "p1"
    assert (await desk.read(done))["priority"] == "p3", "what is finished keeps the priority it was worked on with"
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        cells = await matrix(uow)
        with pytest.raises(Forbidden):
            await set_cell(uow, impact=Impact.MINOR, urgency=Urgency.LOW, priority=Priority.P1)
    assert cells == {**SHIPPED, (Impact.MODERATE, Urgency.LOW): Priority.P1}


async def test_an_issue_goes_through_its_six_states_and_back(desk: Desk) -> None:
    issue = await desk.issue("No rates", "a", by="preparer")
    async with desk.runtime.uow(desk.people["admin"]) as uow:
        category_id = str((await create_record(uow, "issue_category", {"code": "DATA", "label": "Data"}))["id"])
        vendor_id = str((await create_record(uow, "issue_vendor", {"code": "FEED", "label": "Feed"}))["id"])
    states = []
    for name, values in (
        ("triage", {"category": category_id}),
        ("start", None),
        ("ask_requester", {}),
        ("ask_vendor", {"vendor": vendor_id}),
        ("continue", {}),
        ("resolve", None),
        ("close", {}),
        ("reopen", {}),
    ):
        states.append((await desk.step(issue, name, values=values)).to_state)
        row = await desk.read(issue)
        finished = states[-1] in ("resolved", "closed")
        assert (row["resolved_at"] is not None, row["closed_at"] is not None) == (finished, states[-1] == "closed")
    assert states == [
        "triaged", "in_progress", "waiting_requester", "waiting_vendor", "in_progress", "resolved", "closed",
        "reopened",
    ]  # fmt: skip
    assert [title.partition(" is ")[2] for title in await desk.notices("preparer")] == [
        "triaged", "in progress", "waiting for the requester", "waiting for the vendor", "in progress", "resolved",
        "closed", "reopened",
    ]  # fmt: skip


async def test_nothing_is_resolved_without_its_cause_and_what_was_done(desk: Desk) -> None:
    issue = await desk.issue()
    await desk.step(issue, "start")
    with pytest.raises(ValidationFailed) as refused:
        await desk.step(issue, "resolve", values={"root_cause": "system"})
    assert {problem.path for problem in refused.value.problems} == {"resolution_code", "resolution"}
    with pytest.raises(TransitionRefused):
        await desk.step(issue, "close")


async def test_a_lifecycle_without_the_core_steps_is_not_published(desk: Desk) -> None:
    shipped = product_registry().entity(ISSUE).lifecycles[0]
    refined = shipped.model_copy(update={"transitions": tuple(t for t in shipped.transitions if t.name != "cancel")})
    without = shipped.model_copy(update={"transitions": tuple(t for t in shipped.transitions if t.name != "merge")})
    with pytest.raises(ValidationFailed, match="merge"):
        async with desk.runtime.uow(SYSTEM) as uow:
            await publish(uow, version_id=await save_draft(uow, entity=ISSUE, definition=_reachable(without)))
    async with desk.runtime.uow(SYSTEM) as uow:
        await publish(uow, version_id=await save_draft(uow, entity=ISSUE, definition=_reachable(refined)))
    async with desk.runtime.uow(SYSTEM) as uow:
        numbers = text(
            "SELECT v.number FROM lifecycle_version v JOIN lifecycle l ON l.id = v.lifecycle_id "
            "WHERE l.code = 'issue' AND v.state = 'published'"
        )
        assert (await uow.execute(numbers)).scalars().all() == [2]


def _reachable(lifecycle: LifecycleDef) -> LifecycleDef:
    """Without the states to which no step leads any more."""
    reached = {step.to for step in lifecycle.transitions} | {lifecycle.initial}
    states = tuple(state for state in lifecycle.states if state.name in reached)
    return lifecycle.model_copy(update={"states": states})


async def test_the_first_public_word_of_somebody_else_is_the_answer(desk: Desk) -> None:
    issue = await desk.issue("No rates", "a", by="preparer")
    for who, internal in (("preparer", False), ("operations", True)):
        async with desk.runtime.uow(desk.people[who]) as uow:
            await post_message(uow, issue_id=issue, text="Anybody?", internal=internal)
    assert (await desk.read(issue))["responded_at"] is None
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        await post_message(uow, issue_id=issue, text="We look at it.")
    row = await desk.read(issue)
    assert row["responded_at"] is not None
    assert row["updated_requester_at"] == row["responded_at"]
    assert await desk.notices("preparer") == [f"operations wrote on {row['reference']}"]


async def test_an_answer_of_the_requester_ends_the_wait_for_it(desk: Desk) -> None:
    issue = await desk.issue("No rates", "a", by="preparer")
    await desk.step(issue, "start")
    await desk.step(issue, "ask_requester")
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        await post_message(uow, issue_id=issue, text="Since when?")
    assert (await desk.read(issue))["lifecycle_state"] == "waiting_requester"
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        await post_message(uow, issue_id=issue, text="Since nine.")
    assert (await desk.read(issue))["lifecycle_state"] == "in_progress"


async def test_internal_messages_are_seen_by_those_who_work_on_issues(desk: Desk) -> None:
    issue = await desk.issue("No rates", "a", by="preparer")
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        await post_message(uow, issue_id=issue, text="Between us.", internal=True)
        await post_message(uow, issue_id=issue, text="For all.")
    seen = {}
    for who in ("preparer", "operations", "auditor"):
        async with desk.runtime.uow(desk.people[who]) as uow:
            seen[who] = [message.text for message in await thread(uow, issue_id=issue)]
    assert seen == {
        "preparer": ["For all."],
        "operations": ["Between us.", "For all."],
        "auditor": ["Between us.", "For all."],
    }
    with pytest.raises(Forbidden):
        async with desk.runtime.uow(desk.people["preparer"]) as uow:
            await post_message(uow, issue_id=issue, text="Me too.", internal=True)
    with pytest.raises(ValidationFailed):
        async with desk.runtime.uow(desk.people["operations"]) as uow:
            await post_message(uow, issue_id=issue, text="  ")


async def test_the_same_message_of_a_source_is_kept_once(desk: Desk) -> None:
    issue = await desk.issue()
    kept = []
    for _ in range(2):
        async with desk.runtime.uow(SYSTEM) as uow:
            kept.append(await post_message(uow, issue_id=issue, text="It failed.", source="job:1"))
    assert (kept[0] is not None, kept[1]) == (True, None)


async def test_an_issue_is_seen_where_it_lies_and_nowhere_else(desk: Desk) -> None:
    issue = await desk.issue("No rates", by="g10", node=str(desk.nodes["G10-1"]))
    found = {}
    for who in ("g10", "em", "operations"):
        async with desk.runtime.uow(desk.people[who]) as uow:
            found[who] = len((await list_records(uow, ISSUE, ListQuery())).records)
    assert found == {"g10": 1, "em": 0, "operations": 1}
    with pytest.raises(NotFound):
        async with desk.runtime.uow(desk.people["em"]) as uow:
            await post_message(uow, issue_id=issue, text="Hello")
    with pytest.raises(ValidationFailed):
        await desk.issue("Elsewhere", by="em", node=str(desk.nodes["G10-1"]))
    with pytest.raises(Conflict):
        async with desk.runtime.uow(SYSTEM) as uow:
            await watch(uow, issue_id=issue)


async def test_an_issue_is_not_about_another_issue(desk: Desk) -> None:
    issue, other = await desk.issue(), await desk.issue()
    with pytest.raises(ValidationFailed):
        async with desk.runtime.uow(desk.people["operations"]) as uow:
            await link_records(uow, issue_id=issue, records=[(ISSUE, other)])


# -- merging -----------------------------------------------------------------------------------------------------------


async def _merge(desk: Desk, source: UUID, target: UUID, by: str = "operations") -> None:
    row = await desk.read(source)
    async with desk.runtime.uow(desk.people[by]) as uow:
        await merge_issue(uow, issue_id=source, into_id=target, expected_version=row["row_version"])


async def test_what_hangs_on_a_merged_issue_hangs_on_the_other(desk: Desk) -> None:
    target = await desk.issue("The feed is down", "a")
    source = await desk.issue("No rates", "b", by="preparer", blocking=False)
    child = await desk.issue("No rates for EM", parent=str(source))
    earlier = await desk.issue("Rates missing", by="controller")
    async with desk.runtime.uow(desk.people["controller"]) as uow:
        await watch(uow, issue_id=source)
        await post_message(uow, issue_id=source, text="Since nine.")
    await _merge(desk, earlier, source)
    await _merge(desk, source, target)
    merged, kept = await desk.read(source), await desk.read(target)
    assert (merged["lifecycle_state"], merged["merged_into_id"]) == ("merged", target)
    assert merged["closed_at"] is not None
    assert (await desk.read(child))["parent_id"] == target
    assert (await desk.read(earlier))["merged_into_id"] == target
    assert kept["occurrences"] == 3
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        said = [(message.text, message.of_reference) for message in await thread(uow, issue_id=target)]
        linked = await uow.execute(text("SELECT record_id FROM issue_link WHERE issue_id = :id"), {"id": target})
        assert set(linked.scalars()) == {(await desk.row(code))["id"] for code in ("a", "b")}
    assert ("Since nine.", merged["reference"]) in said
    assert f"{merged['reference']} goes on as {kept['reference']}" in await desk.notices("preparer")
    with pytest.raises(Conflict):
        async with desk.runtime.uow(desk.people["operations"]) as uow:
            await post_message(uow, issue_id=source, text="Too late.")


async def test_issues_are_merged_by_who_may_into_open_ones_only(desk: Desk) -> None:
    source, solved = await desk.issue(by="preparer"), await desk.issue("Solved")
    with pytest.raises(Forbidden):
        await _merge(desk, source, await desk.issue(), by="preparer")
    await desk.solve(solved)
    with pytest.raises(ValidationFailed, match="not open any more"):
        await _merge(desk, source, solved)
    with pytest.raises(Conflict):
        await _merge(desk, source, source)
    assert (await desk.read(source))["lifecycle_state"] == "new"
    with pytest.raises(ValidationFailed):
        await desk.change(source, merged_into=str(solved))


async def test_a_part_takes_the_place_of_the_issue_merged_into_it(desk: Desk) -> None:
    top = await desk.issue("Top")
    middle = await desk.issue("Middle", parent=str(top))
    part = await desk.issue("Part", parent=str(middle))
    await _merge(desk, middle, part)
    assert (await desk.read(part))["parent_id"] == top


async def test_of_two_merged_crosswise_at_once_one_goes_on(desk: Desk) -> None:
    first, second = await desk.issue("One"), await desk.issue("Two")
    outcomes = await asyncio.gather(_merge(desk, first, second), _merge(desk, second, first), return_exceptions=True)
    states = {(await desk.read(issue))["lifecycle_state"] for issue in (first, second)}
    assert states == {"new", "merged"}
    assert sum(outcome is None for outcome in outcomes) == 1


# -- finding -----------------------------------------------------------------------------------------------------------


async def test_issues_with_titles_alike_are_found_but_not_those_out_of_sight(desk: Desk) -> None:
    issue = await desk.issue("The rate feed is late", by="g10", node=str(desk.nodes["G10-1"]))
    await desk.issue("Printer out of paper")
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        found = await similar_issues(uow, title="Rate feed late again")
        alone = await similar_issues(uow, title="Rate feed late again", besides=[issue])
    async with desk.runtime.uow(desk.people["em"]) as uow:
        hidden = await similar_issues(uow, title="Rate feed late again")
    assert [each.title for each in found] == ["The rate feed is late"]
    assert (alone, hidden) == ([], [])


async def test_the_trend_counts_what_came_and_what_was_resolved(desk: Desk) -> None:
    for number in range(3):
        issue = await desk.issue(f"Issue {number}")
        if number:
            await desk.solve(issue)
    await desk.step(issue, "reopen")
    async with desk.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE issue SET created_at = created_at - interval '2 days' WHERE title = 'Issue 1'"))
    zone = ZoneInfo("Europe/Berlin")
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        today = uow.now.astimezone(zone).date()
        trend = await issue_trend(uow, first=today - timedelta(days=3), last=today, zone=zone)
    assert [(day.opened, day.resolved, day.open_after) for day in trend.days] == [
        (0, 0, 0), (1, 0, 1), (0, 0, 1), (2, 1, 2),
    ]  # fmt: skip
    assert (trend.opened, trend.resolved, trend.open_now, trend.reopened) == (3, 1, 2, 1)
    assert trend.mean is not None
    assert trend.mean >= timedelta(days=2)
    assert [(group.label, group.opened) for group in trend.categories] == [("Without a category", 3)]
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        with pytest.raises(ValidationFailed):
            await issue_trend(uow, first=today, last=today - timedelta(days=1), zone=zone)


# -- clocks ------------------------------------------------------------------------------------------------------------


async def _clocks(desk: Desk, issue: UUID) -> dict[str, tuple[str, timedelta]]:
    async with desk.runtime.uow(SYSTEM) as uow:
        rows = await uow.execute(
            text(
                "SELECT p.code, c.state, c.due_at - c.started_at AS length FROM sla_clock c "
                "JOIN sla_policy p ON p.id = c.policy_id WHERE c.record_id = :id"
            ),
            {"id": issue},
        )
        return {row.code.removeprefix("issue-"): (row.state, row.length) for row in rows}


async def test_three_clocks_run_by_priority_pause_while_it_waits_and_stop_when_it_is_done(desk: Desk) -> None:
    issue = await desk.issue("No rates", "a", by="preparer", impact="extensive", urgency="critical")
    hour = timedelta(hours=1)
    assert await _clocks(desk, issue) == {
        "response": ("running", hour / 4),
        "update": ("running", hour),
        "resolution": ("running", 4 * hour),
    }
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        await post_message(uow, issue_id=issue, text="We look at it.")
    assert {code: state for code, (state, _) in (await _clocks(desk, issue)).items()} == {
        "response": "stopped",
        "update": "running",
        "resolution": "running",
    }
    await desk.step(issue, "start")
    await desk.step(issue, "ask_requester")
    assert (await _clocks(desk, issue))["resolution"][0] == "paused"
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        await post_message(uow, issue_id=issue, text="Since nine.")
    assert (await _clocks(desk, issue))["resolution"][0] == "running"
    await desk.step(issue, "resolve")
    assert {state for state, _ in (await _clocks(desk, issue)).values()} == {"stopped"}


async def test_each_word_to_the_requester_begins_the_clock_of_the_next_anew(desk: Desk) -> None:
    issue = await desk.issue("No rates", "a", by="preparer")
    for _ in range(2):
        async with desk.runtime.uow(desk.people["operations"]) as uow:
            await post_message(uow, issue_id=issue, text="Still looking.")
    generations = "SELECT max(generation) FROM sla_clock c JOIN sla_policy p ON p.id = c.policy_id WHERE p.code = :code"
    assert await desk.count(generations, code="issue-update") == 3
    assert await desk.count(generations, code="issue-resolution") == 1
