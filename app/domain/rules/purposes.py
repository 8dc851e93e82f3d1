"""What the platform asks rules for: the facts it gives them, and the answers it understands.

A rule of a purpose can be linted before anything asks it: a fact that nobody gives, or an answer that nobody reads, is
found while it is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.domain.rules.definitions import HitPolicy, RuleField
from app.domain.rules.values import ValueType


class Purpose(StrEnum):
    GENERAL = "general"
    GUARD = "guard"
    PROCESS_ROUTING = "process_routing"
    PNL_THRESHOLD = "pnl_threshold"
    FIELD_VALIDATION = "field_validation"


@dataclass(frozen=True, slots=True)
class Contract:
    """`facts` None: whoever asks decides what it gives. `needed`: answers of which at least one must be there."""

    facts: tuple[RuleField, ...] | None = None
    answers: tuple[RuleField, ...] | None = None
    needed: tuple[str, ...] = ()
    hit_policies: tuple[HitPolicy, ...] = (HitPolicy.FIRST, HitPolicy.COLLECT)
    said: str = ""


def fact(name: str, type_: ValueType, *, label: str = "", required: bool = True) -> RuleField:
    return RuleField(name=name, label=label, type=type_, required=required)


def answer(name: str, type_: ValueType, *options: str, label: str = "") -> RuleField:
    return RuleField(name=name, label=label, type=type_, options=options, required=False)


_T = ValueType
CONTRACTS: Mapping[Purpose, Contract] = {
    Purpose.GENERAL: Contract(said="Whoever asks it names the facts."),
    Purpose.GUARD: Contract(
        answers=(answer("allowed", _T.BOOLEAN), answer("message", _T.TEXT)),
        needed=("allowed",),
        hit_policies=(HitPolicy.FIRST,),
        said="The record's fields are its facts. The step is possible where `allowed` is yes; `message` says why not.",
    ),
    Purpose.FIELD_VALIDATION: Contract(
        answers=(answer("message", _T.TEXT), answer("field", _T.TEXT)),
        needed=("message",),
        said="The record's fields are its facts. Each `message` refuses the record, at `field` where that is given. "
        "With “Records” filled in it is asked about each record of that entity before it is written.",
    ),
    Purpose.PROCESS_ROUTING: Contract(
        facts=(
            fact("workflow", _T.TEXT), fact("process", _T.TEXT), fact("kind", _T.TEXT), fact("moment", _T.TEXT),
            fact("business_date", _T.DATE), fact("critical", _T.BOOLEAN), fact("round", _T.INTEGER),
            fact("owner_role", _T.TEXT, required=False), fact("node", _T.TEXT, required=False),
            fact("node_path", _T.TEXTS, required=False), fact("node_kind", _T.TEXT, required=False),
            fact("open_breaches", _T.INTEGER, required=False), fact("largest_breach", _T.DECIMAL, required=False),
        ),
        answers=(
            answer("owner_role", _T.TEXT), answer("approval_levels", _T.INTEGER), answer("skip", _T.BOOLEAN),
            answer("reason", _T.TEXT),
        ),
        needed=("owner_role", "approval_levels", "skip"),
        hit_policies=(HitPolicy.FIRST,),
        said="Asked when a process becomes ready (`moment` is ready) and when it is submitted (`moment` is submit).",
    ),
    Purpose.PNL_THRESHOLD: Contract(
        facts=(
            fact("node", _T.TEXT), fact("node_kind", _T.TEXT, required=False), fact("level", _T.INTEGER),
            fact("path", _T.TEXTS, label="Nodes from the top"), fact("measure", _T.TEXT),
            fact("currency", _T.TEXT, required=False), fact("business_date", _T.DATE),
            fact("value", _T.DECIMAL, label="Value in EUR"), fact("flash", _T.DECIMAL, required=False),
        ),
        answers=(
            answer("absolute_limit", _T.DECIMAL), answer("percent_limit", _T.DECIMAL),
            answer("percent_floor", _T.DECIMAL), answer("zscore_limit", _T.DECIMAL),
            answer("severity", _T.CHOICE, "low", "medium", "high", "critical"),
        ),
        needed=("absolute_limit", "percent_limit", "zscore_limit", "severity"),
        hit_policies=(HitPolicy.FIRST,),
        said="Asked for each threshold that names it. A limit that it answers replaces that of the threshold.",
    ),
}  # fmt: skip
