"""System tables: audit entries, the outbox, idempotency keys, metadata revisions, the demo clock."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    Interval,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from models.base import NAMING_CONVENTION
from models.types import UtcDateTime

system_metadata = MetaData(naming_convention=NAMING_CONVENTION)

# One immutable fact: who did what to which record, why they were allowed, before and after.
audit_entry = Table(
    "audit_entry",
    system_metadata,
    Column("sequence", BigInteger, Identity(always=True), primary_key=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor_id", Uuid),
    Column("actor_name", Text, nullable=False),
    Column("on_behalf_of", Uuid),
    Column("session_id", Uuid),
    Column("ip", Text),
    Column("grant_id", Uuid),  # the role grant that allowed it
    Column("allowed_by", Text),  # the policy line, as text
    Column("command", Text, nullable=False),
    Column("entity", Text),
    Column("record_id", Uuid),
    Column("before", JSONB(none_as_null=True)),
    Column("after", JSONB(none_as_null=True)),
    Column("reason", Text),
    Column("context", JSONB(none_as_null=True)),  # versions of the workflow, calendar, rule; scope; counts
    Column("outcome", Text, nullable=False, server_default="ok"),
    Column("correlation_id", Uuid, nullable=False),
    CheckConstraint("outcome IN ('ok', 'denied', 'failed')", name="outcome"),
    Index("ix_audit_entry_record", "entity", "record_id", "sequence"),
    Index("ix_audit_entry_actor", "actor_id", "sequence"),
    Index("ix_audit_entry_at", "at", postgresql_using="brin"),
)

# Work to be done after the transaction that wrote it. Postgres is the truth; Redis only wakes a worker.
outbox = Table(
    "outbox",
    system_metadata,
    Column("id", Uuid, primary_key=True),
    Column("job", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("key", Text),  # of two delayed rows with one key only the first is written
    Column("created_at", UtcDateTime, nullable=False),
    Column("available_at", UtcDateTime, nullable=False),  # real time: when a worker may take it
    Column("attempt", Integer, nullable=False, server_default="0"),  # also the fencing token of the lease
    Column("max_attempts", Integer, nullable=False, server_default="5"),
    Column("relayed_at", UtcDateTime),
    Column("lease_until", UtcDateTime),
    Column("done_at", UtcDateTime),
    Column("failed_at", UtcDateTime),
    Column("error", Text),
    Column("correlation_id", Uuid, nullable=False),
    Index("ix_outbox_due", "available_at", postgresql_where=text("done_at IS NULL AND failed_at IS NULL")),
    Index("ix_outbox_key", "key", postgresql_where=text("key IS NOT NULL AND done_at IS NULL AND failed_at IS NULL")),
)

# The answer that was given to a command, so that sending it again gives it again and does nothing.
idempotency_key = Table(
    "idempotency_key",
    system_metadata,
    Column("actor_id", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("status", Integer),
    Column("headers", JSONB),
    Column("body", Text),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)

metadata_revision = Table(
    "metadata_revision",
    system_metadata,
    Column("revision", Integer, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("published_at", UtcDateTime, nullable=False),
    Column("published_by", Uuid),
    Column("summary", Text, nullable=False),
)

# Entities that were added to this installation at run time, as definitions; their tables are in the schema `ext`.
site_entity = Table(
    "site_entity",
    system_metadata,
    Column("name", Text, primary_key=True),
    Column("definition", JSONB, nullable=False),
    Column("digest", Text, nullable=False),
    Column("installed_at", UtcDateTime, nullable=False),
)

# The last number given out per entity and period, for human references such as TRD-2026-000042.
reference_counter = Table(
    "reference_counter",
    system_metadata,
    Column("entity", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
)

# At most one row, in demo mode only: what is added to the real time by every process.
demo_clock = Table(
    "demo_clock",
    system_metadata,
    Column("one_row", Boolean, primary_key=True, server_default=text("true")),
    Column("shift", Interval, nullable=False),
    Column("set_at", UtcDateTime, nullable=False),
    CheckConstraint("one_row", name="single"),
)
