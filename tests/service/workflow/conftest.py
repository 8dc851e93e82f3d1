import pytest

from app.bootstrap import Runtime
from app.domain.workflow.definition_store import new_draft_from
from tests.service.workflow.bank import Bank, manual, reviewed
from tests.service.workflow.designer import Designer


@pytest.fixture
async def bank(runtime: Runtime) -> Bank:
    return await Bank(runtime).build()


@pytest.fixture
async def designer(bank: Bank) -> Designer:
    """A draft of a published workflow: stage s1 with the processes a, b and c, where b waits for a."""
    published = await bank.publish([manual("a"), reviewed("b"), manual("c")], [("a", "b")])
    async with bank.runtime.uow(bank.people["admin"]) as uow:
        return Designer(bank, await new_draft_from(uow, version_id=published))
