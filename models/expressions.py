"""Arithmetic for computed fields: parsed once, run in Python on Decimal and in SQL as a generated column.

The grammar is Python's expression syntax cut down to names, numbers, strings, `+ - * /`, comparisons, `and or not`,
`a if c else b`, and the functions in FUNCTIONS. Nothing is ever evaluated by the interpreter itself.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from typing import Any

EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)

# Division of exact amounts has to stop somewhere: both sides keep eighteen decimals, as the amount columns do.
QUOTIENT_SCALE = Decimal(1).scaleb(-18)


class ExpressionError(ValueError):
    """The expression is not in the grammar of computed fields."""


def _round(value: Decimal, digits: Decimal = Decimal(0)) -> Decimal:
    # PostgreSQL's round(numeric, n) rounds half away from zero.
    return value.quantize(Decimal(1).scaleb(-int(digits)), rounding=ROUND_HALF_UP, context=EXACT)


def _quotient(a: Decimal, b: Decimal) -> Decimal:
    return EXACT.divide(a, b).quantize(QUOTIENT_SCALE, rounding=ROUND_HALF_UP, context=EXACT)


@dataclass(frozen=True)
class Function:
    python: Callable[..., Any]
    sql: str
    arity: tuple[int, int]


FUNCTIONS: Mapping[str, Function] = {
    "abs": Function(abs, "abs({0})", (1, 1)),
    "round": Function(_round, "round({args})", (1, 2)),
    "coalesce": Function(lambda *a: next((x for x in a if x is not None), None), "coalesce({args})", (1, 9)),
    "concat": Function(lambda *a: "".join("" if x is None else str(x) for x in a), "concat_parts({args})", (1, 9)),
    "lower": Function(str.lower, "lower({0})", (1, 1)),
    "upper": Function(str.upper, "upper({0})", (1, 1)),
    "least": Function(min, "least({args})", (2, 9)),
    "greatest": Function(max, "greatest({args})", (2, 9)),
}
_BINARY: Mapping[type[ast.AST], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", lambda a, b: EXACT.add(a, b) if isinstance(a, Decimal) else a + b),
    ast.Sub: ("-", lambda a, b: EXACT.subtract(a, b) if isinstance(a, Decimal) else a - b),
    ast.Mult: ("*", EXACT.multiply),
    ast.Div: ("/", _quotient),
}
_COMPARE: Mapping[type[ast.AST], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Eq: ("=", lambda a, b: a == b),
    ast.NotEq: ("<>", lambda a, b: a != b),
    ast.Lt: ("<", lambda a, b: a < b),
    ast.LtE: ("<=", lambda a, b: a <= b),
    ast.Gt: (">", lambda a, b: a > b),
    ast.GtE: (">=", lambda a, b: a >= b),
}
_ALLOWED: tuple[type[ast.AST], ...] = (
    ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, ast.USub, ast.Not, ast.BoolOp, ast.And, ast.Or, ast.IfExp, ast.Compare,
    *_BINARY, *_COMPARE,
)  # fmt: skip


@lru_cache(maxsize=2048)
def parse(text: str) -> ast.expr:
    """Return the checked syntax tree. Raises ExpressionError naming what is not allowed."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ExpressionError(f"{text!r} is not an expression: {error.msg}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else "?"
            function = FUNCTIONS.get(name)
            if function is None or node.keywords:
                raise ExpressionError(f"{text!r}: unknown function {name!r}; there are {', '.join(FUNCTIONS)}")
            least, most = function.arity
            if not least <= len(node.args) <= most:
                raise ExpressionError(f"{text!r}: {name} takes {least} to {most} values")
        elif isinstance(node, ast.Constant):
            if not isinstance(node.value, int | float | str | bool | None):
                raise ExpressionError(f"{text!r}: {node.value!r} is not a number or a text")
        elif not isinstance(node, _ALLOWED):
            raise ExpressionError(f"{text!r}: {type(node).__name__} is not allowed in a computed field")
    return tree


def names(text: str) -> frozenset[str]:
    """The fields an expression reads."""
    return frozenset(n.id for n in ast.walk(parse(text)) if isinstance(n, ast.Name)) - FUNCTIONS.keys()


def evaluate(text: str, values: Mapping[str, Any]) -> Any:
    """Compute the expression over `values`; a null operand makes arithmetic and comparison null, as in SQL."""
    return _evaluate(parse(text), values)


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            exact = isinstance(value, int | float) and not isinstance(value, bool)
            return Decimal(str(value)) if exact else value
        case ast.Name(id=name):
            value = values.get(name)
            return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, values), _evaluate(right, values)
            if a is None or b is None or (isinstance(op, ast.Div) and not b):
                return None
            return _BINARY[type(op)][1](a, b)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _evaluate(operand, values)
            return None if value is None else -value
        case ast.UnaryOp(operand=operand):
            value = _evaluate(operand, values)
            return None if value is None else not value
        case ast.BoolOp(op=op, values=parts):
            results = [_evaluate(part, values) for part in parts]
            deciding = isinstance(op, ast.Or)
            if any(r is not None and bool(r) is deciding for r in results):
                return deciding
            return None if None in results else not deciding
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _evaluate(test, values) else orelse, values)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            a, b = _evaluate(left, values), _evaluate(right, values)
            return None if a is None or b is None else _COMPARE[type(op)][1](a, b)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            given = [_evaluate(argument, values) for argument in arguments]
            if None in given and name not in ("coalesce", "concat"):
                return None
            return FUNCTIONS[name].python(*given)
    raise ExpressionError(f"{ast.dump(node)} is not allowed in a computed field")


def to_sql(text: str, columns: Mapping[str, str]) -> str:
    """Render the expression as SQL over `columns` (field name -> column name), immutable, for a generated column."""
    return _sql(parse(text), columns)


def _sql(node: ast.expr, columns: Mapping[str, str]) -> str:
    match node:
        case ast.Constant(value=None):
            return "NULL"
        case ast.Constant(value=bool() as value):
            return "true" if value else "false"
        case ast.Constant(value=str() as value):
            return "'" + value.replace("'", "''") + "'"
        case ast.Constant(value=int() as value):
            return str(value)
        case ast.Constant(value=value):
            return f"{Decimal(str(value))}::numeric"
        case ast.Name(id=name):
            if name not in columns:
                raise ExpressionError(f"a computed field reads {name!r}, which is not a field of this entity")
            return f'"{columns[name]}"'
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _sql(left, columns), _sql(right, columns)
            if isinstance(op, ast.Div):
                # PostgreSQL keeps as many decimals in a quotient as its operands have, or about sixteen digits.
                return f"round({a}::numeric(200, 40) / nullif({b}, 0), 18)"
            if isinstance(op, ast.Add) and any(
                isinstance(p, ast.Constant) and isinstance(p.value, str) for p in (left, right)
            ):
                return f"({a} || {b})"
            return f"({a} {_BINARY[type(op)][0]} {b})"
        case ast.UnaryOp(op=op, operand=operand):
            return f"({'-' if isinstance(op, ast.USub) else 'NOT '}{_sql(operand, columns)})"
        case ast.BoolOp(op=op, values=parts):
            word = " OR " if isinstance(op, ast.Or) else " AND "
            return "(" + word.join(_sql(part, columns) for part in parts) + ")"
        case ast.IfExp(test=test, body=body, orelse=orelse):
            rendered = (_sql(test, columns), _sql(body, columns), _sql(orelse, columns))
            return "(CASE WHEN {} THEN {} ELSE {} END)".format(*rendered)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return f"({_sql(left, columns)} {_COMPARE[type(op)][0]} {_sql(right, columns)})"
        case ast.Call(func=ast.Name(id="concat"), args=arguments):
            # concat() is only STABLE in PostgreSQL, and a generated column must be immutable.
            return "(" + " || ".join(f"coalesce({_sql(a, columns)}, '')" for a in arguments) + ")"
        case ast.Call(func=ast.Name(id=name), args=arguments):
            rendered_args = [_sql(argument, columns) for argument in arguments]
            return FUNCTIONS[name].sql.format(*rendered_args, args=", ".join(rendered_args))
    raise ExpressionError(f"{ast.dump(node)} is not allowed in a computed field")
