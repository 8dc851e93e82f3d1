"""Files follow a lifecycle like any record: it is defined for them, and their steps are taken and logged."""

from typing import Any

import pytest
from sqlalchemy import text

from app.core.errors import StepsError, TransitionRefused
from app.domain.documents.files import delete_file
from app.domain.lifecycles.queries import steps_of
from app.domain.lifecycles.transitions import transition_record
from tests.factories import SYSTEM
from tests.service.documents.conftest import PDF, Papers
from tests.service.lifecycles.conftest import publish_lifecycle

REVIEW: dict[str, Any] = {
    "code": "file_review",
    "label": "Review",
    "states": [
        {"name": "uploaded", "category": "draft"},
        {"name": "released", "category": "final", "editable_by": []},
    ],
    "transitions": [
        {"name": "release", "from": "uploaded", "to": "released", "roles": ["controller"],
         "guard": {"purpose": "statement"}},
    ],
}  # fmt: skip


ROLE = text(
    """
INSERT INTO role (id, code, label, created_at, updated_at) VALUES (uuidv7(), 'controller', 'Controller', :now, :now)
ON CONFLICT DO NOTHING
"""
)


@pytest.fixture
async def reviewed(papers: Papers) -> Papers:
    """The lifecycle of files is in force, after one file was attached that therefore follows none."""
    await papers.attach("FX", "before.pdf", purpose="statement")
    async with papers.runtime.uow(SYSTEM) as uow:
        await uow.execute(ROLE, {"now": uow.now})
    await publish_lifecycle(papers, REVIEW, entity="file")
    return papers


async def test_a_released_file_is_neither_replaced_nor_removed(reviewed: Papers) -> None:
    file = await reviewed.attach("FX", "after.pdf", purpose="statement")
    async with reviewed.runtime.uow(reviewed.actor("preparer")) as uow:
        with pytest.raises(StepsError):
            await transition_record(uow, entity="file", record_id=file.id, name="release", expected_version=1)
    async with reviewed.runtime.uow(await reviewed.stored_actor("controller")) as uow:
        offered = await steps_of(uow, entity="file", record_id=file.id)
        assert [(offer.step.name, offer.refusal) for offer in offered.offers] == [("release", None)]
        done = await transition_record(uow, entity="file", record_id=file.id, name="release", expected_version=1)
    assert (done.from_state, done.to_state) == ("uploaded", "released")
    preparer = reviewed.actor("preparer")
    with pytest.raises(TransitionRefused, match="nobody changes it"):
        await reviewed.attach("FX", "after.pdf", PDF + b"more", purpose="statement", actor=preparer)
    with pytest.raises(TransitionRefused, match="nobody changes it"):
        async with reviewed.runtime.uow(preparer) as uow:
            await delete_file(uow, file_id=file.id, expected_version=2, reason="Wrong")
    async with reviewed.runtime.uow(SYSTEM) as uow:
        versions = await uow.scalar(text("SELECT version_number FROM file WHERE id = :id"), {"id": file.id})
        logged = await uow.scalar(text("SELECT count(*) FROM record_transition WHERE record_entity = 'file'"))
    assert (versions, logged) == (1, 1)


async def test_a_file_of_before_follows_none_and_is_replaced_as_ever(reviewed: Papers) -> None:
    again = await reviewed.attach("FX", "before.pdf", PDF + b"more", purpose="statement")
    assert again.version == 2


async def test_a_removed_file_takes_no_steps(reviewed: Papers) -> None:
    file = await reviewed.attach("FX", "after.pdf", purpose="statement")
    async with reviewed.runtime.uow(SYSTEM) as uow:
        await delete_file(uow, file_id=file.id, expected_version=1, reason="Wrong")
    with pytest.raises(StepsError, match="There is no such file"):
        async with reviewed.runtime.uow(reviewed.actor("controller")) as uow:
            await transition_record(uow, entity="file", record_id=file.id, name="release", expected_version=2)
