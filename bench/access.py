"""Access decisions at 10,000 users: the compiled policy against pycasbin's `enforce`, and the cost of row scope.

Run with `python -m bench.access`; prints one JSON object a line. The answers are compared as well as the times.
pycasbin's first question in an application builds its role links, in seconds; that is not counted against it.
"""

import json
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import casbin

from app.core.actor import Actor, Grant
from app.domain.access.decisions import decide
from app.domain.access.policy import AccessPolicy, PolicyLine, build_enforcer, compile_policy
from app.domain.access.policy_files import MODEL, Effect, Inheritance, read_policy_files
from app.domain.access.scope import Viewer, condition_of
from models.base import uuid7
from models.registry import Registry, product_registry

USERS = 10_000
TARGET_US = 5.0
APPLICATIONS = ("PNL", "TREASURY", "RISK")
ACTIONS = ("read", "create", "update", "delete", "export", "transition:submit", "transition:approve")


@dataclass(frozen=True)
class Result:
    """`ours` in `unit`; `raw` is what pycasbin takes, where both were measured; the target is for ours alone."""

    name: str
    ours: float
    unit: str = "us"
    raw: float | None = None
    target: float | None = None

    def line(self) -> str:
        values: dict[str, object] = {"name": self.name, "ours": round(self.ours, 3), "unit": self.unit}
        if self.raw is not None:
            values |= {"raw": round(self.raw, 3), "ratio": round(self.ours / self.raw, 6)}
        if self.target is not None:
            values |= {"target": self.target, "met": self.ours <= self.target}
        return json.dumps(values)


def grown_lines(roles: int, entities: int) -> list[PolicyLine]:
    """A policy of a large installation: every third entity open to a role, some actions denied."""
    chance = random.Random(1)
    lines = [
        PolicyLine(f"role{role}", chance.choice(("*", *APPLICATIONS)), f"entity{entity}", action)
        for role in range(roles)
        for entity in range(entities)
        for action in ACTIONS
        if chance.random() < 0.3
    ]
    denied = chance.sample(lines, len(lines) // 50)
    return [*lines, *(PolicyLine(x.role, "*", x.entity, x.action, Effect.DENY) for x in denied)]


def people(roles: list[str]) -> list[Actor]:
    chance = random.Random(2)
    return [
        Actor(
            uuid7(),
            f"user{number}",
            grants=tuple(
                Grant(uuid7(), chance.choice(roles), chance.choice(APPLICATIONS)) for _ in range(chance.randint(1, 3))
            ),
        )
        for number in range(USERS)
    ]


def microseconds(work: Callable[[], object], times: int) -> float:
    """The best of many short rounds: what the work costs when nothing else interferes."""
    rounds = []
    for _ in range(40):
        start = time.perf_counter()
        work()
        rounds.append(time.perf_counter() - start)
    return min(rounds) / times * 1e6


def questions(actors: list[Actor], entities: list[str], count: int) -> list[tuple[Actor, str, str, str]]:
    chance = random.Random(3)
    asked = []
    for _ in range(count):
        actor = chance.choice(actors)
        application = chance.choice(actor.grants).application
        asked.append((actor, application, chance.choice(entities), chance.choice(ACTIONS)))
    return asked


def roles_in(actor: Actor, application: str) -> frozenset[str]:
    return frozenset(grant.role for grant in actor.grants if grant.application == application)


def compare(
    name: str, lines: list[PolicyLine], entities: list[str], *, files: bool = False, asked_of_casbin: int
) -> list[Result]:
    """Look-up times, pycasbin's times with every user in it, and whether the answers are the same."""
    read = read_policy_files()
    inheritance: tuple[Inheritance, ...] = read.inheritance if files else ()
    start = time.perf_counter()
    policy = compile_policy(build_enforcer(lines, inheritance), lines=lines, files=read)
    compiled_ms = (time.perf_counter() - start) * 1e3
    roles = [role.code for role in read.roles] if files else sorted({line.role for line in lines})
    actors = people(roles)
    asked = questions(actors, entities, 1_000)
    prepared = [
        (roles_in(actor, application), application, entity, action) for actor, application, entity, action in asked
    ]

    def look_up() -> None:
        for roles_held, application, entity, action in prepared:
            policy.allows(roles_held, application, entity, action)

    ours = microseconds(look_up, len(prepared))
    theirs = None
    if asked_of_casbin:
        theirs = ask_casbin(policy, with_users(lines, inheritance, actors), asked, asked_of_casbin)
    return [
        Result(f"decision, {name}, {len(lines)} lines, {USERS:,} users", ours, "us", theirs, TARGET_US),
        Result(f"compile, {name}", compiled_ms, "ms"),
        *(decisions(policy, actors) if files else ()),
    ]


def ask_casbin(
    policy: AccessPolicy, enforcer: casbin.Enforcer, asked: list[tuple[Actor, str, str, str]], count: int
) -> float:
    """Microseconds of one `enforce`, after its first call has built the application's role links."""
    same = [question for question in asked if question[1] == asked[0][1]][: count + 1]
    first, *timed = [(actor.name, application, entity, action) for actor, application, entity, action in same]
    theirs = [enforcer.enforce(*first)]
    start = time.perf_counter()
    theirs += [enforcer.enforce(*question) for question in timed]
    taken = (time.perf_counter() - start) / len(timed) * 1e6
    ours = [
        policy.allows(roles_in(actor, place), place, entity, action) is not None
        for actor, place, entity, action in same
    ]
    if ours != theirs:
        raise AssertionError("the compiled policy and pycasbin disagree")
    return taken


def with_users(lines: list[PolicyLine], inheritance: Iterable[Inheritance], actors: list[Actor]) -> casbin.Enforcer:
    """pycasbin with everybody in it. Inheritance is spelt out per application: patterns would slow it further."""
    enforcer = casbin.Enforcer(str(MODEL))
    for line in lines:
        enforcer.model.add_policy("p", "p", [line.role, line.application, line.entity, line.action, line.effect.value])
    for link in inheritance:
        for application in APPLICATIONS:
            enforcer.model.add_policy("g", "g", [link.role, link.parent, application])
    for actor in actors:
        for grant in actor.grants:
            enforcer.model.add_policy("g", "g", [actor.name, grant.role, grant.application])
    enforcer.build_role_links()
    return enforcer


def decisions(policy: AccessPolicy, actors: list[Actor]) -> list[Result]:
    """The whole question as services ask it, and the condition that limits a list."""
    registry: Registry = product_registry()
    chance = random.Random(4)
    names = ["trade", "process_run", "workflow_run", "user", "calendar", "job_run"]
    asked = [(chance.choice(actors), chance.choice(ACTIONS), chance.choice(names)) for _ in range(1_000)]

    def decide_all() -> None:
        for actor, action, entity in asked:
            decide(policy, registry, actor, action, entity)

    definition, table = registry.entity("process_run"), registry.table("process_run")
    now = datetime.now(UTC)
    desk = Grant(uuid7(), "controller", "PNL", uuid7(), "a.b.c")
    viewer = Viewer(Actor(uuid7(), "desk", grants=(desk,)), policy, registry, now, now.date())
    decision = decide(policy, registry, viewer.actor, "read", "process_run")
    assert decision is not None

    def scope_all() -> None:
        for _ in range(200):
            condition_of(viewer, "read", definition, decision, table)

    return [
        Result("authorize, shipped policy", microseconds(decide_all, len(asked)), "us", None, TARGET_US),
        Result("row scope of process runs", microseconds(scope_all, 200), "us"),
    ]


def run() -> list[Result]:
    files = read_policy_files()
    registry = product_registry()
    shipped = compare("shipped policy", list(files.lines), sorted(registry.entities), files=True, asked_of_casbin=5)
    lines = grown_lines(20, 60)
    grown = compare("20 roles x 60 entities", lines, [f"entity{n}" for n in range(60)], asked_of_casbin=0)
    return [*shipped, *grown]


if __name__ == "__main__":
    for result in run():
        print(result.line(), flush=True)
