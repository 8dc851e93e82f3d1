"""Which trades count: all but those that their lifecycle has called off."""

from sqlalchemy import ColumnElement, Table, exists

# As a condition on a trade in SQL that names the table `trade`.
COUNTED = """
NOT EXISTS (SELECT FROM lifecycle_state called_off WHERE called_off.parent_id = trade.lifecycle_version_id
            AND called_off.name = trade.lifecycle_state AND called_off.category = 'void')
"""


def is_counted(trade: Table, state: Table) -> ColumnElement[bool]:
    """The same as an expression; `state` is the table of lifecycle states."""
    called_off = state.alias()
    return ~exists().where(
        called_off.c.parent_id == trade.c.lifecycle_version_id,
        called_off.c.name == trade.c.lifecycle_state,
        called_off.c.category == "void",
    )
