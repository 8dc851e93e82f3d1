"""The notification rules in force, kept in each process, so that an event costs a look into a dictionary.

The rules that come with the product are rows too: they are written once, when a process starts on a database that has
not seen them, and are tuned like any other. Their words stay those of `rules.TELLINGS`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.actor import SYSTEM_ID
from app.core.uow import UnitOfWork
from app.domain.notify.rules import TELLINGS, Channel, Event, Kind, Rule, Telling

log = logging.getLogger("steps.notify")

RULES = "notification_rules"  # the name of the service, and the topic that is touched when a rule changes
SHIPPED_LOCK = 7_302_001
DEFAULT_CHANNELS = (Channel.IN_APP.value, Channel.EMAIL.value)


@dataclass(frozen=True, slots=True)
class NotificationRule:
    """A rule as it is used. `telling` has its words; `to` are the kinds of recipients that depend on the record."""

    code: str
    event: str
    telling: Telling
    to: frozenset[str] = frozenset()
    roles: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()
    endpoint_ids: tuple[str, ...] = ()
    channels: tuple[str, ...] = DEFAULT_CHANNELS
    critical: bool = False
    mandatory: bool = False
    template_id: UUID | None = None
    condition: Mapping[str, Any] | None = None
    entity: str | None = None
    name: str | None = None
    changed_fields: frozenset[str] = frozenset()
    id: UUID | None = None

    @property
    def tells_somebody(self) -> bool:
        return bool(self.to or self.roles or self.user_ids or self.group_ids or self.endpoint_ids)


@dataclass
class NotificationRules:
    """What is active, by event."""

    by_event: Mapping[str, tuple[NotificationRule, ...]] = field(default_factory=lambda: _by_event(shipped_rules()))
    protected: frozenset[UUID] = frozenset()

    def of(self, event: str) -> tuple[NotificationRule, ...]:
        return self.by_event.get(event, ())

    async def load(self, engine: AsyncEngine) -> None:
        """Read what is in force now."""
        async with engine.connect() as connection:
            rows = (await connection.execute(READ)).mappings().all()
        self.take(rows)

    def take(self, rows: Sequence[Mapping[Any, Any]]) -> None:
        self.by_event = _by_event([rule_of(row) for row in rows if row["active"]])
        self.protected = frozenset(row["id"] for row in rows if row["protected"])


def rules_in_force(uow: UnitOfWork) -> NotificationRules:
    """Those of this process; where none were read, those that come with the product."""
    known: NotificationRules | None = uow.resources.services.get(RULES)
    return known if known is not None else _SHIPPED


def rule_of(row: Mapping[Any, Any]) -> NotificationRule:
    """Read a row with its recipients as JSON."""
    recipients = row["recipients"] or ()
    kinds = frozenset(line["kind"] for line in recipients)
    return NotificationRule(
        id=row["id"],
        code=row["code"],
        event=row["event"],
        telling=_telling(row),
        to=kinds - {"role", "user", "group", "endpoint"},
        roles=tuple(line["role"] for line in recipients if line["kind"] == "role"),
        user_ids=tuple(line["user"] for line in recipients if line["kind"] == "user"),
        group_ids=tuple(line["group"] for line in recipients if line["kind"] == "group"),
        endpoint_ids=tuple(line["endpoint"] for line in recipients if line["kind"] == "endpoint"),
        channels=tuple(row["channels"] or DEFAULT_CHANNELS),
        critical=row["criticality"] == "critical",
        mandatory=row["mandatory"],
        template_id=row["template_id"],
        condition=row["condition"],
        entity=row["entity"],
        name=row["name"],
        changed_fields=frozenset(name.strip() for name in (row["changed_fields"] or "").split(",") if name.strip()),
    )


def _telling(row: Mapping[Any, Any]) -> Telling:
    """The words: of the product for its own rules, else the rule's label."""
    kinds = {line["kind"] for line in row["recipients"] or ()}
    known = TELLINGS.get(Rule(row["event"])) if row["event"] in set(Rule) else None
    own = known is not None and row["code"] == row["event"]
    return Telling(
        kind=Kind(row["category"]),
        head=known.head if known is not None and own else row["label"],
        many=known.many if known is not None and own else f"processes: {row['label']}",
        waiting="waiting" in kinds,
        makers="makers" in kinds,
        lead="lead" in kinds,
        named="named" in kinds,
        human=known.human if known is not None else False,
        actor=row["tell_actor"],
        sentence=known.sentence if known is not None else None,
        reason=known.reason if known is not None else False,
        due=known.due if known is not None else "Due",
    )


def shipped_rules() -> list[NotificationRule]:
    """The rules that come with the product, as they are before anybody tunes them."""
    return [
        *(
            NotificationRule(code=rule.value, event=rule.value, telling=telling, to=frozenset(_kinds(telling)))
            for rule, telling in TELLINGS.items()
        ),
        NotificationRule(
            code=Event.RECORD_NOTICE.value,
            event=Event.RECORD_NOTICE.value,
            telling=Telling(Kind.SYSTEM, "", "", named=True),
            to=frozenset({"named"}),
        ),
    ]


def _kinds(telling: Telling) -> tuple[str, ...]:
    return tuple(kind for kind in ("waiting", "makers", "lead", "named") if getattr(telling, kind))


def _by_event(rules: Sequence[NotificationRule]) -> dict[str, tuple[NotificationRule, ...]]:
    found: dict[str, tuple[NotificationRule, ...]] = {}
    for rule in rules:
        found[rule.event] = (*found.get(rule.event, ()), rule)
    return found


_SHIPPED = NotificationRules()

READ = text("""
SELECT r.*, (SELECT jsonb_agg(jsonb_build_object('kind', l.kind, 'role', l.role, 'user', l.user_id,
                                                 'group', l.user_group_id, 'endpoint', l.endpoint_id)
                              ORDER BY l.position)
             FROM notification_recipient l WHERE l.parent_id = r.id) AS recipients
FROM notification_rule r ORDER BY r.code
""")
_KNOWN = text("SELECT code FROM notification_rule WHERE code = ANY (:codes)").bindparams(
    bindparam("codes", type_=ARRAY(Text))
)
_SHIP = text("""
WITH given AS (
    SELECT * FROM jsonb_to_recordset(:rules) AS g (code text, label text, event text, category text, recipients jsonb,
                                                   tell_actor boolean, description text)
), written AS (
    INSERT INTO notification_rule (id, row_version, created_at, created_by, updated_at, updated_by, code, label, event,
                                   category, tell_actor, description, active, protected, channels, criticality,
                                   mandatory)
    SELECT uuidv7(), 1, steps_now(), :by, steps_now(), :by, code, label, event, category, tell_actor, description,
           true, true, :channels, 'normal', false
    FROM given ON CONFLICT (code) DO NOTHING
    RETURNING id, code
)
INSERT INTO notification_recipient (id, row_version, created_at, created_by, updated_at, updated_by, parent_id,
                                    position, kind)
SELECT uuidv7(), 1, steps_now(), :by, steps_now(), :by, w.id, k.place, k.kind
FROM written w JOIN given g ON g.code = w.code
CROSS JOIN LATERAL jsonb_array_elements_text(g.recipients) WITH ORDINALITY AS k (kind, place)
""").bindparams(bindparam("rules", type_=JSONB), bindparam("channels", type_=ARRAY(Text)))

_LABELS: Mapping[str, str] = {
    Rule.RELEASED: "Ready for you",
    Rule.REVIEW: "Waits for your approval",
    Rule.REOPENING: "Asks for your confirmation",
    Event.RECORD_NOTICE: "What records and features say",
}
_DESCRIPTIONS: Mapping[str, str] = {
    Event.RECORD_NOTICE: "Steps with the effect notify, queries, issues and escalations: they name whom they tell.",
}


async def ensure_shipped(engine: AsyncEngine) -> None:
    """Write the rules of the product that this database does not have yet; once, whoever comes first."""
    shipped = shipped_rules()
    async with engine.connect() as connection:
        if await connection.scalar(text("SELECT to_regclass('notification_rule')")) is None:
            return
        known = set((await connection.execute(_KNOWN, {"codes": [rule.code for rule in shipped]})).scalars())
    missing = [rule for rule in shipped if rule.code not in known]
    if not missing:
        return
    values = [
        {
            "code": rule.code,
            "label": _LABELS.get(rule.code, rule.telling.head),
            "event": rule.event,
            "category": rule.telling.kind.value,
            "recipients": list(_kinds(rule.telling)),
            "tell_actor": rule.telling.actor,
            "description": _DESCRIPTIONS.get(rule.code),
        }
        for rule in missing
    ]
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SHIPPED_LOCK})
        await connection.execute(_SHIP, {"rules": values, "by": SYSTEM_ID, "channels": list(DEFAULT_CHANNELS)})
