import pytest

from app.bootstrap import Runtime
from tests.service.workflow.bank import Bank


@pytest.fixture
async def bank(runtime: Runtime) -> Bank:
    return await Bank(runtime).build()
