"""Exact decimal arithmetic and the one rounding rule of stored figures.

**Storage rule.** A stored figure (``numeric(38, 18)``) is the exact rational number, rounded once, half to even, to
18 decimal places. Totals are exact sums of stored figures and are never rounded again. Any independent computation that
is exact until its last step (fractions, long division) therefore gives the same 18 places.

How the rule is kept: products and sums run in a context that traps ``Inexact``, so they are exact or they fail. The
only division of a figure is its last step, rounded with ``ROUND_05UP``, which keeps the information that a later
half-to-even rounding needs; without it a figure could be rounded twice in the same direction.

**Display rule.** ``display_amount`` rounds half to even to cents. Nothing that was rounded for display is stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import (
    ROUND_05UP,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)

from app.core.errors import StepsError

STORAGE_PRECISION = 38
STORAGE_SCALE = 18
STORAGE_UNIT = Decimal(1).scaleb(-STORAGE_SCALE)
CENT = Decimal("0.01")
Z_SCORE_UNIT = Decimal("0.000001")
PERCENT_UNIT = Decimal("0.0001")

_FAIL_ON = [InvalidOperation, DivisionByZero, Overflow]
# 1,000,000 digits is a ceiling, not a cost: digits are only used when an operand has them.
EXACT = Context(prec=1_000_000, rounding=ROUND_HALF_EVEN, traps=[*_FAIL_ON, Inexact])
# 38 stored digits and the same again as guard digits.
_LAST_DIVISION = Context(prec=2 * STORAGE_PRECISION, rounding=ROUND_05UP, traps=_FAIL_ON)
_STORAGE = Context(prec=STORAGE_PRECISION, rounding=ROUND_HALF_EVEN, traps=_FAIL_ON)
_ROUNDING = Context(prec=1_000, rounding=ROUND_HALF_EVEN, traps=_FAIL_ON)
_STATISTIC = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=_FAIL_ON)


class FinanceInputError(StepsError):
    """The figures given cannot be computed with; the detail says what to correct."""

    code = "finance_input_invalid"
    status = 422
    title = "These figures cannot be computed with"


def require_number(name: str, value: Decimal) -> Decimal:
    """Return ``value`` if it is a finite decimal that storage can hold.

    Raises: FinanceInputError when it is not a Decimal, not finite, or does not fit ``numeric(38, 18)``.
    """
    if not isinstance(value, Decimal):
        raise FinanceInputError(f"{name} must be a Decimal, not {type(value).__name__}.")
    if not value.is_finite():
        raise FinanceInputError(f"{name} must be a finite number, not {value}.")
    _, digits, exponent = EXACT.normalize(value).as_tuple()
    if isinstance(exponent, int) and (
        exponent < -STORAGE_SCALE or len(digits) + exponent > STORAGE_PRECISION - STORAGE_SCALE
    ):
        raise FinanceInputError(
            f"{name} {value} does not fit: at most {STORAGE_PRECISION - STORAGE_SCALE} digits before the point "
            f"and {STORAGE_SCALE} after it."
        )
    return value


def require_rate(name: str, value: Decimal) -> Decimal:
    """Return ``value`` if it is a positive number of currency units per EUR."""
    if require_number(name, value) <= 0:
        raise FinanceInputError(f"{name} must be positive (units of currency per 1 EUR), not {value}.")
    return value


@dataclass(frozen=True, slots=True)
class Ratio:
    """An exact quotient of two decimals; it is divided once, by ``stored``."""

    numerator: Decimal = Decimal(0)
    denominator: Decimal = Decimal(1)

    def plus(self, numerator: Decimal, denominator: Decimal) -> "Ratio":
        """Add ``numerator / denominator`` exactly."""
        if denominator == self.denominator:
            return Ratio(EXACT.add(self.numerator, numerator), self.denominator)
        return Ratio(
            EXACT.add(
                EXACT.multiply(self.numerator, denominator),
                EXACT.multiply(numerator, self.denominator),
            ),
            EXACT.multiply(self.denominator, denominator),
        )

    def stored(self) -> Decimal:
        """Return the quotient under the storage rule."""
        quotient = _LAST_DIVISION.divide(self.numerator, self.denominator)
        try:
            figure = _STORAGE.quantize(quotient, STORAGE_UNIT)
        except InvalidOperation:
            raise FinanceInputError(
                f"A figure of about {quotient:.3E} does not fit numeric({STORAGE_PRECISION}, {STORAGE_SCALE})."
            ) from None
        return figure or figure.copy_abs()  # PostgreSQL has no negative zero


def ratio_of(terms: Mapping[Decimal, Decimal]) -> Ratio:
    """Return the exact sum of ``amount / rate`` over ``{rate: amount}``."""
    total = Ratio()
    for rate, amount in terms.items():
        total = total.plus(amount, rate)
    return total


def exact_sum(figures: Iterable[Decimal]) -> Decimal:
    """Add stored figures without rounding."""
    total = Decimal(0)
    for figure in figures:
        total = EXACT.add(total, figure)
    return total


def display_amount(amount: Decimal) -> Decimal:
    """Round an amount half to even to cents, for showing only; never returns a negative zero."""
    shown = round_to(amount, CENT)
    return shown or shown.copy_abs()


def round_to(value: Decimal, unit: Decimal) -> Decimal:
    """Round half to even to the decimals of ``unit``, whatever the number of digits before the point."""
    return _ROUNDING.quantize(value, unit)


def percent_of(change: Decimal, base: Decimal) -> Decimal:
    """Return ``change / base`` in percent, half to even to 4 places (a statistic for people, not a stored figure)."""
    return _STATISTIC.quantize(_STATISTIC.divide(EXACT.multiply(change, Decimal(100)), base), PERCENT_UNIT)


def z_score(value: Decimal, sample: Iterable[Decimal]) -> Decimal | None:
    """Return how many sample standard deviations ``value`` lies from the mean of ``sample``, to 6 places.

    Sums are exact and the square root runs at 60 digits, so the result does not depend on the order of the sample.
    Returns None when the sample has fewer than two values or does not vary: the score is then undefined.
    """
    values = list(sample)
    n = Decimal(len(values))
    if n < 2:
        return None
    total = exact_sum(values)
    squares = exact_sum(EXACT.multiply(v, v) for v in values)
    # n * sum(x^2) - sum(x)^2 = n * (n - 1) * variance, exact
    spread = EXACT.subtract(EXACT.multiply(n, squares), EXACT.multiply(total, total))
    if spread <= 0:
        return None
    distance = EXACT.subtract(EXACT.multiply(n, value), total)  # n * (value - mean)
    deviation = _STATISTIC.sqrt(_STATISTIC.divide(EXACT.multiply(n, spread), n - 1))  # n * standard deviation
    return _STATISTIC.quantize(_STATISTIC.divide(distance, deviation), Z_SCORE_UNIT)
