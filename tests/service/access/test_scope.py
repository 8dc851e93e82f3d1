"""Which rows a person's grants reach, asked of a real database."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from app.core.actor import ANONYMOUS, Actor
from app.core.errors import Forbidden, NotFound
from app.domain.access.decisions import authorize
from app.domain.access.scope import record_in_scope, require_in_scope, scope, scope_condition
from models.base import uuid7
from tests.factories import SYSTEM
from tests.service.access.conftest import BOOKS, Bank, add_row

ALL_PROCESSES = ["EM", "FX", "G10", "TREASURY EM", "TREASURY FX", "TREASURY G10"]


async def test_a_grant_below_a_desk_reaches_the_books_of_that_desk_only(bank: Bank) -> None:
    assert await bank.visible(bank.actor("preparer", node="G10"), "trade") == ["G10-1", "G10-2"]
    assert await bank.visible(bank.actor("preparer", node="EM-2"), "trade") == ["EM-2"]
    assert await bank.visible(bank.actor("preparer"), "trade") == sorted(BOOKS)


async def test_several_grants_add_up(bank: Bank) -> None:
    actor = bank.holding(bank.grant("preparer", "G10-1"), bank.grant("preparer", "EM-2"))
    assert await bank.visible(actor, "trade") == ["EM-2", "G10-1"]
    whole = bank.holding(*actor.grants, bank.grant("controller"))
    assert await bank.visible(whole, "trade") == sorted(BOOKS)


async def test_each_grant_counts_for_the_actions_of_its_own_role_only(bank: Bank) -> None:
    actor = bank.holding(bank.grant("preparer", "G10-1"), bank.grant("auditor"))
    assert await bank.visible(actor, "trade", "read") == sorted(BOOKS)
    assert await bank.visible(actor, "trade", "update") == ["G10-1"]


async def test_a_grant_without_a_path_at_hand_looks_it_up(bank: Bank) -> None:
    actor = bank.holding(replace(bank.grant("preparer", "EM"), node_path=None))
    assert await bank.visible(actor, "trade") == ["EM-1", "EM-2"]


async def test_nobody_sees_rows_without_a_permission(bank: Bank) -> None:
    assert await bank.visible(bank.actor("preparer", application="TREASURY"), "trade") == []
    assert await bank.visible(Actor(uuid7(), "No grants"), "trade") == []
    assert await bank.visible(ANONYMOUS, "trade") == []
    assert await bank.visible(SYSTEM, "trade") == sorted(BOOKS)


async def test_an_entity_without_a_place_is_shared_within_its_application(bank: Bank) -> None:
    assert await bank.visible(bank.actor("preparer", node="G10"), "market_rate") == ["USD"]
    assert await bank.visible(bank.actor("preparer", application="TREASURY"), "market_rate") == []


async def test_runs_are_limited_to_the_application_of_the_grant(bank: Bank) -> None:
    assert await bank.visible(bank.actor("controller"), "workflow_run") == ["PNL"]
    both = bank.holding(bank.grant("controller"), bank.grant("operations", application="TREASURY"))
    assert await bank.visible(both, "workflow_run") == ["PNL", "TREASURY"]
    assert await bank.visible(bank.actor("auditor", application="PLATFORM"), "workflow_run") == ["PNL", "TREASURY"]
    assert await bank.visible(bank.actor("controller", application="PLATFORM"), "workflow_run") == []


async def test_reading_shows_what_stands_above_the_node_and_acting_does_not(bank: Bank) -> None:
    desk = bank.actor("controller", node="G10")
    assert await bank.visible(desk, "workflow_run") == ["PNL"]
    assert await bank.visible(desk, "process_run") == ["FX", "G10"]
    assert await bank.visible(desk, "process_run", "transition:approve") == ["G10"]
    assert await bank.visible(bank.actor("controller", node="FX"), "process_run", "transition:approve") == [
        "EM", "FX", "G10",
    ]  # fmt: skip


async def test_paths_lead_through_references(bank: Bank) -> None:
    assert await bank.visible(bank.actor("operations", node="EM"), "job_run") == ["EM", "FX"]
    assert await bank.visible(bank.actor("operations", node="EM"), "job_attempt") == ["EM", "FX"]
    assert await bank.visible(bank.actor("operations"), "job_attempt") == ["EM", "FX", "G10"]
    treasury = bank.actor("operations", application="TREASURY", node="G10")
    assert await bank.visible(treasury, "job_attempt") == ["TREASURY FX", "TREASURY G10"]


async def test_a_path_that_ends_early_is_seen_by_unlimited_grants_only(bank: Bank) -> None:
    assert "none" in await bank.visible(bank.actor("operations"), "job_run")
    assert "none" not in await bank.visible(bank.actor("operations", node="FX"), "job_run")
    assert "none" in await bank.visible(bank.actor("operations", application="PLATFORM"), "job_run")


async def test_hierarchy_nodes_are_limited_by_their_own_place(bank: Bank) -> None:
    bank.ids |= {f"node {code}": id_ for code, id_ in bank.nodes.items()}
    assert await bank.visible(bank.actor("preparer", node="G10"), "hierarchy_node") == ["FX", "G10", "G10-1", "G10-2"]
    assert len(await bank.visible(bank.actor("preparer"), "hierarchy_node")) == 7
    below = bank.actor("admin", node="G10")
    assert await bank.visible(below, "hierarchy_node", "update") == ["G10", "G10-1", "G10-2"]


async def test_child_rows_are_reached_through_their_parent(bank: Bank) -> None:
    assert await bank.visible(bank.actor("preparer"), "calendar_day") == ["christmas"]
    assert await bank.visible(bank.actor("preparer"), "calendar_day", "update") == []
    assert await bank.visible(bank.actor("admin"), "calendar_day", "update") == ["christmas"]


async def test_row_conditions_leave_a_person_their_own_things(bank: Bank) -> None:
    mine = await bank.user("me@bank.example")
    other = await bank.user("other@bank.example")
    async with bank.runtime.uow(SYSTEM) as uow:
        for name, user in (("mine", mine), ("other", other)):
            bank.ids[f"note {name}"] = await add_row(
                uow, "notification", user_id=user, kind="system", title="T", at=uow.now, dedup_key=name
            )
            for shared in (True, False):
                bank.ids[f"view {name} {'shared' if shared else 'own'}"] = await add_row(
                    uow, "saved_view", owner_id=user, entity="trade", label=f"{name}{shared}", state={}, shared=shared
                )
    me = replace(bank.actor("preparer", node="G10"), id=mine)
    assert await bank.visible(me, "notification") == ["mine"]
    assert await bank.visible(me, "saved_view") == ["mine own", "mine shared", "other shared"]
    assert await bank.visible(me, "saved_view", "update") == ["mine own", "mine shared"]
    platform = replace(bank.actor("admin", application="PLATFORM"), id=other)
    assert await bank.visible(platform, "saved_view") == ["mine own", "mine shared", "other own", "other shared"]
    assert await bank.visible(platform, "notification") == ["other"]


async def test_another_role_does_not_lift_the_row_condition_of_the_first(bank: Bank) -> None:
    me, other = await bank.user("me@bank.example"), await bank.user("other@bank.example")
    async with bank.runtime.uow(SYSTEM) as uow:
        for name, user in (("mine", me), ("other", other)):
            bank.ids[f"token {name}"] = await add_row(
                uow, "access_token", user_id=user, label=name, prefix=name, token_hash=name, read_only=False
            )
    auditor = replace(bank.actor("preparer", "auditor"), id=me)
    assert await bank.visible(auditor, "access_token") == ["mine", "other"]
    assert await bank.visible(auditor, "access_token", "delete") == ["mine"]


async def test_deleted_records_are_out_of_every_scope(bank: Bank) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        gone = await add_row(
            uow, "file", name="gone.pdf", application_id=bank.applications["PNL"], version_number=0, size=0,
            deleted_at=uow.now,
        )  # fmt: skip
        assert not await record_in_scope(uow, "read", "file", gone)
    async with bank.runtime.uow(bank.actor("auditor")) as uow:
        with pytest.raises(NotFound):
            await require_in_scope(uow, "read", "file", gone)


async def test_an_alias_is_limited_like_the_table(bank: Bank) -> None:
    async with bank.runtime.uow(bank.actor("preparer", node="G10")) as uow:
        for entity, count in (("trade", 2), ("job_attempt", 2), ("saved_view", 0), ("calendar_day", 1)):
            alias = uow.table(entity).alias("x")
            statement = scope(select(func.count()).select_from(alias), uow, "read", entity, alias)
            assert await uow.scalar(statement) == count, entity


async def test_no_condition_is_added_where_everything_is_in_scope(bank: Bank) -> None:
    async with bank.runtime.uow(bank.actor("controller")) as uow:
        assert scope_condition(uow, "read", "trade") is None
        assert scope_condition(uow, "read", "process_run") is not None
    async with bank.runtime.uow(bank.actor("auditor", application="PLATFORM")) as uow:
        assert scope_condition(uow, "read", "process_run") is None
        assert scope_condition(uow, "read", "audit_entry") is None


async def test_a_record_out_of_sight_is_not_found_and_one_in_sight_is_forbidden(bank: Bank) -> None:
    async with bank.runtime.uow(bank.actor("preparer", node="G10")) as uow:
        decision = await require_in_scope(uow, "update", "trade", bank.ids["trade G10-1"])
        assert decision.grant_id == uow.actor.grants[0].id
        assert "update trade" in decision.allowed_by
        with pytest.raises(NotFound, match="There is no such trade, or you may not see it"):
            await require_in_scope(uow, "update", "trade", bank.ids["trade EM-1"])
        with pytest.raises(NotFound):
            await require_in_scope(uow, "read", "trade", uuid7())
        with pytest.raises(Forbidden, match="You may not submit this process run"):
            await require_in_scope(uow, "transition:submit", "process_run", bank.ids["process FX"])
        with pytest.raises(Forbidden, match="the role Administrator"):
            await require_in_scope(uow, "delete", "trade", bank.ids["trade G10-1"])
        with pytest.raises(NotFound):
            await require_in_scope(uow, "delete", "trade", bank.ids["trade EM-1"])


async def test_trying_ids_tells_nothing_apart(bank: Bank) -> None:
    async with bank.runtime.uow(bank.actor("controller", node="EM")) as uow:
        answers = set()
        for id_ in (bank.ids["process G10"], bank.ids["process TREASURY EM"], uuid7()):
            with pytest.raises(NotFound) as refused:
                await require_in_scope(uow, "transition:approve", "process_run", id_)
            answers.add(refused.value.detail)
        assert len(answers) == 1


async def test_authorize_refuses_in_words(bank: Bank) -> None:
    async with bank.runtime.uow(bank.actor("preparer")) as uow:
        assert authorize(uow, "create", "trade").allowed_by.startswith("allow preparer")
        with pytest.raises(Forbidden, match="Controller or Desk head") as refused:
            authorize(uow, "transition:approve", "process_run")
        assert refused.value.context["entity"] == "process_run"


async def test_every_entity_can_be_scoped_for_every_shape_of_grant(bank: Bank) -> None:
    shapes = [
        bank.actor("auditor"), bank.actor("auditor", node="G10"), bank.actor("auditor", application="PLATFORM"),
        bank.holding(
            bank.grant("auditor", "G10"), bank.grant("controller", "EM"), bank.grant("admin", None, "TREASURY")
        ),
    ]  # fmt: skip
    for actor in shapes:
        async with bank.runtime.uow(actor) as uow:
            for entity in uow.registry.entities:
                for action in ("read", "update"):
                    counted = select(func.count()).select_from(uow.table(entity))
                    assert await uow.scalar(scope(counted, uow, action, entity)) >= 0, entity
    assert len(await bank.visible(SYSTEM, "process_run")) == len(ALL_PROCESSES)
