"""A draft, changed one thing at a time: order, places, codes, versions of what was seen, and never a published one."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from app.core.errors import Conflict, Forbidden, NotFound, StaleVersion, ValidationFailed
from app.domain.entities.service import update_record
from app.domain.workflow import editing
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.definition_store import new_draft_from
from app.domain.workflow.draft_parts import contents, free_code
from app.domain.workflow.drafts import begin_draft
from models.base import uuid7
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, manual
from tests.service.workflow.designer import Designer

# -- order and places --------------------------------------------------------------------------------------------------


async def test_stages_and_processes_stand_where_they_were_put(designer: Designer) -> None:
    await designer.stage("First", position=0)
    await designer.stage("Nested", below="s1")
    await designer.stage("Deeper", below="nested")
    await designer.process("Between", "s1", position=1)
    await designer.process("Deep work", "deeper")
    assert await designer.outline() == [
        "first", "s1", "-a", "-between", "-b", "-c", " nested", "  deeper", "  -deep_work",
    ]  # fmt: skip
    assert await designer.ranks() == ([1, 2, 3, 4], [1, 2, 3, 4, 5])


async def test_a_stage_moves_with_everything_in_it_and_its_paths_follow(designer: Designer) -> None:
    for label, below in (("Two", None), ("In two", "two"), ("Three", None)):
        await designer.stage(label, below=below)
    await designer.process("Deep", "in_two")
    two, three = await designer.row("stage", "two"), await designer.row("stage", "three")
    await designer.do(
        lambda uow: editing.move_stage(
            uow, stage_id=two["id"], parent_id=three["id"], expected_version=two["row_version"]
        )
    )
    assert await designer.outline() == ["s1", "-a", "-b", "-c", "three", " two", "  in_two", "  -deep"]
    inner = await designer.row("stage", "in_two")
    assert str(inner["path"]) == f"{three['id'].hex}.{two['id'].hex}.{inner['id'].hex}"
    with pytest.raises(Conflict, match="cannot be put below itself"):
        await designer.do(
            lambda uow: editing.move_stage(
                uow, stage_id=three["id"], parent_id=inner["id"], expected_version=three["row_version"]
            )
        )


async def test_a_process_moves_to_another_stage_and_keeps_its_dependencies(designer: Designer) -> None:
    target = await designer.stage("Sign off")
    row = await designer.row("process", "a")
    await designer.do(
        lambda uow: editing.move_process(
            uow, process_id=row["id"], stage_id=target, position=0, expected_version=row["row_version"]
        )
    )
    assert await designer.outline() == ["s1", "-b", "-c", "sign_off", "-a"]
    async with designer.bank.runtime.uow(SYSTEM) as uow:
        edges = (await read_definition(uow, designer.version_id)).dependencies
    assert [(edge.predecessor, edge.successor) for edge in edges] == [("a", "b")]


async def test_one_step_up_or_down_ends_at_the_ends(designer: Designer) -> None:
    for code, by, expected in (("c", -1, "acb"), ("c", -1, "cab"), ("c", -1, "cab"), ("a", 1, "cba"), ("a", 1, "cba")):
        row = await designer.row("process", code)
        await designer.do(
            lambda uow, r=row, n=by: editing.step(  # type: ignore[misc]
                uow, entity="process", item_id=r["id"], by=n, expected_version=r["row_version"]
            )
        )
        assert await designer.outline() == ["s1", *(f"-{code}" for code in expected)]
    await designer.stage("Last")
    row = await designer.row("stage", "last")
    await designer.do(
        lambda uow: editing.step(uow, entity="stage", item_id=row["id"], by=-1, expected_version=row["row_version"])
    )
    assert (await designer.outline())[0] == "last"


async def test_a_parent_that_is_changed_in_the_general_form_moves_the_stage_as_well(designer: Designer) -> None:
    await designer.stage("Two")
    two, one = await designer.row("stage", "two"), await designer.row("stage", "s1")
    await designer.do(
        lambda uow: update_record(uow, "stage", two["id"], {"parent": str(one["id"])}, expected_version=1)
    )
    assert await designer.outline() == ["s1", "-a", "-b", "-c", " two"]
    assert str((await designer.row("stage", "two"))["path"]) == f"{one['id'].hex}.{two['id'].hex}"


# -- fields ------------------------------------------------------------------------------------------------------------


async def test_fields_and_lines_are_changed_by_the_rules_of_their_definitions(designer: Designer) -> None:
    row = await designer.row("process", "a")
    levels = [{"level": 1, "role": "controller"}, {"level": 2, "role": "desk_head"}]
    record = await designer.do(
        lambda uow: editing.change_process(
            uow, process_id=row["id"], values={"critical": True, "approval_levels": levels}, expected_version=1
        )
    )
    assert record["critical"] is True
    async with designer.bank.runtime.uow(SYSTEM) as uow:
        process = next(p for p, _ in (await read_definition(uow, designer.version_id)).processes() if p.code == "a")
    assert [(level.level, level.role) for level in process.approval_levels] == [(1, "controller"), (2, "desk_head")]
    with pytest.raises(ValidationFailed) as refused:
        await designer.do(
            lambda uow: editing.change_process(
                uow, process_id=row["id"], values={"kind": "automatic", "warn_minutes": -1}, expected_version=2
            )
        )
    assert {problem.path for problem in refused.value.problems} >= {"warn_minutes"}
    with pytest.raises(ValidationFailed, match="a letter first"):
        await designer.do(
            lambda uow: editing.change_process(
                uow, process_id=row["id"], values={"code": "1 of many"}, expected_version=2
            )
        )


async def test_a_code_is_made_of_the_label_and_belongs_to_one_thing(designer: Designer) -> None:
    await designer.process("Desk head: approval!", "s1")
    await designer.process("Desk head: approval!", "s1")
    assert (await designer.outline())[-2:] == ["-desk_head_approval", "-desk_head_approval_2"]
    with pytest.raises(Conflict, match="There is a process with this code"):
        await designer.process("Other", "s1", code="a")


@given(label=st.text(max_size=90), taken=st.sets(st.sampled_from(["a", "p", "x_2", "load", "p_1"])))
def test_every_label_gives_a_code_that_is_free_and_valid(label: str, taken: set[str]) -> None:
    code = free_code(label, taken)
    assert code not in taken
    assert len(code) <= 64
    assert code[0].isalpha()
    assert code.replace("_", "").isalnum()


async def test_a_copy_has_the_fields_and_lines_of_the_process_and_stands_behind_it(designer: Designer) -> None:
    row = await designer.row("process", "b")
    await designer.do(
        lambda uow: editing.duplicate_process(uow, process_id=row["id"], expected_version=row["row_version"])
    )
    assert await designer.outline() == ["s1", "-a", "-b", "-b_copy", "-c"]
    async with designer.bank.runtime.uow(SYSTEM) as uow:
        processes = {p.code: p for p, _ in (await read_definition(uow, designer.version_id)).processes()}
    same = {"code": "b", "label": "B"}
    assert processes["b_copy"].model_copy(update=same) == processes["b"]
    assert processes["b_copy"].label == "B (copy)"


# -- dependencies ------------------------------------------------------------------------------------------------------


async def test_a_dependency_is_added_changed_and_removed(designer: Designer) -> None:
    edge = await designer.edge("b", "c", accepts=["done"])
    with pytest.raises(Conflict, match="already"):
        await designer.edge("b", "c")
    with pytest.raises(ValidationFailed, match="cannot wait for itself"):
        await designer.edge("c", "c")
    await designer.do(
        lambda uow: editing.change_dependency(
            uow, dependency_id=edge, values={"accepts": ["done", "cancelled"]}, expected_version=1
        )
    )
    async with designer.bank.runtime.uow(SYSTEM) as uow:
        edges = {
            (e.predecessor, e.successor): e for e in (await read_definition(uow, designer.version_id)).dependencies
        }
    assert edges["b", "c"].accepts == ("done", "cancelled")
    with pytest.raises(StaleVersion, match="was changed by admin"):
        await designer.do(lambda uow: editing.remove_dependency(uow, dependency_id=edge, expected_version=1))
    await designer.do(lambda uow: editing.remove_dependency(uow, dependency_id=edge, expected_version=2))
    with pytest.raises(NotFound, match="somebody may have removed it"):
        await designer.do(lambda uow: editing.remove_dependency(uow, dependency_id=edge, expected_version=2))


async def test_a_dependency_stays_within_its_version(designer: Designer) -> None:
    published = await designer.bank.publish([manual("x"), manual("y")], code="OTHER")
    async with designer.bank.runtime.uow(SYSTEM) as uow:
        table = uow.table("process")
        foreign = await uow.scalar(select(table.c.id).where(table.c.version_id == published).limit(1))
    here = (await designer.row("process", "a"))["id"]
    with pytest.raises(ValidationFailed, match="no such process in version 2"):
        await designer.do(
            lambda uow: editing.add_dependency(
                uow,
                version_id=designer.version_id,
                values={"predecessor": str(here), "successor": str(foreign)},
            )
        )


# -- removing ----------------------------------------------------------------------------------------------------------


async def test_what_goes_with_a_stage_is_named_before_and_kept_in_the_trail(designer: Designer) -> None:
    await designer.stage("Inner", below="s1")
    await designer.process("Deep", "inner")
    await designer.edge("c", "deep")
    row = await designer.row("stage", "s1")
    told = await designer.do(lambda uow: contents(uow, stage_id=row["id"]))
    assert [code for code, _ in told.stages] == ["s1", "inner"]
    assert [code for code, _ in told.processes] == ["a", "b", "c", "deep"]
    assert told.dependencies == 2
    await designer.stage("Rest")
    gone = await designer.do(
        lambda uow: editing.remove_stage(uow, stage_id=row["id"], expected_version=row["row_version"])
    )
    assert gone == told
    assert await designer.outline() == ["rest"]
    trail = "SELECT before->'processes' FROM audit_entry WHERE command = 'stage.delete'"
    async with designer.bank.runtime.uow(SYSTEM) as uow:
        assert await uow.scalar(text(trail)) == ["a", "b", "c", "deep"]


async def test_a_process_goes_with_its_dependencies_and_only_once(designer: Designer) -> None:
    row = await designer.row("process", "a")
    gone = await designer.do(
        lambda uow: editing.remove_process(uow, process_id=row["id"], expected_version=row["row_version"])
    )
    assert gone.dependencies == 1
    assert await designer.outline() == ["s1", "-b", "-c"]
    assert await designer.ranks() == ([1], [1, 2])
    with pytest.raises(NotFound, match="somebody may have removed it"):
        await designer.do(lambda uow: editing.remove_process(uow, process_id=row["id"], expected_version=1))


# -- two at once, and who may ------------------------------------------------------------------------------------------


async def test_of_two_who_changed_the_same_process_the_second_is_told_in_words(designer: Designer) -> None:
    row = await designer.row("process", "a")
    change = {"process_id": row["id"], "expected_version": row["row_version"]}
    await designer.do(lambda uow: editing.change_process(uow, values={"label": "Mine"}, **change))
    with pytest.raises(StaleVersion, match="“Mine” was changed by admin after you opened it"):
        await designer.do(lambda uow: editing.change_process(uow, values={"label": "Yours"}, **change))
    other = await designer.row("process", "b")
    await designer.do(
        lambda uow: editing.change_process(
            uow, process_id=other["id"], values={"label": "Other"}, expected_version=other["row_version"]
        )
    )


async def test_processes_that_are_added_at_once_all_get_a_place(designer: Designer) -> None:
    await asyncio.gather(*(designer.process(f"Work {number}", "s1", position=0) for number in range(8)))
    outline = await designer.outline()
    assert sorted(outline[1:9]) == [f"-work_{number}" for number in range(8)]
    assert await designer.ranks() == ([1], list(range(1, 12)))


async def test_only_who_configures_may_change_a_draft(designer: Designer) -> None:
    row = await designer.row("process", "a")
    for who in ("preparer", "controller", "operations", "auditor"):
        with pytest.raises(Forbidden):
            await designer.do(
                lambda uow: editing.change_process(
                    uow, process_id=row["id"], values={"label": "X"}, expected_version=1
                ),
                who,
            )
        with pytest.raises(Forbidden):
            await designer.do(lambda uow: begin_draft(uow, workflow_code="W"), who)


# -- laws --------------------------------------------------------------------------------------------------------------

MOVES = st.lists(
    st.tuples(st.sampled_from(["stage", "process"]), st.integers(0, 30), st.integers(0, 30), st.integers(0, 6)),
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
async def test_no_sequence_of_moves_loses_or_doubles_anything(
    bank: Bank, moves: list[tuple[str, int, int, int]]
) -> None:
    code = f"L{uuid7().hex[-10:].upper()}"
    version_id = await bank.publish([manual(name) for name in "abcd"], [("a", "b")], code=code)
    async with bank.runtime.uow(bank.people["admin"]) as uow:
        designer = Designer(bank, await new_draft_from(uow, version_id=version_id))
    for label, below in (("t", None), ("u", "t"), ("v", "u"), ("w", None)):
        await designer.stage(label, below=below)
    names = sorted(line.strip() for line in await designer.outline())
    stages, processes = ["s1", "t", "u", "v", "w"], list("abcd")
    for kind, which, where, position in moves:
        target = (await designer.row("stage", stages[where % 5]))["id"]
        if kind == "process":
            row = await designer.row("process", processes[which % 4])
            await designer.do(
                lambda uow, r=row, t=target, p=position: editing.move_process(  # type: ignore[misc]
                    uow, process_id=r["id"], stage_id=t, position=p, expected_version=r["row_version"]
                )
            )
            continue
        row = await designer.row("stage", stages[which % 5])
        with suppress(Conflict):  # below itself
            await designer.do(
                lambda uow, r=row, t=target, p=position: editing.move_stage(  # type: ignore[misc]
                    uow, stage_id=r["id"], parent_id=t, position=p, expected_version=r["row_version"]
                )
            )
    assert sorted(line.strip() for line in await designer.outline()) == names
    assert await designer.ranks() == ([1, 2, 3, 4, 5], [1, 2, 3, 4])
    wrong = (
        "SELECT count(*) FROM stage s LEFT JOIN stage p ON p.id = s.parent_id "
        "WHERE s.version_id = :id AND s.path::text <> coalesce(p.path::text || '.', '') || replace(s.id::text, '-', '')"
    )
    assert await bank.count(wrong, id=designer.version_id) == 0
