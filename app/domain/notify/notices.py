"""Notices: asked for by handlers, given together at the end of the transaction, to whom the rules name at that moment.

They cost one statement however many there are, because transitions have few to spend: it finds the recipients, words
the notices (see `notices_sql`) and writes notifications and deliveries. Rules with a condition of their own, templates
and people who have quiet hours cost one more each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from app.core.uow import UnitOfWork
from app.domain.notify.conditions import matching
from app.domain.notify.events import NoticesWanted
from app.domain.notify.giving import after_given, common_values, rule_values
from app.domain.notify.notices_sql import GIVE
from app.domain.notify.rule_book import NotificationRule, rules_in_force
from app.domain.notify.rules import LEAD_ROLE, REVIEW_HEAD, REVIEW_MANY, Rule
from app.domain.notify.wording import word_by_templates

STORM = 10  # more than this of one rule, for one person, in one run, at once: one summary instead
MOST_LISTED = 40


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell about a process. `occurrence` tells it from the same at another time; None = this version.

    `said` is a sentence of its own, without its full stop, in place of the rule's. `roles` are told beside those whom
    the rule names. Notices of one `cause`, the process that holds all of theirs up, are one message that grows.
    """

    rule: Rule
    process_run_id: UUID
    occurrence: str | None = None
    said: str | None = None
    roles: tuple[str, ...] = ()
    cause: UUID | None = None


_waiting: WeakKeyDictionary[UnitOfWork, list[Notice]] = WeakKeyDictionary()


def want(uow: UnitOfWork, notices: Iterable[Notice]) -> None:
    """Ask for notices; they are given together when the transaction's other handlers have run."""
    waiting = _waiting.setdefault(uow, [])
    if not waiting:
        uow.emit(NoticesWanted(at=uow.now))
    waiting.extend(notices)


async def on_notices_wanted(uow: UnitOfWork, _event: NoticesWanted) -> None:
    """Give every notice that was asked for in this transaction, by every rule that is about it."""
    notices = _waiting.pop(uow, [])
    rules = rules_in_force(uow)
    pairs = [(notice, rule) for notice in notices for rule in rules.of(notice.rule.value)]
    pairs = await _applicable(uow, pairs)
    if not pairs:
        return
    values = {
        **common_values(uow),
        "notices": [_asked(uow, number, notice, rule) for number, (notice, rule) in enumerate(pairs)],
        "lead": LEAD_ROLE,
        "review_head": REVIEW_HEAD,
        "review_many": REVIEW_MANY,
        "storm": STORM,
        "listed": MOST_LISTED,
        "actor": uow.actor.id,
    }
    given = (await uow.execute(GIVE, values)).one()
    templates = {rule.code: rule.template_id for _, rule in pairs if rule.template_id is not None}
    await word_by_templates(uow, given, templates, default_entity="process_run")
    await after_given(uow, given)


async def _applicable(
    uow: UnitOfWork, pairs: list[tuple[Notice, NotificationRule]]
) -> list[tuple[Notice, NotificationRule]]:
    """Without those whose condition does not hold for their process; most rules have none."""
    for rule in {rule.code: rule for _, rule in pairs if rule.condition}.values():
        ids = [notice.process_run_id for notice, of in pairs if of.code == rule.code]
        fit = await matching(uow, rule, "process_run", ids)
        pairs = [(notice, of) for notice, of in pairs if of.code != rule.code or notice.process_run_id in fit]
    return pairs


def _asked(uow: UnitOfWork, number: int, notice: Notice, rule: NotificationRule) -> Mapping[str, Any]:
    telling = rule.telling
    return {
        **rule_values(rule),
        "n": number,
        "id": str(notice.process_run_id),
        "occurrence": notice.occurrence,
        "head": telling.head,
        "many": telling.many,
        "said": notice.said or (telling.sentence.format(actor=uow.actor.name) if telling.sentence else None),
        "with_reason": telling.reason,
        "due": telling.due,
        "waiting": telling.waiting,
        "makers": telling.makers,
        "lead": telling.lead,
        "owner": "owner" in rule.to,
        "roles": [*rule.roles, *(notice.roles if telling.named else ())],
        "human": telling.human,
        "actor": telling.actor,
        "cause": str(notice.cause) if notice.cause else None,
    }
