"""Who is told where groups decide, candidates are named, or somebody stands in for somebody."""

from tests.service.notify.desk import Desk
from tests.service.workflow.bank import manual, reviewed
from tests.service.workflow.standing_in import group, signed_by, stands_in


async def test_whoever_stands_in_for_an_approver_is_asked_as_well(desk: Desk) -> None:
    await desk.person("deputy")
    await stands_in(desk, "deputy", "controller")
    await desk.run([reviewed("a")])
    await desk.forget()
    await desk.do("submit", "a", "preparer")
    told = await desk.told()
    assert {name for name, titles in told.items() if any("A" in title for title in titles)} >= {"deputy", "controller"}


async def test_the_delegate_of_the_maker_is_not_asked_to_approve(desk: Desk) -> None:
    await stands_in(desk, "controller", "preparer")
    await desk.run([reviewed("a")])
    await desk.forget()
    await desk.do("submit", "a", "preparer")
    assert set(await desk.told()) == {"controller2"}


async def test_only_members_of_the_levels_group_are_asked(desk: Desk) -> None:
    await desk.person("outsider", "auditor")
    await group(desk, "FX", "controller2", "outsider")
    await desk.run([signed_by("a", {"role": "controller", "group": "FX"}, {"group": "FX"})])
    await desk.forget()
    await desk.do("submit", "a", "preparer")
    assert set(await desk.told()) == {"controller2"}
    await desk.forget()
    await desk.do("approve", "a", "controller2")
    assert "outsider" in set(await desk.told())


async def test_only_candidates_are_told_that_work_is_free(desk: Desk) -> None:
    await desk.run([manual("a"), manual("b", candidates={"users": ["preparer2@bank.example"]})], [("a", "b")])
    await desk.forget()
    await desk.do("submit", "a", "preparer")
    assert set(await desk.told()) == {"preparer2"}
