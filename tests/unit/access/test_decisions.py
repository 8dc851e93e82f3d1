"""Which grants allow what: applications, platform-wide grants, tokens, denials, and the words of a refusal."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from app.core.actor import ANONYMOUS, Actor, Grant, system_actor
from app.domain.access.decisions import decide, governing, refusal
from app.domain.access.policy import AccessPolicy, PolicyLine, build_enforcer, compile_policy
from app.domain.access.policy_files import Effect, read_policy_files
from models.base import uuid7
from models.registry import Registry


@pytest.fixture(scope="module")
def policy(registry: Registry) -> AccessPolicy:
    files = read_policy_files()
    parents = {child: parent.name for child, (parent, _) in registry.parents.items()}
    return compile_policy(
        build_enforcer(files.lines, files.inheritance), lines=files.lines, files=files, parents=parents
    )


def person(*grants: tuple[str, str]) -> Actor:
    return Actor(uuid7(), "Person", grants=tuple(Grant(uuid7(), role, application) for role, application in grants))


def applications(grants: Iterable[Grant]) -> list[str]:
    return [grant.application for grant in grants]


def test_an_entity_of_an_application_takes_only_grants_in_it(policy: AccessPolicy, registry: Registry) -> None:
    assert decide(policy, registry, person(("preparer", "PNL")), "create", "trade")
    assert decide(policy, registry, person(("preparer", "TREASURY")), "create", "trade") is None
    decision = decide(policy, registry, person(("preparer", "TREASURY"), ("controller", "PNL")), "read", "trade")
    assert decision is not None
    assert applications(decision.grants) == ["PNL"]


def test_a_platform_grant_reaches_every_application_only_for_roles_that_reach(
    policy: AccessPolicy, registry: Registry
) -> None:
    assert decide(policy, registry, person(("auditor", "PLATFORM")), "read", "trade")
    assert decide(policy, registry, person(("admin", "PLATFORM")), "update", "trade")
    assert decide(policy, registry, person(("preparer", "PLATFORM")), "create", "trade") is None


def test_any_grant_counts_for_an_entity_that_names_its_application_by_row(
    policy: AccessPolicy, registry: Registry
) -> None:
    actor = person(("controller", "PNL"), ("controller", "TREASURY"), ("preparer", "RISK"))
    decision = decide(policy, registry, actor, "transition:approve", "process_run")
    assert decision is not None
    assert sorted(applications(decision.grants)) == ["PNL", "TREASURY"]


def test_an_administrator_of_an_application_does_not_change_people(policy: AccessPolicy, registry: Registry) -> None:
    assert decide(policy, registry, person(("admin", "PNL")), "update", "user") is None
    assert decide(policy, registry, person(("admin", "PLATFORM")), "update", "user")


def test_a_denied_role_denies_in_its_application_and_nowhere_else(policy: AccessPolicy, registry: Registry) -> None:
    both = person(("admin", "PNL"), ("controller", "PNL"), ("controller", "TREASURY"))
    decision = decide(policy, registry, both, "transition:approve", "process_run")
    assert decision is not None
    assert applications(decision.grants) == ["TREASURY"]
    everywhere = person(("admin", "PLATFORM"), ("controller", "TREASURY"))
    assert decide(policy, registry, everywhere, "transition:approve", "process_run") is None


def test_the_platform_itself_may_everything_and_nobody_may_nothing(policy: AccessPolicy, registry: Registry) -> None:
    decision = decide(policy, registry, system_actor(), "delete", "trade")
    assert decision is not None
    assert decision.allowed_by == "system"
    assert decide(policy, registry, ANONYMOUS, "read", "calendar") is None
    forged = replace(ANONYMOUS, grants=(Grant(uuid7(), "admin", "PLATFORM"),))
    assert decide(policy, registry, forged, "read", "calendar") is None


def test_a_read_only_token_reads_and_exports_whatever_its_owner_may(policy: AccessPolicy, registry: Registry) -> None:
    token = replace(person(("preparer", "PNL")), read_only=True)
    assert decide(policy, registry, token, "read", "trade")
    assert decide(policy, registry, token, "export", "trade")
    assert decide(policy, registry, token, "create", "trade") is None
    assert "only read" in refusal(policy, registry, token, "create", "trade").detail


def test_child_rows_are_decided_with_their_parent(policy: AccessPolicy, registry: Registry) -> None:
    assert governing(policy, "calendar_day", "read") == ("calendar_version", "read")
    assert governing(policy, "calendar_day", "delete") == ("calendar_version", "update")
    assert decide(policy, registry, person(("preparer", "PNL")), "read", "calendar_day")
    assert decide(policy, registry, person(("preparer", "PNL")), "create", "calendar_day") is None
    assert decide(policy, registry, person(("admin", "PNL")), "create", "calendar_day")


def test_a_grant_below_a_node_does_not_open_the_audit_trail(policy: AccessPolicy, registry: Registry) -> None:
    whole = person(("auditor", "PNL"))
    below = replace(whole, grants=(replace(whole.grants[0], node_id=uuid7(), node_path="a.b"),))
    assert decide(policy, registry, whole, "read", "audit_entry")
    assert decide(policy, registry, below, "read", "audit_entry") is None
    assert decide(policy, registry, below, "read", "trade")


def test_a_refusal_names_the_permission_and_the_roles_that_have_it(policy: AccessPolicy, registry: Registry) -> None:
    refused = refusal(policy, registry, person(("preparer", "PNL")), "transition:approve", "process_run")
    assert refused.detail == (
        "You may not approve process runs: the permission “transition:approve” on process run is missing; "
        "it comes with the role Controller or Desk head."
    )
    assert refused.context == {
        "action": "transition:approve", "entity": "process_run", "roles": ["controller", "desk_head"],
    }  # fmt: skip
    platform = refusal(policy, registry, person(("admin", "PNL")), "create", "role_grant")
    assert "in PLATFORM is missing; it comes with the role Administrator." in platform.detail


def test_a_line_added_by_an_administrator_layers_over_the_files(registry: Registry) -> None:
    files = read_policy_files()
    lines = (*files.lines, PolicyLine("preparer", "PNL", "trade", "update", Effect.DENY, "policy line 1"))
    policy = compile_policy(build_enforcer(lines, files.inheritance), lines=lines, files=files)
    assert decide(policy, registry, person(("preparer", "PNL")), "update", "trade") is None
    assert decide(policy, registry, person(("preparer", "PNL")), "create", "trade")
