"""The compiled policy means what casbin means, everywhere."""

import re
from itertools import combinations, product
from pathlib import Path
from random import Random
from typing import Any

import casbin
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.access.policy import AccessPolicy, PolicyLine, build_enforcer, compile_policy
from app.domain.access.policy_files import Effect, Inheritance, PolicyFiles, read_policy_files
from app.domain.workflow.states import TRANSITIONS, Who
from models.registry import Registry

ROLES = ("admin", "preparer", "controller", "desk_head", "operations", "auditor")
APPLICATIONS = ("PLATFORM", "PNL", "TREASURY")
PSEUDO = ("audit_entry", "explain", "job", "metadata", "mail")
ACTIONS = (
    "read", "create", "update", "delete", "export", "import", "share", "configure", "reach", "retry", "abort",
    "transition:start", "transition:submit", "transition:approve", "transition:reject", "transition:hold",
    "transition:skip", "transition:cancel", "transition:assign", "transition:comment", "transition:unheard_of",
)  # fmt: skip


@pytest.fixture(scope="module")
def files() -> PolicyFiles:
    return read_policy_files()


@pytest.fixture(scope="module")
def enforcer(files: PolicyFiles) -> casbin.Enforcer:
    return build_enforcer(files.lines, files.inheritance)


@pytest.fixture(scope="module")
def policy(files: PolicyFiles, enforcer: casbin.Enforcer) -> AccessPolicy:
    return compile_policy(enforcer, lines=files.lines, files=files)


def allowed(policy: AccessPolicy, roles: tuple[str, ...], application: str, entity: str, action: str) -> bool:
    return policy.allows(frozenset(roles), application, entity, action) is not None


def test_shipped_policy_equals_enforce_on_the_whole_matrix(
    registry: Registry, files: PolicyFiles, policy: AccessPolicy
) -> None:
    entities = (*sorted({*registry.entities, *PSEUDO} & policy.entities), "defined_later")
    cases = list(product((*ROLES, "reader", "made_by_an_admin"), APPLICATIONS, ACTIONS))
    differences = []
    for entity in entities:
        # enforce() walks all lines; those about other entities cannot match, and leaving them out saves a minute.
        about = [line for line in files.lines if line.entity in (entity, "*")]
        enforcer = build_enforcer(about, files.inheritance)
        for role, application, action in cases:
            compiled = allowed(policy, (role,), application, entity, action)
            if compiled != enforcer.enforce(role, application, entity, action):
                differences.append((role, application, entity, action))
    assert differences == []


def test_shipped_policy_equals_enforce_with_every_line_in_it(
    registry: Registry, policy: AccessPolicy, enforcer: casbin.Enforcer
) -> None:
    entities = (*sorted(registry.entities), *PSEUDO, "defined_later")
    cases = list(product((*ROLES, "made_by_an_admin"), APPLICATIONS, entities, ACTIONS))
    differences = [
        case for case in Random(7).sample(cases, 600) if allowed(policy, case[:1], *case[1:]) != enforcer.enforce(*case)
    ]
    assert differences == []


def test_shipped_policy_equals_enforce_for_people_with_two_roles(
    files: PolicyFiles, registry: Registry, policy: AccessPolicy
) -> None:
    pairs = list(combinations(ROLES, 2))
    enforcer = build_enforcer(files.lines, files.inheritance)
    for first, second in pairs:
        for application in APPLICATIONS:
            enforcer.model.add_policy("g", "g", [f"{first}+{second}", first, application])
            enforcer.model.add_policy("g", "g", [f"{first}+{second}", second, application])
    enforcer.build_role_links()
    differences = [
        (pair, entity, action)
        for pair, entity, action in product(pairs, ("process_run", "trade", "user", "workflow"), ACTIONS)
        if allowed(policy, pair, "PNL", entity, action) != enforcer.enforce("+".join(pair), "PNL", entity, action)
    ]
    assert differences == []


names = st.sampled_from(("r1", "r2", "r3"))
applications = st.sampled_from(("A", "B", "*"))
entities = st.sampled_from(("e1", "e2", "*"))
actions = st.sampled_from(("read", "update", "transition:a", "transition:b", "transition:*", "*"))
lines = st.builds(
    PolicyLine, st.sampled_from(("r1", "r2", "r3", "*")), applications, entities, actions, st.sampled_from(Effect)
)
links = st.builds(Inheritance, names, st.sampled_from(("r2", "r3", "base")), applications).filter(
    lambda link: link.role < link.parent or link.parent == "base"
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(lines, max_size=8), st.lists(links, max_size=3, unique=True), st.frozensets(names, min_size=1))
def test_any_policy_equals_enforce_for_any_combination_of_roles(
    lines: list[PolicyLine], links: list[Inheritance], roles: frozenset[str]
) -> None:
    policy = compile_policy(build_enforcer(lines, links), lines=lines)
    person = [Inheritance("person", role, application) for role in roles for application in ("A", "B", "C")]
    enforcer = build_enforcer(lines, [*links, *person])
    for application, entity, action in product(
        ("A", "B", "C"), ("e1", "e2", "e3"), ("read", "update", "delete", "transition:a", "transition:z")
    ):
        compiled = policy.allows(roles, application, entity, action) is not None
        assert compiled == enforcer.enforce("person", application, entity, action), (application, entity, action)


def test_a_deny_of_one_role_wins_over_an_allow_of_another() -> None:
    lines = [PolicyLine("maker", "*", "*", "*"), PolicyLine("trainee", "*", "trade", "delete", Effect.DENY)]
    policy = compile_policy(build_enforcer(lines, []), lines=lines)
    assert allowed(policy, ("maker",), "PNL", "trade", "delete")
    assert not allowed(policy, ("maker", "trainee"), "PNL", "trade", "delete")
    assert allowed(policy, ("maker", "trainee"), "PNL", "trade", "update")


def test_the_answer_names_the_line_and_where_it_stands(policy: AccessPolicy) -> None:
    line = policy.allows(frozenset({"preparer"}), "PNL", "trade", "create")
    assert line is not None
    assert str(line).startswith("allow preparer in every application: create trade (policies/finance.csv line ")


@pytest.mark.parametrize(
    ("role", "can", "cannot"),
    [
        ("preparer", ["trade create", "process_run transition:submit", "process_run read", "user read"],
         ["process_run transition:approve", "workflow update", "user update", "audit_entry read", "trade delete"]),
        ("controller", ["process_run transition:approve", "process_run transition:reject", "market_rate export"],
         ["trade create", "trade update", "process_run transition:cancel", "job retry"]),
        ("desk_head", ["process_run transition:approve", "pnl_fact read"],
         ["trade update", "process_run transition:skip"]),
        ("operations", ["job retry", "process_run transition:assign", "job_run read", "process_run transition:cancel"],
         ["process_run transition:approve", "trade create", "audit_entry read"]),
        ("auditor", ["audit_entry read", "audit_entry export", "trade read", "mail_message read"],
         ["trade update", "process_run transition:approve", "policy_line create", "notification delete"]),
        ("admin", ["workflow update", "calendar create", "trade update"],
         ["process_run transition:approve", "process_run transition:reject", "user update", "role_grant create"]),
    ],
)  # fmt: skip
def test_shipped_roles_may_what_their_description_says(
    policy: AccessPolicy, role: str, can: list[str], cannot: list[str]
) -> None:
    assert [what for what in can if not allowed(policy, (role,), "PNL", *what.split(" "))] == []
    assert [what for what in cannot if allowed(policy, (role,), "PNL", *what.split(" "))] == []


def test_only_platform_administrators_change_people_roles_and_policy(policy: AccessPolicy) -> None:
    for entity in ("user", "role", "role_grant", "policy_line", "parameter", "application"):
        for action in ("create", "update"):
            may = [
                (role, application)
                for role, application in product(ROLES, APPLICATIONS)
                if allowed(policy, (role,), application, entity, action)
            ]
            assert may == [("admin", "PLATFORM")], (entity, action)


def test_roles_file_describes_every_role_of_the_product(policy: AccessPolicy) -> None:
    assert tuple(role.code for role in policy.roles) == ROLES
    assert all(role.label and role.description for role in policy.roles)


def test_every_entity_named_in_the_policy_exists(files: PolicyFiles, registry: Registry) -> None:
    known = {*registry.entities, *PSEUDO, "*"}
    assert {line.entity for line in files.lines} - known == set()
    assert {entry.entity for entry in files.row_conditions} - known == set()
    for entity, field in files.field_groups:
        assert registry.entity(entity).has_field(field), (entity, field)


def test_every_entity_is_read_by_some_working_role_or_is_deliberately_closed(
    registry: Registry, policy: AccessPolicy
) -> None:
    closed = {
        name
        for name, entity in registry.entities.items()
        if entity.kind.value != "child"
        and not any(allowed(policy, (role,), entity.application or "PNL", name, "read") for role in ROLES[1:5])
    }
    for_administrators_and_auditors = {
        "log_replay",
        "log_replay_refusal",
        "notification_endpoint",
        "notification_rule",
        "notification_template",
        "notification_template_version",
        "process_query_person",
        "record_approval",
        "record_transition",
    }
    assert closed == {"mail_message", "parameter", "policy_line", "role_grant"} | for_administrators_and_auditors


def test_compiling_does_not_depend_on_the_order_of_allow_and_deny(files: PolicyFiles) -> None:
    backwards = tuple(reversed(files.lines))
    one = compile_policy(build_enforcer(files.lines, files.inheritance), lines=files.lines)
    other = compile_policy(build_enforcer(backwards, files.inheritance), lines=backwards)
    cases: list[Any] = list(product(ROLES, APPLICATIONS, ("trade", "process_run", "user"), ACTIONS))
    assert [c for c in cases if allowed(one, (c[0],), *c[1:]) != allowed(other, (c[0],), *c[1:])] == []


ASKED = re.compile(
    r"(?:authorize|scope_condition|record_in_scope|require_in_scope|scope)\("
    r'(?:[\w.]+, )?(?:uow, )?"([\w:]+)", "(\w+)"'
)


def test_every_permission_that_a_service_asks_for_is_given_to_some_role(policy: AccessPolicy) -> None:
    asked = {
        (match[1], match[2], path.name)
        for path in (Path(__file__).parents[3] / "app").rglob("*.py")
        for match in ASKED.finditer(path.read_text("utf-8"))
    }
    asked |= {
        (f"transition:{transition.name}", "process_run", "states.py")
        for transition in TRANSITIONS.values()
        if transition.who is not Who.ENGINE
    }
    assert len(asked) > 40
    granted = {
        (action, entity)
        for action, entity, _ in asked
        if any(policy.roles_that_may(application, entity, action) for application in ("PLATFORM", "PNL"))
    }
    assert sorted(item for item in asked if item[:2] not in granted) == []
