"""Test PnL figures of a node against its limits.

A limit is tested on every level of a hierarchy that has one: netting inside a desk hides the breach of a book.
Decisions are cross-multiplied or taken on the stored figures, so they never hang on the rounding of a percentage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from app.domain.finance.arithmetic import EXACT, FinanceInputError, display_amount, percent_of, require_number, z_score
from app.domain.finance.pnl import Measure


class ThresholdKind(StrEnum):
    """How a figure is compared with its limit."""

    ABSOLUTE = "absolute"
    PERCENT = "percent"
    ZSCORE = "zscore"


@dataclass(frozen=True, slots=True)
class Threshold:
    """One limit on one measure of one node.

    absolute: ``abs(value) > limit`` EUR.
    percent: ``abs(value - reference) > limit % of max(abs(reference), floor)``; the floor, in EUR, keeps a reference
    near zero from turning every cent into a breach.
    zscore: ``abs(z) > limit`` of the value among the last ``window`` values before it, once there are ``min_values``.
    """

    code: str
    node: str
    measure: Measure
    kind: ThresholdKind
    limit: Decimal
    reference: Measure | None = None
    floor: Decimal = Decimal(0)
    window: int = 60
    min_values: int = 20

    def __post_init__(self) -> None:
        require_number(f"The limit of threshold {self.code}", self.limit)
        require_number(f"The floor of threshold {self.code}", self.floor)
        if self.limit <= 0:
            raise FinanceInputError(f"Threshold {self.code}: the limit must be above 0.")
        if self.kind is ThresholdKind.PERCENT and (self.reference is None or self.floor <= 0):
            raise FinanceInputError(
                f"Threshold {self.code}: a percentage needs a reference measure and a floor above 0."
            )
        if self.kind is not ThresholdKind.PERCENT and self.reference is not None:
            raise FinanceInputError(f"Threshold {self.code}: only a percentage has a reference measure.")
        if self.kind is ThresholdKind.ZSCORE and not 2 <= self.min_values <= self.window:
            raise FinanceInputError(f"Threshold {self.code}: a z-score needs 2 <= min_values <= window.")


@dataclass(frozen=True, slots=True)
class Breach:
    """A figure over its limit. ``observed`` is in the unit of the limit: EUR, percent or standard deviations."""

    threshold: str
    node: str
    measure: Measure
    kind: ThresholdKind
    value: Decimal
    observed: Decimal
    limit: Decimal
    text: str


def thresholds_of(
    node: str,
    measure: Measure,
    *,
    absolute_limit: Decimal | None = None,
    percent_limit: Decimal | None = None,
    percent_floor: Decimal | None = None,
    percent_reference: Measure = Measure.FLASH,
    zscore_limit: Decimal | None = None,
) -> tuple[Threshold, ...]:
    """Return the limits that a node has on one measure; a limit that is None is not tested.

    Raises: FinanceInputError when a limit is not above 0 or a percentage has no floor.
    """
    given: list[Threshold] = []
    if absolute_limit is not None:
        given.append(_threshold(node, measure, ThresholdKind.ABSOLUTE, absolute_limit))
    if percent_limit is not None:
        floor = Decimal(0) if percent_floor is None else percent_floor
        given.append(
            _threshold(node, measure, ThresholdKind.PERCENT, percent_limit, reference=percent_reference, floor=floor)
        )
    if zscore_limit is not None:
        given.append(_threshold(node, measure, ThresholdKind.ZSCORE, zscore_limit))
    return tuple(given)


def _threshold(
    node: str,
    measure: Measure,
    kind: ThresholdKind,
    limit: Decimal,
    *,
    reference: Measure | None = None,
    floor: Decimal = Decimal(0),
) -> Threshold:
    code = f"{node}:{measure.value}:{kind.value}"
    return Threshold(code, node, measure, kind, limit, reference=reference, floor=floor)


def find_breaches(
    thresholds: Sequence[Threshold],
    *,
    amounts: Mapping[str, Mapping[Measure, Decimal]],
    history: Mapping[tuple[str, Measure], Sequence[Decimal]],
) -> tuple[Breach, ...]:
    """Return the breaches of all thresholds, in their order.

    ``amounts`` is ``{node: {measure: EUR}}`` of the business date, ``history`` the values of the dates before it,
    oldest first; a node without amounts has nothing to test.
    """
    found = (
        breach_of(
            threshold,
            amounts=amounts[threshold.node],
            history=history.get((threshold.node, threshold.measure), ()),
        )
        for threshold in thresholds
        if threshold.node in amounts
    )
    return tuple(breach for breach in found if breach is not None)


def breach_of(
    threshold: Threshold, *, amounts: Mapping[Measure, Decimal], history: Sequence[Decimal] = ()
) -> Breach | None:
    """Return the breach of one threshold by one node's amounts, or None when it is within its limit.

    Raises: FinanceInputError when the measure or its reference is not among the amounts.
    """
    value = _amount(threshold, threshold.measure, amounts)
    if threshold.kind is ThresholdKind.ABSOLUTE:
        return _absolute(threshold, value)
    if threshold.kind is ThresholdKind.PERCENT:
        return _percent(threshold, value, amounts)
    return _z_score(threshold, value, history)


def _amount(threshold: Threshold, measure: Measure, amounts: Mapping[Measure, Decimal]) -> Decimal:
    if measure not in amounts:
        raise FinanceInputError(f"Threshold {threshold.code}: {threshold.node} has no {measure.value} to test.")
    return amounts[measure]


def _absolute(threshold: Threshold, value: Decimal) -> Breach | None:
    if value.copy_abs() <= threshold.limit:
        return None
    return _breach(
        threshold,
        value,
        observed=value.copy_abs(),
        text=f"{_name(threshold)} is {_eur(value)}, over the limit of {_eur(threshold.limit)}.",
    )


def _percent(threshold: Threshold, value: Decimal, amounts: Mapping[Measure, Decimal]) -> Breach | None:
    assert threshold.reference is not None  # checked when the threshold was made
    reference = _amount(threshold, threshold.reference, amounts)
    base = max(reference.copy_abs(), threshold.floor)
    change = EXACT.subtract(value, reference)
    if EXACT.multiply(change.copy_abs(), Decimal(100)) <= EXACT.multiply(threshold.limit, base):
        return None
    observed = percent_of(change, base)
    floored = f" (measured against the floor of {_eur(threshold.floor)})" if base != reference.copy_abs() else ""
    return _breach(
        threshold,
        value,
        observed=observed,
        text=f"{_name(threshold)} is {_eur(value)}, {observed:+.1f} % from {_label(threshold.reference)} of "
        f"{_eur(reference)}{floored}; the limit is {_plain(threshold.limit)} %.",
    )


def _z_score(threshold: Threshold, value: Decimal, history: Sequence[Decimal]) -> Breach | None:
    recent = history[-threshold.window :]
    if len(recent) < threshold.min_values:
        return None
    score = z_score(value, recent)
    if score is None or score.copy_abs() <= threshold.limit:
        return None
    return _breach(
        threshold,
        value,
        observed=score,
        text=f"{_name(threshold)} is {_eur(value)}, {score:+.1f} standard deviations from the mean of the last "
        f"{len(recent)} business dates; the limit is {_plain(threshold.limit)}.",
    )


def _breach(threshold: Threshold, value: Decimal, *, observed: Decimal, text: str) -> Breach:
    return Breach(
        threshold=threshold.code,
        node=threshold.node,
        measure=threshold.measure,
        kind=threshold.kind,
        value=value,
        observed=observed,
        limit=threshold.limit,
        text=text,
    )


def _name(threshold: Threshold) -> str:
    return f"{threshold.node}: {_label(threshold.measure)}"


def _label(measure: Measure) -> str:
    return f"{measure.value.replace('_', ' ')} PnL" if measure in _PNL else measure.value.replace("_", " ")


_PNL = frozenset({Measure.FLASH, Measure.ACTUAL, Measure.UNEXPLAINED})


def _eur(amount: Decimal) -> str:
    return f"{display_amount(amount):,f} EUR"


def _plain(limit: Decimal) -> str:
    return f"{limit.normalize():f}"
