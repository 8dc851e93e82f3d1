"""SQL objects beside the tables: extensions, the database clock, the guards of the audit trail and of versions."""

from collections.abc import Mapping

from models.registry import Registry
from models.schema import FieldType

EXTENSIONS = ("ltree", "pg_trgm", "citext", "btree_gist")

# Database time as every process sees it: the real time plus the demo's shift, if there is one.
STEPS_NOW = """
CREATE OR REPLACE FUNCTION steps_now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT clock_timestamp() + coalesce((SELECT shift FROM demo_clock), interval '0')
$$
"""

AUDIT_GUARD = (
    """
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries are never changed or deleted' USING ERRCODE = 'integrity_constraint_violation';
END
$$
""",
    """
CREATE OR REPLACE TRIGGER audit_entry_is_append_only BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()
""",
    """
CREATE OR REPLACE TRIGGER audit_entry_is_never_truncated BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
""",
)

# Parts of a workflow version change only while it is a draft, whichever way a statement comes. The version is read
# under a lock that publishing holds, so a change cannot slip in beside it. Where the version (or the process that owns
# a line) is gone already, the rows go with it: that is how a discarded draft is deleted.
VERSION_IS_FIXED = (
    """
CREATE OR REPLACE FUNCTION refuse_change_of_fixed_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner text := TG_ARGV[0];
    key text := CASE owner WHEN 'workflow_version' THEN 'version_id' ELSE 'parent_id' END;
    changed text := CASE TG_OP
        WHEN 'INSERT' THEN format('SELECT %I FROM new_rows', key)
        WHEN 'DELETE' THEN format('SELECT %I FROM old_rows', key)
        ELSE format('SELECT %1$I FROM old_rows UNION SELECT %1$I FROM new_rows', key) END;
    found record;
BEGIN
    IF owner <> 'workflow_version' THEN
        changed := format('SELECT version_id FROM %I WHERE id IN (%s)', owner, changed);
    END IF;
    FOR found IN EXECUTE format('SELECT number, state FROM workflow_version WHERE id IN (%s) FOR KEY SHARE', changed)
    LOOP
        IF found.state <> 'draft' THEN
            RAISE EXCEPTION 'Version % is % and never changes; make a new draft of it and change that.',
                found.number, found.state USING ERRCODE = 'SPV01';
        END IF;
    END LOOP;
    RETURN NULL;
END
$$
""",
    """
CREATE OR REPLACE FUNCTION refuse_unpublishing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.state <> 'draft' THEN
        RAISE EXCEPTION 'Version % is % and is never deleted.', OLD.number, OLD.state USING ERRCODE = 'SPV01';
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.state <> 'draft' AND (NEW.state = 'draft' OR (NEW.workflow_id, NEW.number, NEW.digest)
            IS DISTINCT FROM (OLD.workflow_id, OLD.number, OLD.digest)) THEN
        RAISE EXCEPTION 'Version % is % and never changes; make a new draft of it and change that.',
            OLD.number, OLD.state USING ERRCODE = 'SPV01';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$
""",
    """
CREATE OR REPLACE TRIGGER workflow_version_is_fixed BEFORE UPDATE OR DELETE ON workflow_version
    FOR EACH ROW EXECUTE FUNCTION refuse_unpublishing()
""",
)


def version_guards(owners: Mapping[str, str]) -> tuple[str, ...]:
    """The triggers that hold changes back, for each table of a version: table -> table that it belongs to."""
    rows = {"insert": "NEW TABLE AS new_rows", "delete": "OLD TABLE AS old_rows"}
    rows["update"] = "OLD TABLE AS old_rows NEW TABLE AS new_rows"
    return tuple(
        f"""
CREATE OR REPLACE TRIGGER {table}_{event}_in_draft AFTER {event.upper()} ON {table} REFERENCING {rows[event]}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_fixed_version('{owner}')
"""
        for table, owner in owners.items()
        for event in ("insert", "update", "delete")
    )


def parts_of_versions(registry: Registry) -> dict[str, str]:
    """Every table that holds parts of a workflow version: table -> table that it belongs to."""
    owners: dict[str, str] = {}
    for name in ("stage", "process", "process_dependency"):
        entity = registry.entity(name)
        owners[entity.table_name] = "workflow_version"
        for field in entity.fields:
            if field.type is FieldType.LINES and field.target:
                owners[registry.entity(field.target).table_name] = entity.table_name
    return owners


BEFORE_TABLES = tuple(f"CREATE EXTENSION IF NOT EXISTS {name}" for name in EXTENSIONS)
AFTER_TABLES = (STEPS_NOW, *AUDIT_GUARD)
