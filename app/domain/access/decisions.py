"""Whether an actor may do something to an entity, and by which grants: the one question every service asks first."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from app.core.actor import Actor, ActorKind, Grant
from app.core.errors import Forbidden
from app.core.uow import UnitOfWork
from app.domain.access.policy import AccessPolicy, PolicyLine
from app.domain.access.policy_files import ANY, PLATFORM
from models.registry import Registry
from models.schema import EntityDef

SYSTEM = "system"
READING = frozenset({"read", "export"})

# Objects of the policy that are no entities and have no place in a hierarchy: a grant below a node does not reach them.
WHOLE_ONLY = frozenset({"audit_entry", "metadata", "mail"})

READ_ONLY_TOKEN = "this access token may only read"  # noqa: S105  (words, no secret)


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed, by any one of `grants`; each still limits which records. `allowed_by` names the policy line."""

    grants: tuple[Grant, ...]
    allowed_by: str

    @property
    def is_system(self) -> bool:
        return self.allowed_by == SYSTEM

    @property
    def grant_id(self) -> UUID | None:
        """The grant to name in the audit entry."""
        return self.grants[0].id if self.grants else None


_SYSTEM_DECISION = Decision((), SYSTEM)


def authorize(uow: UnitOfWork, action: str, entity: str) -> Decision:
    """Decide, or refuse in words.

    Raises:
        Forbidden: the detail names the permission and the roles that have it; `context` has action and entity.
    """
    policy: AccessPolicy = uow.resources.policy
    decision = decide(policy, uow.registry, uow.actor, action, entity)
    if decision is None:
        raise refusal(policy, uow.registry, uow.actor, action, entity)
    return decision


def decide(policy: AccessPolicy, registry: Registry, actor: Actor, action: str, entity: str) -> Decision | None:
    """By which grants the actor may do this to some record of the entity; None when to no record at all."""
    if actor.kind is ActorKind.SYSTEM:
        return _SYSTEM_DECISION
    if actor.kind is ActorKind.ANONYMOUS or (actor.read_only and action not in READING):
        return None
    entity, action = governing(policy, entity, action)
    definition = registry.entities.get(entity)
    if definition is not None and definition.application:
        return _in_application(policy, actor.grants, definition.application, entity, action)
    follows_record = definition is not None and definition.application_field is not None
    grants: Iterable[Grant] = actor.grants
    if entity in WHOLE_ONLY:
        grants = [grant for grant in grants if grant.node_id is None]
    return _in_each_application(policy, tuple(grants), entity, action, with_wide=follows_record)


def governing(policy: AccessPolicy, entity: str, action: str) -> tuple[str, str]:
    """The entity and action that decide: child rows are read with their parent, and writing one changes the parent."""
    parent = policy.parents.get(entity)
    while parent is not None:
        entity, action = parent, action if action in READING else "update"
        parent = policy.parents.get(entity)
    return entity, action


def is_wide(policy: AccessPolicy, grant: Grant) -> bool:
    """Whether the grant counts in every application."""
    return grant.application == ANY or (grant.application == PLATFORM and policy.reaches(grant.role))


def _in_application(
    policy: AccessPolicy, grants: Iterable[Grant], application: str, entity: str, action: str
) -> Decision | None:
    counted = [grant for grant in grants if grant.application == application or is_wide(policy, grant)]
    return _decision(policy, counted, entity, action)


def _in_each_application(
    policy: AccessPolicy, grants: tuple[Grant, ...], entity: str, action: str, *, with_wide: bool
) -> Decision | None:
    """Each application is decided by itself: a deny in one says nothing about the others. Wide grants join each."""
    if len(grants) == 1:
        return _decision(policy, grants, entity, action)
    applications = {grant.application for grant in grants}
    if len(applications) == 1:
        return _decision(policy, grants, entity, action)
    wide = {id(grant) for grant in grants if with_wide and is_wide(policy, grant)}
    allowing: dict[int, Grant] = {}  # by identity: a wide grant is met in each application
    allowed_by = ""
    for application in sorted(applications):
        counted = [grant for grant in grants if grant.application == application or id(grant) in wide]
        decision = _decision(policy, counted, entity, action)
        if decision is not None:
            for grant in decision.grants:
                allowing[id(grant)] = grant
            allowed_by = allowed_by or decision.allowed_by
    return Decision(tuple(allowing.values()), allowed_by) if allowing else None


def _decision(policy: AccessPolicy, grants: Iterable[Grant], entity: str, action: str) -> Decision | None:
    """All of these grants together: any denied role denies; else those whose own role allows."""
    allowing: list[Grant] = []
    named: PolicyLine | None = None
    key = policy.cell_key(entity, action)
    for grant in grants:
        line = policy.line_of(grant.role, grant.application, key)
        if line is None:
            continue
        if line.denies:
            return None
        allowing.append(grant)
        named = named or line
    return Decision(tuple(allowing), named.words) if named is not None else None


def refusal(
    policy: AccessPolicy, registry: Registry, actor: Actor, action: str, entity: str, *, on_record: bool = False
) -> Forbidden:
    """The refusal in words: what is missing and who has it. `on_record`: allowed on others, but not on this one."""
    context = {"action": action, "entity": entity}
    ruling, ruling_action = governing(policy, entity, action)
    definition = registry.entities.get(ruling)
    what = f"{_verb(action)} {_plural(registry.entities.get(entity), entity)}"
    if actor.read_only and action not in READING:
        return Forbidden(f"You may not {what}: {READ_ONLY_TOKEN}.", context=context)
    if on_record:
        label = definition.label if definition is not None else entity.replace("_", " ")
        return Forbidden(
            f"You may not {_verb(action)} this {label.lower()}: your roles allow it only elsewhere, "
            "in another application or below another node of the hierarchy.",
            context=context,
        )
    application = definition.application if definition is not None and definition.application else ANY
    roles = policy.roles_that_may(application, ruling, ruling_action)
    roles = roles or policy.roles_that_may(PLATFORM, ruling, ruling_action)
    labels = {role.code: role.label for role in policy.roles}
    place = f" in {application}" if application != ANY else ""
    who = " or ".join(labels.get(role, role) for role in roles)
    missing = f"the permission “{action}” on {entity.replace('_', ' ')}{place} is missing"
    having = f"it comes with the role {who}" if roles else "no role has it"
    return Forbidden(f"You may not {what}: {missing}; {having}.", context={**context, "roles": list(roles)})


def _verb(action: str) -> str:
    return action.removeprefix("transition:").replace("_", " ")


def _plural(definition: EntityDef | None, entity: str) -> str:
    label = definition.label_plural if definition is not None else entity.replace("_", " ")
    return label if label[:2].isupper() or label.startswith("PnL") else label[:1].lower() + label[1:]
