"""Business rules that steps name: read before the decisions, asked in memory about each record, kept with the steps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from app.core.errors import StepsError
from app.core.uow import UnitOfWork
from app.domain.lifecycles.decisions import Guard, Refusal, Subject
from app.domain.rules.evaluation import Decision, KeepFor, PublishedRule, VersionInForce, book_of, keep
from app.domain.rules.record_rules import as_fact
from models.lifecycle import TransitionDef


@dataclass
class Rulings:
    """The rules of some steps, in the version in force. `decisions`: what they were asked, for `kept`."""

    rules: Mapping[str, tuple[PublishedRule, VersionInForce]] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)  # code -> why it cannot be asked
    decisions: list[tuple[Decision, KeepFor]] = field(default_factory=list)

    def ask(self, step: TransitionDef, subject: Subject) -> Refusal | None:
        """None where the rule answers that the step is allowed; else its message."""
        code = step.rule or ""
        if code not in self.rules:
            why = self.unknown.get(code, f"There is no rule {code}.")
            return Refusal(Guard.RULE, f"{step.label} is decided by the rule {code}. {why}", "Publish the rule.")
        rule, version = self.rules[code]
        given = {name: as_fact(subject.record.get(name)) for name in version.compiled.fields}
        try:
            outcome = version.compiled.evaluate(given)
        except StepsError as error:
            detail = f"{step.label} is decided by the rule {code}, which gives no answer: {error.detail}"
            return Refusal(Guard.RULE, detail, "Correct the record, or the rule.")
        names = tuple(output.name for output in version.compiled.content.outputs)
        decision = Decision(rule.id, code, version.version_id, version.number, given, outcome, names)
        record_id: UUID = subject.record["id"]
        self.decisions.append((decision, KeepFor(subject.entity.name, record_id, f"transition:{step.name}")))
        if decision.output.get("allowed") is True:
            return None
        said = decision.output.get("message") or f"The rule {code} does not allow {step.label.lower()}."
        return Refusal(Guard.RULE, str(said), f"See the rule {code}, version {version.number}.")


async def rulings_for(uow: UnitOfWork, steps: Iterable[TransitionDef]) -> Rulings:
    """Read the rules that the steps name; from memory where the process knows them."""
    rules: dict[str, tuple[PublishedRule, VersionInForce]] = {}
    unknown: dict[str, str] = {}
    for code in sorted({step.rule for step in steps if step.rule}):
        try:
            rule = await book_of(uow).read(uow, code)
            rules[code] = (rule, rule.on(uow.business_date))
        except StepsError as error:
            unknown[code] = error.detail
    return Rulings(rules, unknown)


async def keep_rulings(uow: UnitOfWork, rulings: Rulings) -> None:
    """Keep what was asked, with the trace; one statement, and none where no rule was asked."""
    if rulings.decisions:
        await keep(uow, rulings.decisions)
