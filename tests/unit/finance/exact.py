"""The storage rule, written a second time with fractions and shared by the tests."""

from decimal import Context, Decimal
from fractions import Fraction

WIDE = Context(prec=200)


def eighteen_places(exact: Fraction) -> Decimal:
    """Round a fraction half to even to 18 decimals (``round`` of a Fraction is half to even)."""
    return WIDE.scaleb(Decimal(round(exact * 10**18)), -18)
