"""What PostgreSQL refuses, said in words: a named constraint becomes its message, never a statement or a stack."""

import re

from sqlalchemy.exc import DBAPIError

from app.core.errors import Conflict, InvalidRequest, StaleVersion, StepsError, Unavailable
from models.registry import Registry

_LAST_TABLE = re.compile(r'table "(?P<table>\w+)"\.?$')


def translate(error: DBAPIError, registry: Registry) -> StepsError | None:
    """The product's error for a database error; None where it is a fault of ours that must be logged as one."""
    cause = getattr(error.orig, "__cause__", None) or error.orig
    state = getattr(cause, "sqlstate", None) or getattr(error.orig, "sqlstate", None)
    constraint = getattr(cause, "constraint_name", None)
    match state:
        case "23505":
            return Conflict(registry.constraint_messages.get(constraint or "", "There is such a record already."))
        case "23514":
            message = registry.constraint_messages.get(constraint or "")
            return Conflict(message) if message else None
        case "23503" | "23001":
            return _foreign_key(cause, registry, in_use=state == "23001")
        case "SPV01":  # raised by our own triggers, in words
            return Conflict(str(getattr(cause, "message", "") or cause))
        case "22P05" | "22021":
            return InvalidRequest("The text contains a character that cannot be stored; remove it.")
        case "22003" | "22008":
            return InvalidRequest("A number or date is out of range.")
        case "40001" | "40P01":
            return StaleVersion("Somebody else was changing the same records; try again.")
        case "55P03" | "57014":
            return Unavailable("The record is busy; try again in a moment.")
        case "57P01" | "57P02" | "57P03" | "08006" | "08003" | "08001" | "53300":
            return Unavailable("The database is not reachable; try again in a moment.")
    if error.connection_invalidated:
        return Unavailable("The database is not reachable; try again in a moment.")
    return None


def _foreign_key(cause: object, registry: Registry, *, in_use: bool) -> StepsError:
    detail = str(getattr(cause, "detail", "") or "")
    match = _LAST_TABLE.search(detail)
    entity = registry.by_table.get(match["table"]) if match else None
    if in_use or "referenced from" in detail:
        label = entity.label_plural.lower() if entity else "other records"
        return Conflict(f"It is still used by {label}; change or delete those first.")
    label = entity.label.lower() if entity else "record"
    return Conflict(f"The {label} it refers to does not exist any more; choose another.")
