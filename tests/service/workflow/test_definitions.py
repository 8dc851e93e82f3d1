"""Definitions in rows: saved whole, read back equal, published once, never changed after."""

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from app.core.errors import Conflict, Forbidden, NotFound, ValidationFailed
from app.core.events import RecordUpdated
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.definition_store import discard_draft, new_draft_from, save_draft
from app.domain.workflow.definitions import WorkflowDefinition
from app.domain.workflow.package_loader import load_workflow, read_workflow
from app.domain.workflow.publishing import check_version, definition_digest, publish, refuse_change_of_published
from tests.factories import SYSTEM, add_node
from tests.service.workflow.bank import Bank, manual

DEMO = Path(__file__).parents[3] / "demo" / "workflow.yaml"


async def _demo(bank: Bank) -> WorkflowDefinition:
    """The demo's workflow, with the desks that it names; FX is there already."""
    definition = load_workflow(DEMO.read_text("utf-8"))
    async with bank.runtime.uow(SYSTEM) as uow:
        hierarchies = uow.table("hierarchy")
        desk = await uow.scalar(select(hierarchies.c.id).where(hierarchies.c.code == definition.node_hierarchy))
        nodes = {process.node for process, _ in definition.processes()} | {definition.node}
        for code in sorted(node for node in nodes if node and node not in bank.nodes):
            await add_node(uow, desk, code)
    return definition


async def _save(bank: Bank, definition: WorkflowDefinition) -> UUID:
    async with bank.runtime.uow(bank.people["admin"]) as uow:
        return await save_draft(uow, definition=definition)


async def test_a_definition_is_read_back_as_it_was_saved(bank: Bank) -> None:
    definition = await _demo(bank)
    version_id = await _save(bank, definition)
    async with bank.runtime.uow(bank.people["admin"]) as uow:
        again = await read_definition(uow, version_id)
    assert again.model_copy(update={"dependencies": ()}) == definition.model_copy(update={"dependencies": ()})
    assert set(again.dependencies) == set(definition.dependencies)
    nested = (
        "SELECT count(*) FROM stage c JOIN stage p ON p.id = c.parent_id AND c.path <@ p.path AND nlevel(c.path) = 2"
    )
    assert await bank.count(nested) == 4


async def test_a_draft_is_replaced_as_a_whole_and_keeps_its_id(bank: Bank) -> None:
    definition = await _demo(bank)
    first = await _save(bank, definition)
    second = await _save(bank, definition.model_copy(update={"dependencies": ()}))
    assert first == second
    assert await bank.count("SELECT count(*) FROM process") == 16
    assert await bank.count("SELECT count(*) FROM process_dependency") == 0


async def test_what_a_definition_names_must_exist(bank: Bank) -> None:
    definition = await _demo(bank)
    broken = definition.model_copy(update={"application": "NONE", "calendar": "NONE", "node": "NOWHERE"})
    with pytest.raises(ValidationFailed) as refused:
        await _save(bank, broken)
    assert {problem.path for problem in refused.value.problems} == {"application", "calendar", "node"}
    data = definition.plain() | {"dependencies": [{"from": "ghost", "to": "publish"}]}
    with pytest.raises(ValidationFailed, match="no process ghost"):
        await _save(bank, read_workflow(data))


async def test_publishing_is_refused_while_the_linter_finds_errors(bank: Bank) -> None:
    definition = await _demo(bank)
    data = definition.plain()
    data["dependencies"].append({"from": "publish", "to": "load_rates", "accepts": ["done"]})
    version_id = await _save(bank, read_workflow(data))
    admin = bank.people["admin"]
    async with bank.runtime.uow(admin) as uow:
        rules = {finding.rule for finding in await check_version(uow, version_id=version_id)}
    assert "cycle" in rules
    with pytest.raises(ValidationFailed, match="wait for each other"):
        async with bank.runtime.uow(admin) as uow:
            await publish(uow, version_id=version_id)
    assert await bank.count("SELECT count(*) FROM workflow_version WHERE state = 'published'") == 0


async def test_a_published_version_retires_the_one_before_and_never_changes(bank: Bank) -> None:
    first = await bank.publish([manual("a")])
    admin = bank.people["admin"]
    async with bank.runtime.uow(admin) as uow:
        draft = await new_draft_from(uow, version_id=first)
    with pytest.raises(Conflict, match="has a draft already"):
        async with bank.runtime.uow(admin) as uow:
            await new_draft_from(uow, version_id=first)
    async with bank.runtime.uow(admin) as uow:
        digest = await publish(uow, version_id=draft, notes="No change")
        definition = await read_definition(uow, draft)
    assert digest == definition_digest(definition)
    states = "SELECT count(*) FROM workflow_version WHERE (number, state) IN ((1, 'retired'), (2, 'published'))"
    assert await bank.count(states) == 2
    for version_id in (first, draft):
        with pytest.raises(Conflict):
            async with bank.runtime.uow(admin) as uow:
                await publish(uow, version_id=version_id)
        with pytest.raises(Conflict, match="never changes"):
            async with bank.runtime.uow(admin) as uow:
                await discard_draft(uow, version_id=version_id)
    assert await bank.count("SELECT count(*) FROM process") == 2


async def test_a_discarded_draft_is_gone_with_all_that_is_in_it(bank: Bank) -> None:
    version_id = await _save(bank, await _demo(bank))
    async with bank.runtime.uow(bank.people["admin"]) as uow:
        await discard_draft(uow, version_id=version_id)
    for table in ("workflow_version", "stage", "process", "process_dependency", "process_evidence"):
        assert await bank.count(f"SELECT count(*) FROM {table}") == 0
    with pytest.raises(NotFound):
        async with bank.runtime.uow(bank.people["admin"]) as uow:
            await discard_draft(uow, version_id=version_id)


async def test_only_who_configures_workflows_changes_them(bank: Bank) -> None:
    definition = await _demo(bank)
    for who in ("preparer", "controller", "operations", "auditor"):
        with pytest.raises(Forbidden):
            async with bank.runtime.uow(bank.people[who]) as uow:
                await save_draft(uow, definition=definition)


async def test_parts_of_a_published_version_are_not_changed_through_the_general_forms(bank: Bank) -> None:
    published = await bank.publish([manual("a"), manual("b")], [("a", "b")])
    admin = bank.people["admin"]
    async with bank.runtime.uow(admin) as uow:
        draft = await new_draft_from(uow, version_id=published)

    async def changed(entity: str, version_id: UUID) -> None:
        async with bank.runtime.uow(admin) as uow:
            table = uow.table(entity)
            id_ = await uow.scalar(select(table.c.id).where(table.c.version_id == version_id).limit(1))
            event = RecordUpdated(at=uow.now, entity=entity, record_id=id_, fields=("label",))
            await refuse_change_of_published(uow, event)

    for entity in ("stage", "process", "process_dependency"):
        with pytest.raises(Conflict, match="never changes"):
            await changed(entity, published)
        await changed(entity, draft)
