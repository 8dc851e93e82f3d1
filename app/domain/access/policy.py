"""The policy in force. Casbin reads and means it; decisions are compiled out of it once and then looked up.

`enforce` walks every line for each question (milliseconds to seconds); the compiled policy answers the same from a
table with one cell per role, application, entity and action that the policy names, and one for "any other" of each.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import casbin
from casbin.util import key_match
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.access.policy_files import (
    ANY,
    MODEL,
    PLATFORM,
    Conflict,
    Effect,
    FieldMode,
    Inheritance,
    PolicyFiles,
    PolicyLine,
    RoleDef,
    RowCondition,
    read_policy_files,
)
from models.registry import Registry

__all__ = ["PLATFORM", "AccessPolicy", "PolicyLine", "build_enforcer", "compile_policy", "load_policy"]

_Cells = Mapping[tuple[str, str], PolicyLine]
_NO_CELLS: _Cells = {}
MEMO_SIZE = 2_000  # entries; a worker must stay small

# Lines that administrators add stand in rows; they layer over the files and come after them.
READ_ROWS = text("SELECT id, role, application, entity, action, effect FROM policy_line ORDER BY created_at, id")

# What lifecycles allow to roles, in any version that records can be pinned to; which version counts for a record is
# looked at with the record.
READ_STEPS = text(
    """
SELECT DISTINCT trim(role) AS role, l.entity, 'transition:' || t.name AS action, l.code
FROM lifecycle_transition t
JOIN lifecycle_version v ON v.id = t.parent_id AND v.state <> 'draft'
JOIN lifecycle l ON l.id = v.lifecycle_id AND NOT l.protected
CROSS JOIN LATERAL regexp_split_to_table(t.roles, '[,\\n]') AS role
WHERE trim(role) <> '' ORDER BY 2, 3, 1
"""
)


class AccessPolicy:
    """One immutable state of the policy; a change makes a new one."""

    def __init__(
        self,
        *,
        cells: Mapping[tuple[str, str], _Cells],
        applications: Iterable[str],
        entities: Iterable[str],
        actions: Iterable[str],
        lines: tuple[PolicyLine, ...],
        files: PolicyFiles,
        parents: Mapping[str, str],
    ) -> None:
        self.lines = lines
        self.files = files
        self.applications = frozenset(applications)
        self.entities = frozenset(entities)
        self.actions = frozenset(actions)
        # Child entity -> the entity whose lines its rows are: they are read and written with it.
        self.parents = parents
        self._cells = cells
        self._prefixes = sorted((a for a in self.actions if a.endswith(ANY)), key=len, reverse=True)
        self._named_roles = frozenset(role for role, _ in cells)
        self._reaching = frozenset(role for role in self._named_roles if self._may_reach(role))
        self._others_reach = self._may_reach(ANY)
        self._row_conditions = _by_entity(files.row_conditions)
        # What was worked out for a combination of grants; owned by the policy, so that a new policy starts afresh.
        self.memo: dict[Any, Any] = {}

    def remember(self, key: Any, value: Any) -> None:
        """Keep what was worked out; when there is too much of it, start afresh."""
        if len(self.memo) >= MEMO_SIZE:
            self.memo.clear()
        self.memo[key] = value

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gave for this key, made once."""
        if key not in self.memo:
            self.remember(key, make())
        return self.memo[key]

    # -- decisions -------------------------------------------------------------------------------------------------

    def allows(self, roles_in_app: frozenset[str], application: str, entity: str, action: str) -> PolicyLine | None:
        """The line by which these roles together may do this in the application; None when not, or without a role."""
        line = self.verdict(roles_in_app, application, entity, action)
        return line if line is not None and not line.denies else None

    def verdict(self, roles_in_app: frozenset[str], application: str, entity: str, action: str) -> PolicyLine | None:
        """The line that decides: a deny of any role before an allow of any; None where no line speaks of it."""
        key = self.cell_key(entity, action)
        allowed = None
        for role in roles_in_app:
            line = self.line_of(role, application, key)
            if line is not None:
                if line.denies:
                    return line
                allowed = allowed or line
        return allowed

    def cell_key(self, entity: str, action: str) -> tuple[str, str]:
        """The cell of an entity and an action; what the policy does not name has the cell of "any other"."""
        return (entity if entity in self.entities else ANY, action if action in self.actions else self._other(action))

    def line_of(self, role: str, application: str, key: tuple[str, str]) -> PolicyLine | None:
        """The line that decides for one role alone."""
        if application not in self.applications:
            application = ANY
        cells = self._cells.get((role, application))
        if cells is None:  # a role that the policy does not name has what every role has
            cells = self._cells.get((ANY, application), _NO_CELLS)
        return cells.get(key)

    def _other(self, action: str) -> str:
        for pattern in self._prefixes:
            if action.startswith(pattern[:-1]):
                return pattern
        return ANY

    def reaches(self, role: str) -> bool:
        """Whether a grant of this role in PLATFORM counts in every application."""
        return role in self._reaching or (self._others_reach and role not in self._named_roles)

    def _may_reach(self, role: str) -> bool:
        return self.allows(frozenset((role,)), PLATFORM, "application", "reach") is not None

    def roles_that_may(self, application: str, entity: str, action: str) -> tuple[str, ...]:
        """The roles, by code, of which one alone is enough."""
        named = sorted({role for role, _ in self._cells if role != ANY} | {role.code for role in self.files.roles})
        inherited = {link.parent for link in self.files.inheritance}
        return tuple(
            role
            for role in named
            if role not in inherited and self.allows(frozenset((role,)), application, entity, action)
        )

    # -- the rest of the policy --------------------------------------------------------------------------------------

    @property
    def roles(self) -> tuple[RoleDef, ...]:
        """The roles that ship with the product, with their labels: the first rows of the role table."""
        return self.files.roles

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        return self.files.conflicts

    def acts_as(self, role: str) -> frozenset[str]:
        """The role and those that it inherits from, wherever it does."""
        found, pending = {role}, [role]
        while pending:
            below = pending.pop()
            above = {link.parent for link in self.files.inheritance if link.role == below} - found
            found |= above
            pending += above
        return frozenset(found)

    def row_conditions(self, role: str, application: str, entity: str, action: str) -> tuple[RowCondition, ...]:
        """What limits the rows of a grant: the entries that fit best; several equally good ones hold together."""
        best: tuple[RowCondition, ...] = ()
        rank = (-1, -1, -1)
        for entry in self._row_conditions.get(entity, ()):
            if entry.role not in (role, ANY) or entry.application not in (application, ANY):
                continue
            if entry.actions and action not in entry.actions:
                continue
            fit = (int(entry.role != ANY), int(entry.application != ANY), int(bool(entry.actions)))
            if fit > rank:
                best, rank = (entry,), fit
            elif fit == rank:
                best = (*best, entry)
        return best

    def access_group(self, entity: str, field: str, defined: str) -> str:
        """The group of a field: the policy's, unless the definition already keeps it closer than `standard`."""
        return self.files.field_groups.get((entity, field), defined) if defined == "standard" else defined

    def field_mode(self, roles: Iterable[str], group: str) -> FieldMode | None:
        """The widest access that any of the roles has to a group of fields."""
        access = self.files.field_access
        modes = [access.get((role, group)) or access.get((ANY, group)) for role in roles]
        return max((mode for mode in modes if mode), key=list(FieldMode).index, default=None)


def _by_entity(conditions: Iterable[RowCondition]) -> dict[str, tuple[RowCondition, ...]]:
    result: dict[str, tuple[RowCondition, ...]] = {}
    for entry in conditions:
        result[entry.entity] = (*result.get(entry.entity, ()), entry)
    return result


# -- from the files to casbin, from casbin to the cells ----------------------------------------------------------------


def build_enforcer(lines: Iterable[PolicyLine], inheritance: Iterable[Inheritance]) -> casbin.Enforcer:
    """The casbin enforcer of these lines: what the policy means, by definition."""
    enforcer = casbin.Enforcer(str(MODEL))
    enforcer.add_named_domain_matching_func("g", key_match)
    for line in lines:
        rule = [line.role, line.application, line.entity, line.action, line.effect.value]
        enforcer.model.add_policy("p", "p", rule)
    for link in inheritance:
        enforcer.model.add_policy("g", "g", [link.role, link.parent, link.application])
    enforcer.build_role_links()
    return enforcer


def compile_policy(
    enforcer: casbin.Enforcer,
    *,
    lines: Iterable[PolicyLine] = (),
    files: PolicyFiles | None = None,
    parents: Mapping[str, str] | None = None,
) -> AccessPolicy:
    """Turn the enforcer's policy into cells. `lines` are the same lines with their sources, for explanations."""
    sources = {line: line for line in reversed(tuple(lines))}
    every = tuple(_line(rule, sources) for rule in enforcer.get_policy())
    named_roles = {line.role for line in every} | {rule[0] for rule in enforcer.get_grouping_policy()} | {ANY}
    applications = {line.application for line in every} | {rule[2] for rule in enforcer.get_grouping_policy()} | {ANY}
    entities = {line.entity for line in every} | {ANY}
    # An action pattern stands in a cell of its own, for the actions that no line names.
    actions = {_pattern(line.action) for line in every} | {ANY}
    cells = {
        (role, application): _cells(_implied(enforcer, role, application, sources), application, entities, actions)
        for role in named_roles
        for application in applications
    }
    return AccessPolicy(
        cells=cells,
        applications=applications,
        entities=entities,
        actions=actions,
        lines=every,
        files=files or PolicyFiles(),
        parents=parents or {},
    )


def _line(rule: list[str], sources: Mapping[PolicyLine, PolicyLine]) -> PolicyLine:
    role, application, entity, action, effect = rule
    line = PolicyLine(role, application, entity, action, Effect(effect))
    return sources.get(line, line)


def _pattern(action: str) -> str:
    """What follows a `*` counts for nothing, as in casbin's keyMatch."""
    head, star, _ = action.partition(ANY)
    return head + star


def _implied(
    enforcer: casbin.Enforcer, role: str, application: str, sources: Mapping[PolicyLine, PolicyLine]
) -> list[PolicyLine]:
    """The role's lines and those it inherits in the application, and what holds for every role."""
    rules = enforcer.get_implicit_permissions_for_user(role, application, filter_policy_dom=False)
    rules = [*rules, *enforcer.get_filtered_policy(0, ANY)]
    return list(dict.fromkeys(_line(rule, sources) for rule in rules))


def _cells(
    lines: list[PolicyLine], application: str, entities: Iterable[str], actions: Iterable[str]
) -> dict[tuple[str, str], PolicyLine]:
    here = [line for line in lines if line.application in (application, ANY)]
    # The most telling line is named: a deny, then one for this entity, this application, this action.
    here.sort(key=lambda x: (not x.denies, x.entity == ANY, x.application == ANY, x.action.endswith(ANY)))
    cells: dict[tuple[str, str], PolicyLine] = {}
    fits: Callable[[str, str], bool] = key_match
    for line in here:
        for entity in entities if line.entity == ANY else (line.entity,):
            for action in actions:
                if fits(action, line.action):
                    cells.setdefault((entity, action), line)
    return cells


async def load_policy(engine: AsyncEngine, registry: Registry) -> AccessPolicy:
    """Read the files, the definitions' default lines and the rows of `policy_line`, and compile them.

    A database that has not been migrated yet has no rows; every other failure to read them is raised, because a policy
    without its rows could allow what a row denies.
    """
    files = read_policy_files()
    lines = (*_definition_lines(registry), *files.lines, *await _row_lines(engine))
    enforcer = build_enforcer(lines, files.inheritance)
    parents = {child: parent.name for child, (parent, _) in registry.parents.items()}
    return compile_policy(enforcer, lines=lines, files=files, parents=parents)


def _definition_lines(registry: Registry) -> list[PolicyLine]:
    return [
        PolicyLine(line.role, ANY, entity.name, action, Effect.ALLOW, f"definition of {entity.name}")
        for entity in registry.entities.values()
        for line in entity.permissions
        for action in line.actions
    ]


async def _row_lines(engine: AsyncEngine) -> list[PolicyLine]:
    async with engine.connect() as connection:
        if await connection.scalar(text("SELECT to_regclass('policy_line')")) is None:
            return []
        rows = await connection.execute(READ_ROWS)
        lines = [
            PolicyLine(role, application, entity, action, Effect(effect), f"policy line {id_}")
            for id_, role, application, entity, action, effect in rows
        ]
        if await connection.scalar(text("SELECT to_regclass('lifecycle_transition')")) is not None:
            steps = await connection.execute(READ_STEPS)
            lines += [
                PolicyLine(role, ANY, entity, action, Effect.ALLOW, f"lifecycle {code}")
                for role, entity, action, code in steps
            ]
        return lines
