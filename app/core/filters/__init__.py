"""The one filter grammar: lists, saved views, row scopes, form conditions, guards, triggers and SLA conditions use it.

`parse` checks a filter against an entity; `to_sql`, `matches` and `admin_views/static/js/filters.js` evaluate it, all
three by the rules in `nodes`; `describe` says it in words.
"""

from app.core.filters.canonical import entities_read, fields_read, needs_node_paths, to_json, value_types
from app.core.filters.grammar import parse
from app.core.filters.nodes import (
    EVERYTHING,
    NOTHING,
    And,
    FilterError,
    FilterNode,
    Not,
    Operator,
    Or,
    Term,
    Test,
    ValueType,
    Variable,
    Variables,
)
from app.core.filters.python import UnresolvedReferenceError, matches
from app.core.filters.sql import to_sql
from app.core.filters.words import describe

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "And",
    "FilterError",
    "FilterNode",
    "Not",
    "Operator",
    "Or",
    "Term",
    "Test",
    "UnresolvedReferenceError",
    "ValueType",
    "Variable",
    "Variables",
    "describe",
    "entities_read",
    "fields_read",
    "matches",
    "needs_node_paths",
    "parse",
    "to_json",
    "to_sql",
    "value_types",
]
