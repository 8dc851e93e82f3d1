"""Which grants one person must not hold together."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.access.duties import HeldGrant, breaches, overlaps
from app.domain.access.policy_files import Conflict

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DESKS, ENTITIES = UUID(int=1), UUID(int=2)
RULE = Conflict("preparer", "controller", "who prepares work must not check it")


def held(role: str = "preparer", application: str = "PNL", **values: object) -> HeldGrant:
    return HeldGrant(**{"role": role, "application": application, "since": NOW, **values})  # type: ignore[arg-type]


def test_conflicting_roles_are_found_in_either_order() -> None:
    assert breaches(held("controller"), [held("preparer")], [RULE])
    assert breaches(held("preparer"), [held("controller")], [RULE])
    assert not breaches(held("auditor"), [held("controller"), held("preparer")], [RULE])


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (held(), held(application="TREASURY"), False),
        (held(wide=True, application="PLATFORM"), held(application="TREASURY"), True),
        (held(hierarchy_id=DESKS, path="fx.g10"), held(hierarchy_id=DESKS, path="fx.em"), False),
        (held(hierarchy_id=DESKS, path="fx.g10"), held(hierarchy_id=DESKS, path="fx.g10.usd"), True),
        (held(hierarchy_id=DESKS, path="fx.g10"), held(hierarchy_id=DESKS, path="fx.g1"), False),
        (held(hierarchy_id=DESKS, path="fx.g10"), held(hierarchy_id=DESKS, path="fx"), True),
        (held(hierarchy_id=DESKS, path="fx.g10"), held(), True),
        (held(hierarchy_id=DESKS, path="fx.g10"), held(hierarchy_id=ENTITIES, path="bank.de"), True),
        (held(until=NOW + timedelta(days=1)), held(since=NOW + timedelta(days=1)), False),
        (held(until=NOW + timedelta(days=2)), held(since=NOW + timedelta(days=1)), True),
    ],
)
def test_grants_overlap_where_one_record_could_be_reached_by_both(
    one: HeldGrant, other: HeldGrant, together: bool
) -> None:
    assert overlaps(one, other) is together
    assert overlaps(other, one) is together
