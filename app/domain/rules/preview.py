"""A content looked at while it is written: tidied, linted, its cases run, one input tried. Nothing is kept."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.core.errors import NotFound, StepsError
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.rules.cases import Case, CaseResult, read_cases, run_cases
from app.domain.rules.compiled import Outcome, compile_rule
from app.domain.rules.definitions import RuleContent, RuleKind, read_content
from app.domain.rules.findings import Finding, errors_of
from app.domain.rules.linter import lint, tidied
from app.domain.rules.purposes import Purpose

BROKEN = "Correct the errors of the rule first."


@dataclass(frozen=True, slots=True)
class Trial:
    """One input tried: what the rule answers, or why it gives no answer."""

    outcome: Outcome | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    content: RuleContent
    findings: tuple[Finding, ...]
    results: tuple[CaseResult, ...]
    trial: Trial | None


def preview(
    kind: RuleKind,
    purpose: Purpose,
    content: RuleContent,
    cases: Sequence[Case],
    tried: Mapping[str, Any] | None = None,
) -> Preview:
    """Look at a content; pure. A rule with errors is not run: its cases all fail and say so."""
    content = tidied(kind, content)
    findings = lint(kind, content, purpose)
    if errors_of(findings):
        results = tuple(CaseResult(case.label, passed=False, problem=BROKEN) for case in cases)
        return Preview(content, tuple(findings), results, Trial(None, BROKEN) if tried is not None else None)
    rule = compile_rule(kind, content)
    trial = None
    if tried is not None:
        try:
            trial = Trial(rule.evaluate(tried, all_rows=True))
        except StepsError as error:
            trial = Trial(None, error.detail)
    return Preview(content, tuple(findings), tuple(run_cases(rule, cases)), trial)


async def preview_draft(
    uow: UnitOfWork, *, rule_id: UUID, content: Any, tests: Any = (), tried: Mapping[str, Any] | None = None
) -> Preview:
    """`preview` of what somebody is writing for a rule that they may read. Raises ValidationFailed, NotFound."""
    await require_in_scope(uow, "read", "rule", rule_id)
    rules = uow.table("rule")
    row = (await uow.execute(select(rules.c.kind, rules.c.purpose).where(rules.c.id == rule_id))).one_or_none()
    if row is None:
        raise NotFound("There is no such rule.")
    read, cases = read_content(content), read_cases(tests)
    # A large table takes a moment to look through: meanwhile others are answered.
    return await asyncio.to_thread(preview, RuleKind(row.kind), Purpose(row.purpose), read, cases, tried)
