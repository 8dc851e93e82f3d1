"""What else may be wrong with a record than its definition knows, as a port: business rules lie above this feature."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from app.core.errors import FieldProblem
from app.core.uow import UnitOfWork
from models.schema import EntityDef

SERVICE = "record_checks"


class RecordChecks(Protocol):
    async def __call__(
        self, uow: UnitOfWork, entity: EntityDef, records: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> list[FieldProblem]:
        """What is wrong with records as they would be written, each given with the prefix of its paths."""


async def further_problems(
    uow: UnitOfWork, entity: EntityDef, records: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[FieldProblem]:
    """What the features above find wrong; nothing where there are none."""
    port: RecordChecks | None = uow.resources.services.get(SERVICE)
    return await port(uow, entity, records) if port is not None else []
