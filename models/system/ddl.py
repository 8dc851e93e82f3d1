"""SQL objects beside the tables: extensions, the database clock, and the guard of the audit trail."""

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

BEFORE_TABLES = tuple(f"CREATE EXTENSION IF NOT EXISTS {name}" for name in EXTENSIONS)
AFTER_TABLES = (STEPS_NOW, *AUDIT_GUARD)
