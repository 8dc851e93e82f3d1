"""Notices: asked for by handlers, given together at the end of the transaction, to whom the rule names at that moment.

They cost one statement however many there are, because transitions have few to spend: it finds the recipients, words
the notices (see `notices_sql`) and writes notifications and mails.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from app.core.uow import UnitOfWork
from app.domain.access.policy import AccessPolicy
from app.domain.access.policy_files import PLATFORM
from app.domain.notify.events import NoticesWanted
from app.domain.notify.mail import MailState, mail_transport
from app.domain.notify.notices_sql import GIVE
from app.domain.notify.rules import LEAD_ROLE, REVIEW_HEAD, REVIEW_MANY, TELLINGS, Rule

STORM = 10  # more than this of one rule, for one person, in one run, at once: one summary instead
MOST_LISTED = 40
SEND_MAIL = "send_mail"
MAIL_ATTEMPTS = 20  # with doubling pauses of at most an hour: a mail server may be down for half a day


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell about a process. `occurrence` tells it from the same at another time; None = this version.

    `said` is a sentence of its own, without its full stop, in place of the rule's. `roles` are told beside those whom
    the rule names.
    """

    rule: Rule
    process_run_id: UUID
    occurrence: str | None = None
    said: str | None = None
    roles: tuple[str, ...] = ()


_waiting: WeakKeyDictionary[UnitOfWork, list[Notice]] = WeakKeyDictionary()


def want(uow: UnitOfWork, notices: Iterable[Notice]) -> None:
    """Ask for notices; they are given together when the transaction's other handlers have run."""
    waiting = _waiting.setdefault(uow, [])
    if not waiting:
        uow.emit(NoticesWanted(at=uow.now))
    waiting.extend(notices)


async def on_notices_wanted(uow: UnitOfWork, _event: NoticesWanted) -> None:
    """Give every notice that was asked for in this transaction."""
    policy: AccessPolicy = uow.resources.policy
    transport = mail_transport(uow)
    sends = transport.sends and not uow.simulated  # nobody is mailed about a time that a simulation made up
    values = {
        "notices": [_asked(uow, number, notice) for number, notice in enumerate(_waiting.pop(uow, []))],
        "now": uow.now,
        "lead": LEAD_ROLE,
        "review_head": REVIEW_HEAD,
        "review_many": REVIEW_MANY,
        "platform": PLATFORM,
        "wide": [role.code for role in policy.roles if policy.reaches(role.code)],
        "storm": STORM,
        "listed": MOST_LISTED,
        "by": uow.actor.id,
        "actor": uow.actor.id,
        "address": transport.address,
        "mail_state": (MailState.QUEUED if sends else MailState.KEPT).value,
    }
    given = (await uow.execute(GIVE, values)).one()
    uow.touch(*(f"user:{user_id}" for user_id in given.users))
    if sends:
        for mail_id in given.mails:
            uow.enqueue(SEND_MAIL, {"mail_id": mail_id}, max_attempts=MAIL_ATTEMPTS)


def _asked(uow: UnitOfWork, number: int, notice: Notice) -> Mapping[str, Any]:
    telling = TELLINGS[notice.rule]
    return {
        "n": number,
        "id": str(notice.process_run_id),
        "rule": notice.rule.value,
        "occurrence": notice.occurrence,
        "filed": telling.kind.value,
        "head": telling.head,
        "many": telling.many,
        "said": notice.said or (telling.sentence.format(actor=uow.actor.name) if telling.sentence else None),
        "with_reason": telling.reason,
        "due": telling.due,
        "waiting": telling.waiting,
        "makers": telling.makers,
        "lead": telling.lead,
        "roles": list(notice.roles),
        "human": telling.human,
        "actor": telling.actor,
    }
