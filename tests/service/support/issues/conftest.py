import pytest

from app.bootstrap import Runtime
from tests.service.support.issues.desk import Desk


@pytest.fixture
async def desk(runtime: Runtime) -> Desk:
    return await Desk(runtime).build()
