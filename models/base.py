"""The declarative base: naming convention and the columns every entity has."""

from typing import Any
from uuid import UUID

import uuid_utils
from sqlalchemy import Column, Integer, MetaData, Uuid
from sqlalchemy.orm import DeclarativeBase

from models.types import UtcDateTime

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def uuid7() -> UUID:
    """A time-ordered id: rows written together stand together in the index."""
    return UUID(bytes=uuid_utils.uuid7().bytes)


def new_base() -> type[DeclarativeBase]:
    """A declarative base of its own: each metadata revision maps its classes in a registry of its own."""

    class Base(DeclarativeBase):
        metadata = MetaData(naming_convention=NAMING_CONVENTION)

    return Base


def standard_columns(*, soft_delete: bool) -> list[Column[Any]]:
    columns: list[Column[Any]] = [
        Column("id", Uuid, primary_key=True, default=uuid7),
        Column("row_version", Integer, nullable=False, default=1, server_default="1"),
        Column("created_at", UtcDateTime, nullable=False),
        Column("created_by", Uuid),
        Column("updated_at", UtcDateTime, nullable=False),
        Column("updated_by", Uuid),
    ]
    if soft_delete:
        columns.append(Column("deleted_at", UtcDateTime))
    return columns
