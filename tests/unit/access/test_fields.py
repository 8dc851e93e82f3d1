"""Field access groups: who reads, writes, or sees only that there is a value."""

import pytest

from app.core.actor import Actor, Grant, system_actor
from app.domain.access.fields import mask, masked_fields, readable_fields, writable_fields
from app.domain.access.policy import AccessPolicy, build_enforcer, compile_policy
from app.domain.access.policy_files import FieldMode, PolicyFiles, read_policy_files
from models.base import uuid7
from models.loader import load_entity
from models.registry import Registry
from models.schema import EntityDef

CLIENT = load_entity(
    """
name: client
module: test
title_field: name
fields:
  - {name: name, type: text}
  - {name: iban, type: text, access_group: bank, mask: "####"}
  - {name: rating, type: text, access_group: risk}
  - {name: api_key, type: secret}
  - {name: seed, type: text, access_group: internal}
  - {name: since, type: date, read_only: true}
"""
)


def policy_with(**access: str) -> AccessPolicy:
    """Field access given as role_group=mode."""
    given = {tuple(key.split("_")): FieldMode(mode) for key, mode in access.items()}
    files = PolicyFiles(field_access=given)  # type: ignore[arg-type]
    return compile_policy(build_enforcer((), ()), files=files)


def holder(*roles: str) -> Actor:
    return Actor(uuid7(), "Person", grants=tuple(Grant(uuid7(), role, "PNL") for role in roles))


def names(fields: tuple[object, ...]) -> list[str]:
    return [field.name for field in fields]  # type: ignore[attr-defined]


def test_standard_fields_are_open_and_other_groups_closed_unless_granted() -> None:
    policy = policy_with(clerk_bank="read")
    assert names(readable_fields(policy, holder("guest"), CLIENT)) == ["name", "api_key", "since"]
    assert names(readable_fields(policy, holder("clerk"), CLIENT)) == ["name", "iban", "api_key", "since"]


def test_the_widest_of_several_roles_counts() -> None:
    policy = policy_with(clerk_bank="mask", teller_bank="write", guest_bank="read")
    assert "iban" in names(writable_fields(policy, holder("clerk", "teller", "guest"), CLIENT))
    assert "iban" not in names(writable_fields(policy, holder("clerk", "guest"), CLIENT))
    assert "iban" not in masked_fields(policy, holder("clerk", "guest"), CLIENT)


def test_read_access_does_not_write_and_read_only_fields_are_never_written() -> None:
    policy = policy_with(clerk_bank="read")
    assert names(writable_fields(policy, holder("clerk"), CLIENT)) == ["name", "api_key"]


def test_a_masked_value_shows_its_last_characters_at_most() -> None:
    policy = policy_with(clerk_bank="mask")
    values = {"name": "A", "iban": "DE02120300000000202051", "rating": "B", "id": 7}
    assert mask(policy, holder("clerk"), CLIENT, values) == {"name": "A", "iban": "•••2051", "id": 7}
    assert mask(policy, holder("clerk"), CLIENT, {"iban": None}) == {"iban": None}
    assert mask(policy, holder("clerk"), CLIENT, {"iban": "2051"}) == {"iban": "•••"}


def test_a_secret_is_written_but_never_shown_and_internal_fields_are_for_nobody() -> None:
    policy = policy_with()
    for actor in (holder("admin"), system_actor()):
        seen = mask(policy, actor, CLIENT, {"api_key": "k-123", "seed": "s"})
        assert seen == {"api_key": "•••"}
        assert "seed" not in names(writable_fields(policy, actor, CLIENT))
        assert "api_key" in masked_fields(policy, actor, CLIENT)


@pytest.fixture(scope="module")
def shipped() -> AccessPolicy:
    files = read_policy_files()
    return compile_policy(build_enforcer(files.lines, files.inheritance), lines=files.lines, files=files)


@pytest.fixture(scope="module")
def user(registry: Registry) -> EntityDef:
    return registry.entity("user")


def test_the_directory_shows_names_and_addresses_only(shipped: AccessPolicy, user: EntityDef) -> None:
    assert names(readable_fields(shipped, holder("preparer"), user)) == ["email", "name", "active"]
    assert "last_sign_in_at" in names(readable_fields(shipped, holder("auditor"), user))
    assert "manager" not in names(writable_fields(shipped, holder("auditor"), user))
    assert "manager" in names(writable_fields(shipped, holder("admin"), user))


def test_no_hash_is_readable_by_anyone(shipped: AccessPolicy, registry: Registry) -> None:
    for actor in (holder("admin", "auditor"), system_actor()):
        for entity in registry.entities.values():
            shown = names(readable_fields(shipped, actor, entity))
            assert not [name for name in shown if name.endswith("_hash") and name in ("password_hash", "token_hash")]
