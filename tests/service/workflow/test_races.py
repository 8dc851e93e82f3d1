"""Many people and workers at once."""

import asyncio

from app.core.errors import StaleVersion, StepsError, TransitionRefused
from app.domain.workflow.automation import begin_automatic, finish_automatic
from app.domain.workflow.transitions import transition
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, automatic, manual, reviewed

PREDECESSORS = 100
APPROVERS = 20


async def test_a_hundred_concurrent_completions_release_the_successor_exactly_once(bank: Bank) -> None:
    codes = [f"p{number}" for number in range(PREDECESSORS)]
    processes = [*(manual(code) for code in codes), automatic("join"), manual("after")]
    await bank.run(processes, [*((code, "join", "done") for code in codes), ("join", "after", "done")])
    ids = {code: (await bank.row(code))["id"] for code in codes}

    async def complete(code: str) -> int:
        async with bank.runtime.uow(bank.people["preparer"]) as uow:
            done = await transition(uow, process_run_id=ids[code], name="submit", expected_version=1)
        return len(done.released)

    released = await asyncio.gather(*(complete(code) for code in codes))
    assert sum(released) == 1
    join = await bank.row("join")
    assert (join["state"], join["waiting_on"], (await bank.the_run())["open_count"]) == ("ready", 0, 2)
    releases = "SELECT count(*) FROM process_transition WHERE name = 'release' AND process_run_id = :id"
    assert await bank.count(releases, id=join["id"]) == 1
    assert await bank.count("SELECT count(*) FROM job_run WHERE process_run_id = :id", id=join["id"]) == 1
    async with bank.runtime.uow(SYSTEM) as uow:
        await begin_automatic(uow, join["id"])
        await finish_automatic(uow, join["id"], "f")
    assert await bank.state("after") == "ready"


async def test_one_of_twenty_concurrent_approvals_wins_and_the_others_are_told(bank: Bank) -> None:
    people = [await bank.person(f"checker{number}", "controller") for number in range(APPROVERS)]
    await bank.run([reviewed("a"), manual("b")], [("a", "b")])
    await bank.do("submit", "a", "preparer")
    row = await bank.row("a")

    async def approve(number: int) -> str:
        try:
            async with bank.runtime.uow(people[number]) as uow:
                await transition(uow, process_run_id=row["id"], name="approve", expected_version=row["row_version"])
        except StaleVersion as refused:
            return refused.detail
        return "won"

    answers = await asyncio.gather(*(approve(number) for number in range(APPROVERS)))
    assert answers.count("won") == 1
    assert all("it is Done now" in answer for answer in answers if answer != "won")
    assert await bank.count("SELECT count(*) FROM process_approval") == 1
    assert await bank.state("b") == "ready"


async def test_one_person_cannot_sign_two_levels_by_guessing_the_next_version(bank: Bank) -> None:
    await bank.run([reviewed("a", "controller", "controller")])
    await bank.do("submit", "a", "preparer")
    row = await bank.row("a")

    async def approve(version: int) -> StepsError | None:
        try:
            async with bank.runtime.uow(bank.people["controller"]) as uow:
                await transition(uow, process_run_id=row["id"], name="approve", expected_version=version)
        except (StaleVersion, TransitionRefused) as refused:
            return refused
        return None

    for _ in range(5):
        await asyncio.gather(approve(row["row_version"]), approve(row["row_version"] + 1))
    after = await bank.row("a")
    assert (after["state"], after["level"]) == ("in_review", 2)
    refusal = await approve(after["row_version"])
    assert isinstance(refusal, TransitionRefused)
    assert refusal.guard == "one_level_each"


async def test_one_of_ten_who_take_a_process_gets_it(bank: Bank) -> None:
    people = [await bank.person(f"taker{number}", "preparer") for number in range(10)]
    await bank.run([manual("a")])
    row = await bank.row("a")

    async def claim(number: int) -> bool:
        try:
            async with bank.runtime.uow(people[number]) as uow:
                await transition(uow, process_run_id=row["id"], name="claim", expected_version=row["row_version"])
        except StaleVersion:
            return False
        return True

    answers = await asyncio.gather(*(claim(number) for number in range(10)))
    assert answers.count(True) == 1
    assert (await bank.row("a"))["assignee_id"] == people[answers.index(True)].id
