"""Initial schema

Revision: 0001
Follows:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS ltree")
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("CREATE EXTENSION IF NOT EXISTS citext")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "app_user",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", types.UtcDateTime(), nullable=True),
        sa.Column("email", sa.Text(), nullable=False, comment="Email"),
        sa.Column("name", sa.Text(), nullable=False, comment="Name"),
        sa.Column("account_kind", sa.Text(), nullable=False, comment="Kind"),
        sa.Column("active", sa.Boolean(), nullable=False, comment="Active"),
        sa.Column("manager_id", sa.Uuid(), nullable=True, comment="Manager"),
        sa.Column("time_zone", sa.Text(), nullable=True, comment="Time zone"),
        sa.Column("locale", sa.Text(), nullable=True, comment="Locale"),
        sa.Column("theme", sa.Text(), nullable=True, comment="Theme"),
        sa.Column("contrast", sa.Text(), nullable=True, comment="Contrast"),
        sa.Column("density", sa.Text(), nullable=True, comment="Density"),
        sa.Column("last_sign_in_at", types.UtcDateTime(), nullable=True, comment="Last sign-in"),
        sa.Column("locked_until", types.UtcDateTime(), nullable=True, comment="Locked until"),
        sa.Column("must_change_password", sa.Boolean(), nullable=False, comment="Must change password"),
        sa.Column("failed_sign_ins", sa.BigInteger(), nullable=False, comment="Failed sign ins"),
        sa.Column("password_hash", sa.Text(), nullable=True, comment="Password hash"),
        sa.CheckConstraint("account_kind IN ('person', 'service')", name=op.f("ck_app_user_account_kind_choice")),
        sa.CheckConstraint("contrast IN ('normal', 'high')", name=op.f("ck_app_user_contrast_choice")),
        sa.CheckConstraint("density IN ('compact', 'normal', 'comfortable')", name=op.f("ck_app_user_density_choice")),
        sa.CheckConstraint("theme IN ('light', 'dark', 'system')", name=op.f("ck_app_user_theme_choice")),
        sa.ForeignKeyConstraint(
            ["manager_id"], ["app_user.id"], name=op.f("fk_app_user_manager_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_user")),
        sa.UniqueConstraint("email", name="uq_app_user_email"),
        comment="User",
    )
    op.create_index(op.f("ix_app_user_manager_id"), "app_user", ["manager_id"], unique=False)
    op.create_table(
        "application",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("description", sa.Text(), nullable=True, comment="Description"),
        sa.Column("active", sa.Boolean(), nullable=False, comment="Active"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application")),
        sa.UniqueConstraint("code", name="uq_application_code"),
        comment="Application",
    )
    op.create_table(
        "calendar",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("zone", sa.Text(), nullable=False, comment="Time zone"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar")),
        sa.UniqueConstraint("code", name="uq_calendar_code"),
        comment="Calendar",
    )
    op.create_table(
        "hierarchy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("description", sa.Text(), nullable=True, comment="Description"),
        sa.Column("level_labels", sa.Text(), nullable=True, comment="Level labels"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hierarchy")),
        sa.UniqueConstraint("code", name="uq_hierarchy_code"),
        comment="Hierarchy",
    )
    op.create_table(
        "mail_message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=False, comment="Recipient"),
        sa.Column("subject", sa.Text(), nullable=False, comment="Subject"),
        sa.Column("text_body", sa.Text(), nullable=False, comment="Text body"),
        sa.Column("html_body", sa.Text(), nullable=True, comment="Html body"),
        sa.Column("state", sa.Text(), nullable=False, comment="State"),
        sa.Column("attempts", sa.BigInteger(), nullable=False, comment="Attempts"),
        sa.Column("error", sa.Text(), nullable=True, comment="Error"),
        sa.Column("sent_at", types.UtcDateTime(), nullable=True, comment="Sent"),
        sa.Column("dedup_key", sa.Text(), nullable=False, comment="Dedup key"),
        sa.CheckConstraint("state IN ('queued', 'sent', 'kept', 'failed')", name=op.f("ck_mail_message_state_choice")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_message")),
        sa.UniqueConstraint("recipient", "dedup_key", name="uq_mail_message_once"),
        comment="Mail",
    )
    op.create_index(
        "ix_mail_message_queued",
        "mail_message",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_table(
        "parameter",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("value", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False, comment="Value"),
        sa.Column("description", sa.Text(), nullable=True, comment="Description"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parameter")),
        sa.UniqueConstraint("code", name="uq_parameter_code"),
        comment="Parameter",
    )
    op.create_table(
        "policy_line",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False, comment="Role"),
        sa.Column("application", sa.Text(), nullable=False, comment="Application"),
        sa.Column("entity", sa.Text(), nullable=False, comment="Entity"),
        sa.Column("action", sa.Text(), nullable=False, comment="Action"),
        sa.Column("effect", sa.Text(), nullable=False, comment="Effect"),
        sa.CheckConstraint("effect IN ('allow', 'deny')", name=op.f("ck_policy_line_effect_choice")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_line")),
        comment="Policy line",
    )
    op.create_table(
        "role",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("description", sa.Text(), nullable=True, comment="Description"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role")),
        sa.UniqueConstraint("code", name="uq_role_code"),
        comment="Role",
    )
    op.create_table(
        "access_token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False, comment="User"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("prefix", sa.Text(), nullable=False, comment="Prefix"),
        sa.Column("token_hash", sa.Text(), nullable=False, comment="Token hash"),
        sa.Column("read_only", sa.Boolean(), nullable=False, comment="Read only"),
        sa.Column("expires_at", types.UtcDateTime(), nullable=True, comment="Expires"),
        sa.Column("last_used_at", types.UtcDateTime(), nullable=True, comment="Last used"),
        sa.Column("revoked_at", types.UtcDateTime(), nullable=True, comment="Revoked"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["app_user.id"], name=op.f("fk_access_token_user_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_token")),
        sa.UniqueConstraint("token_hash", name="uq_access_token_token_hash"),
        comment="Access token",
    )
    op.create_index(op.f("ix_access_token_user_id"), "access_token", ["user_id"], unique=False)
    op.create_table(
        "calendar_version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("calendar_id", sa.Uuid(), nullable=False, comment="Calendar"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="Number"),
        sa.Column("state", sa.Text(), nullable=False, comment="State"),
        sa.Column(
            "weekly_windows",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
            comment="Weekly windows",
        ),
        sa.Column("notes", sa.Text(), nullable=True, comment="Notes"),
        sa.Column("published_at", types.UtcDateTime(), nullable=True, comment="Published"),
        sa.Column("published_by_id", sa.Uuid(), nullable=True, comment="Published by"),
        sa.CheckConstraint("state IN ('draft', 'published')", name=op.f("ck_calendar_version_state_choice")),
        sa.ForeignKeyConstraint(
            ["calendar_id"], ["calendar.id"], name=op.f("fk_calendar_version_calendar_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["published_by_id"], ["app_user.id"], name=op.f("fk_calendar_version_published_by_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar_version")),
        sa.UniqueConstraint("calendar_id", "number", name="uq_calendar_version_number"),
        comment="Calendar version",
    )
    op.create_index(op.f("ix_calendar_version_calendar_id"), "calendar_version", ["calendar_id"], unique=False)
    op.create_index(op.f("ix_calendar_version_published_by_id"), "calendar_version", ["published_by_id"], unique=False)
    op.create_table(
        "hierarchy_node",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("path", types.Ltree(), nullable=False),
        sa.Column("hierarchy_id", sa.Uuid(), nullable=False, comment="Hierarchy"),
        sa.Column("parent_id", sa.Uuid(), nullable=True, comment="Parent"),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column(
            "attributes",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="Attributes",
        ),
        sa.Column("valid_from", sa.Date(), nullable=False, comment="Valid from"),
        sa.Column("valid_to", sa.Date(), nullable=True, comment="Valid until"),
        sa.Column("merged_into_id", sa.Uuid(), nullable=True, comment="Merged into"),
        sa.ForeignKeyConstraint(
            ["hierarchy_id"], ["hierarchy.id"], name=op.f("fk_hierarchy_node_hierarchy_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["merged_into_id"],
            ["hierarchy_node.id"],
            name=op.f("fk_hierarchy_node_merged_into_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["hierarchy_node.id"], name=op.f("fk_hierarchy_node_parent_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hierarchy_node")),
        sa.UniqueConstraint("hierarchy_id", "code", name="uq_hierarchy_node_code"),
        comment="Hierarchy node",
    )
    op.create_index("ix_hierarchy_node_children", "hierarchy_node", ["parent_id", "code"], unique=False)
    op.create_index(op.f("ix_hierarchy_node_hierarchy_id"), "hierarchy_node", ["hierarchy_id"], unique=False)
    op.create_index(op.f("ix_hierarchy_node_merged_into_id"), "hierarchy_node", ["merged_into_id"], unique=False)
    op.create_index(op.f("ix_hierarchy_node_parent_id"), "hierarchy_node", ["parent_id"], unique=False)
    op.create_index("ix_hierarchy_node_path", "hierarchy_node", ["path"], unique=False, postgresql_using="gist")
    op.create_table(
        "notification",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False, comment="User"),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind"),
        sa.Column("title", sa.Text(), nullable=False, comment="Title"),
        sa.Column("body", sa.Text(), nullable=True, comment="Body"),
        sa.Column("link", sa.Text(), nullable=True, comment="Link"),
        sa.Column("record_entity", sa.Text(), nullable=True, comment="Record"),
        sa.Column("record_id", sa.Uuid(), nullable=True),
        sa.Column("at", types.UtcDateTime(), nullable=False, comment="At"),
        sa.Column("read_at", types.UtcDateTime(), nullable=True, comment="Read at"),
        sa.Column("dedup_key", sa.Text(), nullable=False, comment="Dedup key"),
        sa.CheckConstraint(
            "kind IN ('assignment', 'warning', 'breach', 'rejection', 'approval', 'failure', 'system')",
            name=op.f("ck_notification_kind_choice"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["app_user.id"], name=op.f("fk_notification_user_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint("user_id", "dedup_key", name="uq_notification_once"),
        comment="Notification",
    )
    op.create_index("ix_notification_latest", "notification", ["user_id", "at"], unique=False)
    op.create_index(op.f("ix_notification_record_id"), "notification", ["record_id"], unique=False)
    op.create_index(
        "ix_notification_unread",
        "notification",
        ["user_id", "at"],
        unique=False,
        postgresql_where=sa.text("read_at IS NULL"),
    )
    op.create_index(op.f("ix_notification_user_id"), "notification", ["user_id"], unique=False)
    op.create_table(
        "saved_view",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=False, comment="Owner"),
        sa.Column("entity", sa.Text(), nullable=False, comment="Entity"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("state", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False, comment="State"),
        sa.Column("shared", sa.Boolean(), nullable=False, comment="Shared"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["app_user.id"], name=op.f("fk_saved_view_owner_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_view")),
        sa.UniqueConstraint("owner_id", "entity", "label", name="uq_saved_view_name_per_user"),
        comment="Saved view",
    )
    op.create_index(op.f("ix_saved_view_owner_id"), "saved_view", ["owner_id"], unique=False)
    op.create_table(
        "sla_policy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("measure", sa.Text(), nullable=False, comment="Measure"),
        sa.Column("target", sa.Interval(), nullable=True, comment="Target"),
        sa.Column("pause_on_hold", sa.Boolean(), nullable=True, comment="Pause while on hold"),
        sa.Column("calendar_id", sa.Uuid(), nullable=True, comment="Calendar"),
        sa.Column("warn_minutes", sa.BigInteger(), nullable=True, comment="Warn minutes"),
        sa.Column("active", sa.Boolean(), nullable=False, comment="Active"),
        sa.CheckConstraint("measure IN ('deadline', 'duration')", name=op.f("ck_sla_policy_measure_choice")),
        sa.ForeignKeyConstraint(
            ["calendar_id"], ["calendar.id"], name=op.f("fk_sla_policy_calendar_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_policy")),
        sa.UniqueConstraint("code", name="uq_sla_policy_code"),
        comment="SLA policy",
    )
    op.create_index(op.f("ix_sla_policy_calendar_id"), "sla_policy", ["calendar_id"], unique=False)
    op.create_table(
        "user_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False, comment="User"),
        sa.Column("token_hash", sa.Text(), nullable=False, comment="Token hash"),
        sa.Column("csrf_token", sa.Text(), nullable=False, comment="Csrf token"),
        sa.Column("user_agent", sa.Text(), nullable=True, comment="User agent"),
        sa.Column("ip", sa.Text(), nullable=True, comment="IP address"),
        sa.Column("last_seen_at", types.UtcDateTime(), nullable=False, comment="Last seen"),
        sa.Column("expires_at", types.UtcDateTime(), nullable=False, comment="Expires"),
        sa.Column("revoked_at", types.UtcDateTime(), nullable=True, comment="Ended"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["app_user.id"], name=op.f("fk_user_session_user_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_session")),
        sa.UniqueConstraint("token_hash", name="uq_user_session_token_hash"),
        comment="Session",
    )
    op.create_index(op.f("ix_user_session_user_id"), "user_session", ["user_id"], unique=False)
    op.create_table(
        "calendar_day",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("day", sa.Date(), nullable=False, comment="Day"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind"),
        sa.Column("closes_at", sa.Time(), nullable=True, comment="Closes at"),
        sa.CheckConstraint("kind <> 'early_close' OR closes_at IS NOT NULL", name=op.f("ck_calendar_day_close_time")),
        sa.CheckConstraint("kind IN ('holiday', 'early_close')", name=op.f("ck_calendar_day_kind_choice")),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["calendar_version.id"], name=op.f("fk_calendar_day_parent_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar_day")),
        sa.UniqueConstraint("parent_id", "day", name="uq_calendar_day_day"),
        comment="Calendar day",
    )
    op.create_index(op.f("ix_calendar_day_parent_id"), "calendar_day", ["parent_id"], unique=False)
    op.create_table(
        "file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", types.UtcDateTime(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False, comment="Name"),
        sa.Column("record_entity", sa.Text(), nullable=True, comment="Record"),
        sa.Column("record_id", sa.Uuid(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=True, comment="Purpose"),
        sa.Column("node_id", sa.Uuid(), nullable=True, comment="Node"),
        sa.Column("application_id", sa.Uuid(), nullable=True, comment="Application"),
        sa.Column("version_number", sa.BigInteger(), nullable=False, comment="Version"),
        sa.Column("media_type", sa.Text(), nullable=True, comment="Media type"),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Size in bytes"),
        sa.Column("sha256", sa.Text(), nullable=True, comment="SHA-256"),
        sa.ForeignKeyConstraint(
            ["application_id"], ["application.id"], name=op.f("fk_file_application_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["node_id"], ["hierarchy_node.id"], name=op.f("fk_file_node_id"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
        comment="File",
    )
    op.create_index(op.f("ix_file_application_id"), "file", ["application_id"], unique=False)
    op.create_index(op.f("ix_file_node_id"), "file", ["node_id"], unique=False)
    op.create_index(op.f("ix_file_record_id"), "file", ["record_id"], unique=False)
    op.create_index("ix_file_record_pair", "file", ["record_entity", "record_id"], unique=False)
    op.create_index(
        "uq_file_name",
        "file",
        ["record_entity", "record_id", "purpose", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "hierarchy_node_version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("node_id", sa.Uuid(), nullable=False, comment="Node"),
        sa.Column("parent_id", sa.Uuid(), nullable=True, comment="Parent"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column(
            "attributes",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="Attributes",
        ),
        sa.Column("valid_from", sa.Date(), nullable=False, comment="Valid from"),
        sa.Column("valid_to", sa.Date(), nullable=True, comment="Valid until"),
        sa.Column("change", sa.Text(), nullable=False, comment="Change"),
        sa.Column("merged_into_id", sa.Uuid(), nullable=True, comment="Merged into"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Reason"),
        sa.CheckConstraint(
            "change IN ('created', 'renamed', 'moved', 'merged', 'retired', 'changed', 'restored')",
            name=op.f("ck_hierarchy_node_version_change_choice"),
        ),
        sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name=op.f("ck_hierarchy_node_version_period")),
        sa.ForeignKeyConstraint(
            ["merged_into_id"],
            ["hierarchy_node.id"],
            name=op.f("fk_hierarchy_node_version_merged_into_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["hierarchy_node.id"], name=op.f("fk_hierarchy_node_version_node_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["hierarchy_node.id"], name=op.f("fk_hierarchy_node_version_parent_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hierarchy_node_version")),
        sa.UniqueConstraint("node_id", "valid_from", name="uq_hierarchy_node_version_start"),
        comment="Node version",
    )
    op.create_index(
        op.f("ix_hierarchy_node_version_merged_into_id"), "hierarchy_node_version", ["merged_into_id"], unique=False
    )
    op.create_index(op.f("ix_hierarchy_node_version_node_id"), "hierarchy_node_version", ["node_id"], unique=False)
    op.create_index(op.f("ix_hierarchy_node_version_parent_id"), "hierarchy_node_version", ["parent_id"], unique=False)
    op.create_table(
        "pnl_threshold",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("node_id", sa.Uuid(), nullable=False, comment="Node"),
        sa.Column("measure", sa.Text(), nullable=False, comment="Measure"),
        sa.Column("absolute_limit", types.Amount(30, 2), nullable=True, comment="Limit in EUR"),
        sa.Column("percent_limit", types.Amount(12, 6), nullable=True, comment="Limit against flash"),
        sa.Column("percent_floor", types.Amount(30, 2), nullable=True, comment="Floor of the base in EUR"),
        sa.Column("zscore_limit", types.Amount(8, 3), nullable=True, comment="Limit in standard deviations"),
        sa.ForeignKeyConstraint(
            ["node_id"], ["hierarchy_node.id"], name=op.f("fk_pnl_threshold_node_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pnl_threshold")),
        sa.UniqueConstraint("node_id", "measure", name="uq_pnl_threshold_node_measure"),
        comment="PnL threshold",
    )
    op.create_index(op.f("ix_pnl_threshold_node_id"), "pnl_threshold", ["node_id"], unique=False)
    op.create_table(
        "position",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("business_date", sa.Date(), nullable=False, comment="Business date"),
        sa.Column("book_id", sa.Uuid(), nullable=False, comment="Book"),
        sa.Column("currency", sa.Text(), nullable=False, comment="Currency"),
        sa.Column("opening", types.Amount(30, 4), nullable=False, comment="Opening"),
        sa.Column("traded", types.Amount(30, 4), nullable=False, comment="Traded"),
        sa.Column("closing", types.Amount(30, 4), nullable=False, comment="Closing"),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="Version"),
        sa.Column("current", sa.Boolean(), nullable=False, comment="Current"),
        sa.ForeignKeyConstraint(
            ["book_id"], ["hierarchy_node.id"], name=op.f("fk_position_book_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_position")),
        sa.UniqueConstraint("business_date", "book_id", "currency", "version", name="uq_position_version"),
        comment="Position",
    )
    op.create_index(op.f("ix_position_book_id"), "position", ["book_id"], unique=False)
    op.create_table(
        "role_grant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False, comment="User"),
        sa.Column("role_id", sa.Uuid(), nullable=False, comment="Role"),
        sa.Column("application_id", sa.Uuid(), nullable=False, comment="Application"),
        sa.Column("node_id", sa.Uuid(), nullable=True, comment="Only below"),
        sa.Column("valid_from", types.UtcDateTime(), nullable=False, comment="Valid from"),
        sa.Column("valid_until", types.UtcDateTime(), nullable=True, comment="Valid until"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Reason"),
        sa.Column("revoked_at", types.UtcDateTime(), nullable=True, comment="Revoked"),
        sa.CheckConstraint("valid_until IS NULL OR valid_until > valid_from", name=op.f("ck_role_grant_period")),
        sa.ForeignKeyConstraint(
            ["application_id"], ["application.id"], name=op.f("fk_role_grant_application_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["hierarchy_node.id"], name=op.f("fk_role_grant_node_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["role_id"], ["role.id"], name=op.f("fk_role_grant_role_id"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["user_id"], ["app_user.id"], name=op.f("fk_role_grant_user_id"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_grant")),
        comment="Role grant",
    )
    op.create_index(op.f("ix_role_grant_application_id"), "role_grant", ["application_id"], unique=False)
    op.create_index(op.f("ix_role_grant_node_id"), "role_grant", ["node_id"], unique=False)
    op.create_index(op.f("ix_role_grant_role_id"), "role_grant", ["role_id"], unique=False)
    op.create_index(op.f("ix_role_grant_user_id"), "role_grant", ["user_id"], unique=False)
    op.create_index(
        "ix_role_grant_user_open",
        "role_grant",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "sla_clock",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("policy_id", sa.Uuid(), nullable=False, comment="Policy"),
        sa.Column("record_entity", sa.Text(), nullable=False, comment="Record"),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("node_id", sa.Uuid(), nullable=True, comment="Node"),
        sa.Column("application_id", sa.Uuid(), nullable=True, comment="Application"),
        sa.Column("measure", sa.Text(), nullable=False, comment="Measure"),
        sa.Column("state", sa.Text(), nullable=False, comment="State"),
        sa.Column("started_at", types.UtcDateTime(), nullable=False, comment="Started at"),
        sa.Column("segment_started_at", types.UtcDateTime(), nullable=True, comment="Segment started at"),
        sa.Column("consumed", sa.Interval(), nullable=True, comment="Consumed"),
        sa.Column("target", sa.Interval(), nullable=True, comment="Target"),
        sa.Column("warn_minutes", sa.BigInteger(), nullable=False, comment="Warn minutes"),
        sa.Column("warn_at", types.UtcDateTime(), nullable=True, comment="Warn at"),
        sa.Column("due_at", types.UtcDateTime(), nullable=False, comment="Due"),
        sa.Column("next_fire_at", types.UtcDateTime(), nullable=True, comment="Next fire at"),
        sa.Column("next_threshold", sa.Text(), nullable=True, comment="Next threshold"),
        sa.Column("generation", sa.BigInteger(), nullable=False, comment="Generation"),
        sa.Column("warned_at", types.UtcDateTime(), nullable=True, comment="Warned at"),
        sa.Column("breached_at", types.UtcDateTime(), nullable=True, comment="Breached"),
        sa.Column("stopped_at", types.UtcDateTime(), nullable=True, comment="Stopped"),
        sa.CheckConstraint("measure IN ('deadline', 'duration')", name=op.f("ck_sla_clock_measure_choice")),
        sa.CheckConstraint(
            "next_fire_at IS NULL OR (state = 'running' AND next_threshold IS NOT NULL)",
            name=op.f("ck_sla_clock_fires_while_running"),
        ),
        sa.CheckConstraint("next_threshold IN ('warning', 'breach')", name=op.f("ck_sla_clock_next_threshold_choice")),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'stopped', 'cancelled')", name=op.f("ck_sla_clock_state_choice")
        ),
        sa.ForeignKeyConstraint(
            ["application_id"], ["application.id"], name=op.f("fk_sla_clock_application_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["hierarchy_node.id"], name=op.f("fk_sla_clock_node_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["policy_id"], ["sla_policy.id"], name=op.f("fk_sla_clock_policy_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_clock")),
        sa.UniqueConstraint("policy_id", "record_entity", "record_id", name="uq_sla_clock_clock"),
        comment="SLA clock",
    )
    op.create_index(op.f("ix_sla_clock_application_id"), "sla_clock", ["application_id"], unique=False)
    op.create_index(
        "ix_sla_clock_next_fire",
        "sla_clock",
        ["next_fire_at"],
        unique=False,
        postgresql_where=sa.text("next_fire_at IS NOT NULL"),
    )
    op.create_index(op.f("ix_sla_clock_node_id"), "sla_clock", ["node_id"], unique=False)
    op.create_index(op.f("ix_sla_clock_policy_id"), "sla_clock", ["policy_id"], unique=False)
    op.create_index(op.f("ix_sla_clock_record_id"), "sla_clock", ["record_id"], unique=False)
    op.create_table(
        "trade",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False, comment="Reference"),
        sa.Column("book_id", sa.Uuid(), nullable=False, comment="Book"),
        sa.Column("trade_date", sa.Date(), nullable=False, comment="Trade date"),
        sa.Column("product", sa.Text(), nullable=False, comment="Product"),
        sa.Column("currency", sa.Text(), nullable=False, comment="Currency"),
        sa.Column("quantity", types.Amount(30, 4), nullable=False, comment="Quantity"),
        sa.Column("rate", types.Amount(30, 12), nullable=False, comment="Trade rate per EUR"),
        sa.Column("late", sa.Boolean(), nullable=False, comment="Captured after the cut"),
        sa.Column("late_reason", sa.Text(), nullable=True, comment="Late reason"),
        sa.Column("counterparty", sa.Text(), nullable=True, comment="Counterparty"),
        sa.Column("trader", sa.Text(), nullable=True, comment="Trader"),
        sa.Column("note", sa.Text(), nullable=True, comment="Note"),
        sa.Column(
            "value_eur",
            types.Amount(38, 18),
            sa.Computed('round("quantity"::numeric(200, 40) / nullif("rate", 0), 18)', persisted=True),
            nullable=True,
        ),
        sa.CheckConstraint(
            "product IN ('spot', 'forward', 'swap', 'ndf', 'transfer')", name=op.f("ck_trade_product_choice")
        ),
        sa.CheckConstraint("quantity <> 0", name=op.f("ck_trade_not_zero")),
        sa.CheckConstraint("rate > 0", name=op.f("ck_trade_rate_positive")),
        sa.ForeignKeyConstraint(["book_id"], ["hierarchy_node.id"], name=op.f("fk_trade_book_id"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trade")),
        sa.UniqueConstraint("reference", name="uq_trade_reference"),
        comment="Trade",
    )
    op.create_index("ix_trade_book_date", "trade", ["book_id", "trade_date"], unique=False)
    op.create_index(op.f("ix_trade_book_id"), "trade", ["book_id"], unique=False)
    op.create_table(
        "workflow",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("application_id", sa.Uuid(), nullable=False, comment="Application"),
        sa.Column("calendar_id", sa.Uuid(), nullable=False, comment="Calendar"),
        sa.Column("node_id", sa.Uuid(), nullable=True, comment="Node"),
        sa.Column("description", sa.Text(), nullable=True, comment="Description"),
        sa.Column("active", sa.Boolean(), nullable=False, comment="Active"),
        sa.ForeignKeyConstraint(
            ["application_id"], ["application.id"], name=op.f("fk_workflow_application_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["calendar_id"], ["calendar.id"], name=op.f("fk_workflow_calendar_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["hierarchy_node.id"], name=op.f("fk_workflow_node_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow")),
        sa.UniqueConstraint("code", name="uq_workflow_code"),
        comment="Workflow",
    )
    op.create_index(op.f("ix_workflow_application_id"), "workflow", ["application_id"], unique=False)
    op.create_index(op.f("ix_workflow_calendar_id"), "workflow", ["calendar_id"], unique=False)
    op.create_index(op.f("ix_workflow_node_id"), "workflow", ["node_id"], unique=False)
    op.create_table(
        "file_version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("file_id", sa.Uuid(), nullable=False, comment="File"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="Number"),
        sa.Column("sha256", sa.Text(), nullable=False, comment="SHA-256"),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Size"),
        sa.Column("media_type", sa.Text(), nullable=False, comment="Media type"),
        sa.Column("original_name", sa.Text(), nullable=False, comment="Original name"),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name=op.f("fk_file_version_file_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_version")),
        sa.UniqueConstraint("file_id", "number", name="uq_file_version_number"),
        comment="File version",
    )
    op.create_index(op.f("ix_file_version_file_id"), "file_version", ["file_id"], unique=False)
    op.create_table(
        "sla_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("clock_id", sa.Uuid(), nullable=False, comment="Clock"),
        sa.Column("generation", sa.BigInteger(), nullable=False, comment="Generation"),
        sa.Column("threshold", sa.Text(), nullable=False, comment="Threshold"),
        sa.Column("at", types.UtcDateTime(), nullable=False, comment="Passed at"),
        sa.Column("fired_at", types.UtcDateTime(), nullable=False, comment="Fired at"),
        sa.Column("notified", sa.Boolean(), nullable=False, comment="Notified"),
        sa.CheckConstraint("threshold IN ('warning', 'breach')", name=op.f("ck_sla_event_threshold_choice")),
        sa.ForeignKeyConstraint(["clock_id"], ["sla_clock.id"], name=op.f("fk_sla_event_clock_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_event")),
        sa.UniqueConstraint("clock_id", "generation", "threshold", name="uq_sla_event_once"),
        comment="SLA event",
    )
    op.create_index(op.f("ix_sla_event_clock_id"), "sla_event", ["clock_id"], unique=False)
    op.create_table(
        "workflow_version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("workflow_id", sa.Uuid(), nullable=False, comment="Workflow"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="Number"),
        sa.Column("state", sa.Text(), nullable=False, comment="State"),
        sa.Column("notes", sa.Text(), nullable=True, comment="Notes"),
        sa.Column("digest", sa.Text(), nullable=True, comment="Digest"),
        sa.Column("published_at", types.UtcDateTime(), nullable=True, comment="Published at"),
        sa.Column("published_by_id", sa.Uuid(), nullable=True, comment="Published by"),
        sa.CheckConstraint("state IN ('draft', 'published', 'retired')", name=op.f("ck_workflow_version_state_choice")),
        sa.ForeignKeyConstraint(
            ["published_by_id"], ["app_user.id"], name=op.f("fk_workflow_version_published_by_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["workflow.id"], name=op.f("fk_workflow_version_workflow_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_version")),
        sa.UniqueConstraint("workflow_id", "number", name="uq_workflow_version_number"),
        comment="Workflow version",
    )
    op.create_index(op.f("ix_workflow_version_published_by_id"), "workflow_version", ["published_by_id"], unique=False)
    op.create_index(op.f("ix_workflow_version_workflow_id"), "workflow_version", ["workflow_id"], unique=False)
    op.create_index(
        "uq_workflow_version_one_draft",
        "workflow_version",
        ["workflow_id"],
        unique=True,
        postgresql_where=sa.text("state = 'draft'"),
    )
    op.create_table(
        "stage",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("path", types.Ltree(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False, comment="Version"),
        sa.Column("parent_id", sa.Uuid(), nullable=True, comment="Parent"),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("rank", sa.BigInteger(), nullable=False, comment="Order"),
        sa.Column("deadline", sa.Text(), nullable=True, comment="Deadline"),
        sa.ForeignKeyConstraint(["parent_id"], ["stage.id"], name=op.f("fk_stage_parent_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["workflow_version.id"], name=op.f("fk_stage_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage")),
        sa.UniqueConstraint("version_id", "code", name="uq_stage_code"),
        comment="Stage",
    )
    op.create_index(op.f("ix_stage_parent_id"), "stage", ["parent_id"], unique=False)
    op.create_index("ix_stage_path", "stage", ["path"], unique=False, postgresql_using="gist")
    op.create_index(op.f("ix_stage_version_id"), "stage", ["version_id"], unique=False)
    op.create_table(
        "workflow_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False, comment="Reference"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("workflow_id", sa.Uuid(), nullable=False, comment="Workflow"),
        sa.Column("version_id", sa.Uuid(), nullable=False, comment="Version"),
        sa.Column("application_id", sa.Uuid(), nullable=False, comment="Application"),
        sa.Column("business_date", sa.Date(), nullable=False, comment="Business date"),
        sa.Column("node_id", sa.Uuid(), nullable=True, comment="Node"),
        sa.Column("variant", sa.Text(), nullable=False, comment="Variant"),
        sa.Column("state", sa.Text(), nullable=False, comment="State"),
        sa.Column("process_count", sa.BigInteger(), nullable=False, comment="Process count"),
        sa.Column("open_count", sa.BigInteger(), nullable=False, comment="Open count"),
        sa.Column("due_at", types.UtcDateTime(), nullable=True, comment="Due"),
        sa.Column("started_at", types.UtcDateTime(), nullable=False, comment="Started"),
        sa.Column("finished_at", types.UtcDateTime(), nullable=True, comment="Finished"),
        sa.CheckConstraint(
            "state IN ('active', 'on_hold', 'done', 'cancelled')", name=op.f("ck_workflow_run_state_choice")
        ),
        sa.ForeignKeyConstraint(
            ["application_id"], ["application.id"], name=op.f("fk_workflow_run_application_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["hierarchy_node.id"], name=op.f("fk_workflow_run_node_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["workflow_version.id"], name=op.f("fk_workflow_run_version_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["workflow.id"], name=op.f("fk_workflow_run_workflow_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_run")),
        sa.UniqueConstraint("reference", name="uq_workflow_run_reference"),
        sa.UniqueConstraint("workflow_id", "business_date", "node_id", "variant", name="uq_workflow_run_occurrence"),
        comment="Workflow run",
    )
    op.create_index(op.f("ix_workflow_run_application_id"), "workflow_run", ["application_id"], unique=False)
    op.create_index("ix_workflow_run_date", "workflow_run", ["business_date", "state"], unique=False)
    op.create_index(op.f("ix_workflow_run_node_id"), "workflow_run", ["node_id"], unique=False)
    op.create_index(op.f("ix_workflow_run_version_id"), "workflow_run", ["version_id"], unique=False)
    op.create_index(op.f("ix_workflow_run_workflow_id"), "workflow_run", ["workflow_id"], unique=False)
    op.create_table(
        "breach",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("business_date", sa.Date(), nullable=False, comment="Business date"),
        sa.Column("book_id", sa.Uuid(), nullable=False, comment="Book"),
        sa.Column("measure", sa.Text(), nullable=False, comment="Measure"),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind"),
        sa.Column("summary", sa.Text(), nullable=False, comment="Summary"),
        sa.Column("value", types.Amount(38, 18), nullable=False, comment="Value in EUR"),
        sa.Column("limit", types.Amount(38, 18), nullable=False, comment="Limit"),
        sa.Column("state", sa.Text(), nullable=False, comment="State"),
        sa.Column("root_cause", sa.Text(), nullable=True, comment="Root cause"),
        sa.Column("commentary", sa.Text(), nullable=True, comment="Commentary"),
        sa.Column("commented_by_id", sa.Uuid(), nullable=True, comment="Commented by"),
        sa.Column("commented_at", types.UtcDateTime(), nullable=True, comment="Commented at"),
        sa.Column("run_id", sa.Uuid(), nullable=True, comment="Run"),
        sa.CheckConstraint("kind IN ('absolute', 'percent', 'zscore')", name=op.f("ck_breach_kind_choice")),
        sa.CheckConstraint(
            "root_cause IN ('market_move', 'new_trades', 'late_trade_capture', 'rate_quality', 'position_error', 'other')",
            name=op.f("ck_breach_root_cause_choice"),
        ),
        sa.CheckConstraint("state IN ('open', 'commented', 'withdrawn')", name=op.f("ck_breach_state_choice")),
        sa.ForeignKeyConstraint(
            ["book_id"], ["hierarchy_node.id"], name=op.f("fk_breach_book_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["commented_by_id"], ["app_user.id"], name=op.f("fk_breach_commented_by_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["workflow_run.id"], name=op.f("fk_breach_run_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_breach")),
        sa.UniqueConstraint("business_date", "book_id", "measure", "kind", name="uq_breach_breach"),
        comment="PnL breach",
    )
    op.create_index(op.f("ix_breach_book_id"), "breach", ["book_id"], unique=False)
    op.create_index(op.f("ix_breach_commented_by_id"), "breach", ["commented_by_id"], unique=False)
    op.create_index(op.f("ix_breach_run_id"), "breach", ["run_id"], unique=False)
    op.create_table(
        "process",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("version_id", sa.Uuid(), nullable=False, comment="Version"),
        sa.Column("stage_id", sa.Uuid(), nullable=False, comment="Stage"),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("rank", sa.BigInteger(), nullable=False, comment="Order"),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind"),
        sa.Column("owner_role", sa.Text(), nullable=True, comment="Owner role"),
        sa.Column("node_id", sa.Uuid(), nullable=True, comment="Node"),
        sa.Column("action", sa.Text(), nullable=True, comment="Action"),
        sa.Column(
            "parameters",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="Parameters",
        ),
        sa.Column("instructions", sa.Text(), nullable=True, comment="Instructions"),
        sa.Column("deadline", sa.Text(), nullable=True, comment="Deadline"),
        sa.Column("earliest_start", sa.Text(), nullable=True, comment="Earliest start"),
        sa.Column("warn_minutes", sa.BigInteger(), nullable=True, comment="Warn minutes before"),
        sa.Column("expected_minutes", sa.BigInteger(), nullable=True, comment="Expected minutes"),
        sa.Column("critical", sa.Boolean(), nullable=False, comment="Critical"),
        sa.Column("require_comment", sa.Boolean(), nullable=False, comment="Require comment"),
        sa.Column("skip_allowed", sa.Boolean(), nullable=False, comment="Skip allowed"),
        sa.Column("max_attempts", sa.BigInteger(), nullable=True, comment="Max attempts"),
        sa.Column("backoff_seconds", sa.BigInteger(), nullable=True, comment="Backoff seconds"),
        sa.CheckConstraint("kind <> 'automatic' OR action IS NOT NULL", name=op.f("ck_process_automatic_has_action")),
        sa.CheckConstraint(
            "kind IN ('manual', 'approval', 'automatic', 'checklist')", name=op.f("ck_process_kind_choice")
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["hierarchy_node.id"], name=op.f("fk_process_node_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["stage_id"], ["stage.id"], name=op.f("fk_process_stage_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["workflow_version.id"], name=op.f("fk_process_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process")),
        sa.UniqueConstraint("version_id", "code", name="uq_process_code"),
        comment="Process",
    )
    op.create_index(op.f("ix_process_node_id"), "process", ["node_id"], unique=False)
    op.create_index(op.f("ix_process_stage_id"), "process", ["stage_id"], unique=False)
    op.create_index(op.f("ix_process_version_id"), "process", ["version_id"], unique=False)
    op.create_table(
        "stage_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="Run"),
        sa.Column("stage_id", sa.Uuid(), nullable=False, comment="Stage"),
        sa.Column("parent_stage_id", sa.Uuid(), nullable=True, comment="Parent stage"),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("depth", sa.BigInteger(), nullable=False, comment="Depth"),
        sa.Column("rank", sa.BigInteger(), nullable=False, comment="Rank"),
        sa.Column("due_at", types.UtcDateTime(), nullable=True, comment="Due at"),
        sa.ForeignKeyConstraint(
            ["parent_stage_id"], ["stage_run.id"], name=op.f("fk_stage_run_parent_stage_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["workflow_run.id"], name=op.f("fk_stage_run_run_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["stage_id"], ["stage.id"], name=op.f("fk_stage_run_stage_id"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_run")),
        sa.UniqueConstraint("run_id", "stage_id", name="uq_stage_run_stage"),
        comment="Stage run",
    )
    op.create_index(op.f("ix_stage_run_parent_stage_id"), "stage_run", ["parent_stage_id"], unique=False)
    op.create_index(op.f("ix_stage_run_run_id"), "stage_run", ["run_id"], unique=False)
    op.create_index(op.f("ix_stage_run_stage_id"), "stage_run", ["stage_id"], unique=False)
    op.create_table(
        "process_approval_level",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("level", sa.BigInteger(), nullable=False, comment="Level"),
        sa.Column("role", sa.Text(), nullable=False, comment="Role"),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["process.id"], name=op.f("fk_process_approval_level_parent_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_approval_level")),
        sa.UniqueConstraint("parent_id", "level", name="uq_process_approval_level_level"),
        comment="Approval level",
    )
    op.create_index(op.f("ix_process_approval_level_parent_id"), "process_approval_level", ["parent_id"], unique=False)
    op.create_table(
        "process_checklist_item",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("mandatory", sa.Boolean(), nullable=False, comment="Mandatory"),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["process.id"], name=op.f("fk_process_checklist_item_parent_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_checklist_item")),
        comment="Checklist item",
    )
    op.create_index(op.f("ix_process_checklist_item_parent_id"), "process_checklist_item", ["parent_id"], unique=False)
    op.create_table(
        "process_dependency",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("version_id", sa.Uuid(), nullable=False, comment="Version"),
        sa.Column("predecessor_id", sa.Uuid(), nullable=False, comment="Predecessor"),
        sa.Column("successor_id", sa.Uuid(), nullable=False, comment="Successor"),
        sa.Column("edge_type", sa.Text(), nullable=False, comment="Type"),
        sa.Column("hardness", sa.Text(), nullable=False, comment="Hardness"),
        sa.Column("accepts", postgresql.ARRAY(sa.Text()), nullable=False, comment="Accepts"),
        sa.CheckConstraint("edge_type IN ('FS')", name=op.f("ck_process_dependency_edge_type_choice")),
        sa.CheckConstraint("hardness IN ('hard')", name=op.f("ck_process_dependency_hardness_choice")),
        sa.CheckConstraint("predecessor_id <> successor_id", name=op.f("ck_process_dependency_not_itself")),
        sa.ForeignKeyConstraint(
            ["predecessor_id"], ["process.id"], name=op.f("fk_process_dependency_predecessor_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["successor_id"], ["process.id"], name=op.f("fk_process_dependency_successor_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["workflow_version.id"], name=op.f("fk_process_dependency_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_dependency")),
        sa.UniqueConstraint("predecessor_id", "successor_id", name="uq_process_dependency_edge"),
        comment="Dependency",
    )
    op.create_index(
        op.f("ix_process_dependency_predecessor_id"), "process_dependency", ["predecessor_id"], unique=False
    )
    op.create_index(op.f("ix_process_dependency_successor_id"), "process_dependency", ["successor_id"], unique=False)
    op.create_index(op.f("ix_process_dependency_version_id"), "process_dependency", ["version_id"], unique=False)
    op.create_table(
        "process_evidence",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("mandatory", sa.Boolean(), nullable=False, comment="Mandatory"),
        sa.Column("file_types", sa.Text(), nullable=True, comment="File types"),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["process.id"], name=op.f("fk_process_evidence_parent_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_evidence")),
        comment="Required evidence",
    )
    op.create_index(op.f("ix_process_evidence_parent_id"), "process_evidence", ["parent_id"], unique=False)
    op.create_table(
        "process_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="Run"),
        sa.Column("stage_run_id", sa.Uuid(), nullable=False, comment="Stage run"),
        sa.Column("process_id", sa.Uuid(), nullable=False, comment="Process"),
        sa.Column("code", sa.Text(), nullable=False, comment="Code"),
        sa.Column("label", sa.Text(), nullable=False, comment="Label"),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind"),
        sa.Column("state", sa.Text(), nullable=False, comment="State"),
        sa.Column("node_id", sa.Uuid(), nullable=True, comment="Node"),
        sa.Column("application_id", sa.Uuid(), nullable=False, comment="Application"),
        sa.Column("owner_role", sa.Text(), nullable=True, comment="Owner role"),
        sa.Column("assignee_id", sa.Uuid(), nullable=True, comment="Assignee"),
        sa.Column("maker_id", sa.Uuid(), nullable=True, comment="Maker"),
        sa.Column(
            "makers", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="Makers"
        ),
        sa.Column(
            "signers", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="Signers"
        ),
        sa.Column("critical", sa.Boolean(), nullable=False, comment="Critical"),
        sa.Column("rank", sa.BigInteger(), nullable=False, comment="Rank"),
        sa.Column("waiting_on", sa.BigInteger(), nullable=False, comment="Open predecessors"),
        sa.Column("round", sa.BigInteger(), nullable=False, comment="Round"),
        sa.Column("attempt", sa.BigInteger(), nullable=False, comment="Attempt"),
        sa.Column("level", sa.BigInteger(), nullable=False, comment="Approval level"),
        sa.Column("levels", sa.BigInteger(), nullable=False, comment="Approval levels"),
        sa.Column("earliest_start", types.UtcDateTime(), nullable=True, comment="Earliest start"),
        sa.Column("due_at", types.UtcDateTime(), nullable=True, comment="Due"),
        sa.Column("expected_minutes", sa.BigInteger(), nullable=True, comment="Expected minutes"),
        sa.Column("ready_at", types.UtcDateTime(), nullable=True, comment="Ready at"),
        sa.Column("started_at", types.UtcDateTime(), nullable=True, comment="Started"),
        sa.Column("submitted_at", types.UtcDateTime(), nullable=True, comment="Submitted at"),
        sa.Column("finished_at", types.UtcDateTime(), nullable=True, comment="Finished"),
        sa.Column("state_before_hold", sa.Text(), nullable=True, comment="State before hold"),
        sa.Column("review_by", types.UtcDateTime(), nullable=True, comment="Review by"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Reason"),
        sa.Column("comment", sa.Text(), nullable=True, comment="Comment"),
        sa.Column("snapshot_hash", sa.Text(), nullable=True, comment="Snapshot hash"),
        sa.CheckConstraint(
            "kind IN ('manual', 'approval', 'automatic', 'checklist')", name=op.f("ck_process_run_kind_choice")
        ),
        sa.CheckConstraint(
            "state IN ('planned', 'blocked', 'ready', 'assigned', 'in_progress', 'submitted', 'in_review', 'done', 'on_hold', 'waiting_external', 'failed', 'rejected', 'skipped', 'cancelled', 'stale')",
            name=op.f("ck_process_run_state_choice"),
        ),
        sa.ForeignKeyConstraint(
            ["application_id"], ["application.id"], name=op.f("fk_process_run_application_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["assignee_id"], ["app_user.id"], name=op.f("fk_process_run_assignee_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["maker_id"], ["app_user.id"], name=op.f("fk_process_run_maker_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["node_id"], ["hierarchy_node.id"], name=op.f("fk_process_run_node_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["process_id"], ["process.id"], name=op.f("fk_process_run_process_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["workflow_run.id"], name=op.f("fk_process_run_run_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["stage_run_id"], ["stage_run.id"], name=op.f("fk_process_run_stage_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_run")),
        sa.UniqueConstraint("run_id", "process_id", name="uq_process_run_process"),
        comment="Process run",
    )
    op.create_index(op.f("ix_process_run_application_id"), "process_run", ["application_id"], unique=False)
    op.create_index(op.f("ix_process_run_assignee_id"), "process_run", ["assignee_id"], unique=False)
    op.create_index(op.f("ix_process_run_maker_id"), "process_run", ["maker_id"], unique=False)
    op.create_index(op.f("ix_process_run_node_id"), "process_run", ["node_id"], unique=False)
    op.create_index(
        "ix_process_run_open",
        "process_run",
        ["state", "due_at"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('done', 'skipped', 'cancelled', 'planned')"),
    )
    op.create_index(
        "ix_process_run_planned",
        "process_run",
        ["earliest_start"],
        unique=False,
        postgresql_where=sa.text("state = 'planned' AND waiting_on = 0"),
    )
    op.create_index(op.f("ix_process_run_process_id"), "process_run", ["process_id"], unique=False)
    op.create_index("ix_process_run_rank", "process_run", ["run_id", "rank"], unique=False)
    op.create_index(op.f("ix_process_run_run_id"), "process_run", ["run_id"], unique=False)
    op.create_index(op.f("ix_process_run_stage_run_id"), "process_run", ["stage_run_id"], unique=False)
    op.create_table(
        "checklist_answer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("process_run_id", sa.Uuid(), nullable=False, comment="Process run"),
        sa.Column("item", sa.Text(), nullable=False, comment="Item"),
        sa.Column("done", sa.Boolean(), nullable=False, comment="Done"),
        sa.Column("actor_id", sa.Uuid(), nullable=True, comment="Actor"),
        sa.Column("at", types.UtcDateTime(), nullable=False, comment="At"),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["app_user.id"], name=op.f("fk_checklist_answer_actor_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["process_run_id"], ["process_run.id"], name=op.f("fk_checklist_answer_process_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checklist_answer")),
        sa.UniqueConstraint("process_run_id", "item", name="uq_checklist_answer_item"),
        comment="Checklist answer",
    )
    op.create_index(op.f("ix_checklist_answer_actor_id"), "checklist_answer", ["actor_id"], unique=False)
    op.create_index(op.f("ix_checklist_answer_process_run_id"), "checklist_answer", ["process_run_id"], unique=False)
    op.create_table(
        "job_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("function", sa.Text(), nullable=False, comment="Function"),
        sa.Column("state", sa.Text(), nullable=False, comment="State"),
        sa.Column("process_run_id", sa.Uuid(), nullable=True, comment="Process run"),
        sa.Column(
            "arguments", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="Arguments"
        ),
        sa.Column("attempt", sa.BigInteger(), nullable=False, comment="Attempt"),
        sa.Column("failures", sa.BigInteger(), nullable=False, comment="Failures"),
        sa.Column("max_attempts", sa.BigInteger(), nullable=False, comment="Max attempts"),
        sa.Column("backoff_seconds", sa.BigInteger(), nullable=False, comment="Backoff seconds"),
        sa.Column("worker", sa.Text(), nullable=True, comment="Worker"),
        sa.Column("lease_until", types.UtcDateTime(), nullable=True, comment="Lease until"),
        sa.Column("started_at", types.UtcDateTime(), nullable=True, comment="Started"),
        sa.Column("finished_at", types.UtcDateTime(), nullable=True, comment="Finished"),
        sa.Column("input_fingerprint", sa.Text(), nullable=True, comment="Input fingerprint"),
        sa.Column("output_fingerprint", sa.Text(), nullable=True, comment="Output fingerprint"),
        sa.Column(
            "result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="Result"
        ),
        sa.Column("error", sa.Text(), nullable=True, comment="Error"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'retrying', 'succeeded', 'failed', 'aborted')",
            name=op.f("ck_job_run_state_choice"),
        ),
        sa.ForeignKeyConstraint(
            ["process_run_id"], ["process_run.id"], name=op.f("fk_job_run_process_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_run")),
        comment="Job run",
    )
    op.create_index(
        "ix_job_run_live",
        "job_run",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'running', 'retrying')"),
    )
    op.create_index(op.f("ix_job_run_process_run_id"), "job_run", ["process_run_id"], unique=False)
    op.create_table(
        "process_approval",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("process_run_id", sa.Uuid(), nullable=False, comment="Process run"),
        sa.Column("round", sa.BigInteger(), nullable=False, comment="Round"),
        sa.Column("level", sa.BigInteger(), nullable=False, comment="Level"),
        sa.Column("role", sa.Text(), nullable=False, comment="Role"),
        sa.Column("decision", sa.Text(), nullable=False, comment="Decision"),
        sa.Column("actor_id", sa.Uuid(), nullable=False, comment="Actor"),
        sa.Column("at", types.UtcDateTime(), nullable=False, comment="At"),
        sa.Column("snapshot_hash", sa.Text(), nullable=True, comment="Snapshot hash"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Reason"),
        sa.CheckConstraint("decision IN ('approved', 'rejected')", name=op.f("ck_process_approval_decision_choice")),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["app_user.id"], name=op.f("fk_process_approval_actor_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["process_run_id"], ["process_run.id"], name=op.f("fk_process_approval_process_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_approval")),
        sa.UniqueConstraint("process_run_id", "round", "level", name="uq_process_approval_decision"),
        comment="Approval",
    )
    op.create_index(op.f("ix_process_approval_actor_id"), "process_approval", ["actor_id"], unique=False)
    op.create_index(op.f("ix_process_approval_process_run_id"), "process_approval", ["process_run_id"], unique=False)
    op.create_table(
        "process_edge",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="Run"),
        sa.Column("predecessor_id", sa.Uuid(), nullable=False, comment="Predecessor"),
        sa.Column("successor_id", sa.Uuid(), nullable=False, comment="Successor"),
        sa.Column("edge_type", sa.Text(), nullable=False, comment="Type"),
        sa.Column("hardness", sa.Text(), nullable=False, comment="Hardness"),
        sa.Column("accepts", postgresql.ARRAY(sa.Text()), nullable=False, comment="Accepts"),
        sa.Column("satisfied_at", types.UtcDateTime(), nullable=True, comment="Satisfied at"),
        sa.ForeignKeyConstraint(
            ["predecessor_id"], ["process_run.id"], name=op.f("fk_process_edge_predecessor_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["workflow_run.id"], name=op.f("fk_process_edge_run_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["successor_id"], ["process_run.id"], name=op.f("fk_process_edge_successor_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_edge")),
        sa.UniqueConstraint("predecessor_id", "successor_id", name="uq_process_edge_edge"),
        comment="Run dependency",
    )
    op.create_index(op.f("ix_process_edge_predecessor_id"), "process_edge", ["predecessor_id"], unique=False)
    op.create_index(op.f("ix_process_edge_run_id"), "process_edge", ["run_id"], unique=False)
    op.create_index(op.f("ix_process_edge_successor_id"), "process_edge", ["successor_id"], unique=False)
    op.create_table(
        "process_transition",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("process_run_id", sa.Uuid(), nullable=False, comment="Process run"),
        sa.Column("name", sa.Text(), nullable=False, comment="Name"),
        sa.Column("from_state", sa.Text(), nullable=False, comment="From state"),
        sa.Column("to_state", sa.Text(), nullable=False, comment="To state"),
        sa.Column("actor_id", sa.Uuid(), nullable=True, comment="Actor"),
        sa.Column("at", types.UtcDateTime(), nullable=False, comment="At"),
        sa.Column("round", sa.BigInteger(), nullable=False, comment="Round"),
        sa.Column("attempt", sa.BigInteger(), nullable=False, comment="Attempt"),
        sa.Column("level", sa.BigInteger(), nullable=False, comment="Level"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Reason"),
        sa.Column("comment", sa.Text(), nullable=True, comment="Comment"),
        sa.Column("snapshot_hash", sa.Text(), nullable=True, comment="Snapshot hash"),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["app_user.id"], name=op.f("fk_process_transition_actor_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["process_run_id"],
            ["process_run.id"],
            name=op.f("fk_process_transition_process_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_transition")),
        comment="Transition",
    )
    op.create_index(op.f("ix_process_transition_actor_id"), "process_transition", ["actor_id"], unique=False)
    op.create_index(
        op.f("ix_process_transition_process_run_id"), "process_transition", ["process_run_id"], unique=False
    )
    op.create_index("ix_process_transition_run_at", "process_transition", ["process_run_id", "at"], unique=False)
    op.create_table(
        "job_attempt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("job_run_id", sa.Uuid(), nullable=False, comment="Job run"),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="Number"),
        sa.Column("state", sa.Text(), nullable=False, comment="State"),
        sa.Column("worker", sa.Text(), nullable=True, comment="Worker"),
        sa.Column("started_at", types.UtcDateTime(), nullable=False, comment="Started at"),
        sa.Column("finished_at", types.UtcDateTime(), nullable=True, comment="Finished at"),
        sa.Column("error", sa.Text(), nullable=True, comment="Error"),
        sa.Column("log", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True, comment="Log"),
        sa.CheckConstraint(
            "state IN ('running', 'succeeded', 'failed', 'lost', 'aborted')", name=op.f("ck_job_attempt_state_choice")
        ),
        sa.ForeignKeyConstraint(
            ["job_run_id"], ["job_run.id"], name=op.f("fk_job_attempt_job_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_attempt")),
        sa.UniqueConstraint("job_run_id", "number", name="uq_job_attempt_number"),
        comment="Job attempt",
    )
    op.create_index(op.f("ix_job_attempt_job_run_id"), "job_attempt", ["job_run_id"], unique=False)
    op.create_table(
        "pnl_fact",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("business_date", sa.Date(), nullable=False, comment="Business date"),
        sa.Column("book_id", sa.Uuid(), nullable=False, comment="Book or node"),
        sa.Column("measure", sa.Text(), nullable=False, comment="Measure"),
        sa.Column("currency", sa.Text(), nullable=False, comment="Currency"),
        sa.Column("source", sa.Text(), nullable=False, comment="Source"),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="Version"),
        sa.Column("value", types.Amount(38, 18), nullable=False, comment="Value in EUR"),
        sa.Column("current", sa.Boolean(), nullable=False, comment="Current"),
        sa.Column("superseded_at", types.UtcDateTime(), nullable=True, comment="Superseded at"),
        sa.Column("run_id", sa.Uuid(), nullable=True, comment="Run"),
        sa.Column("job_run_id", sa.Uuid(), nullable=True, comment="Job run"),
        sa.Column("input_fingerprint", sa.Text(), nullable=True, comment="Input fingerprint"),
        sa.ForeignKeyConstraint(
            ["book_id"], ["hierarchy_node.id"], name=op.f("fk_pnl_fact_book_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["job_run_id"], ["job_run.id"], name=op.f("fk_pnl_fact_job_run_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["workflow_run.id"], name=op.f("fk_pnl_fact_run_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pnl_fact")),
        sa.UniqueConstraint(
            "business_date", "book_id", "measure", "currency", "source", "version", name="uq_pnl_fact_version"
        ),
        comment="PnL fact",
    )
    op.create_index(op.f("ix_pnl_fact_book_id"), "pnl_fact", ["book_id"], unique=False)
    op.create_index(
        "ix_pnl_fact_current_date",
        "pnl_fact",
        ["business_date", "measure"],
        unique=False,
        postgresql_where=sa.text("current"),
    )
    op.create_index(op.f("ix_pnl_fact_job_run_id"), "pnl_fact", ["job_run_id"], unique=False)
    op.create_index(op.f("ix_pnl_fact_run_id"), "pnl_fact", ["run_id"], unique=False)
    op.create_index(
        "uq_pnl_fact_current",
        "pnl_fact",
        ["business_date", "book_id", "measure", "currency", "source"],
        unique=True,
        postgresql_where=sa.text("current"),
    )
    op.create_table(
        "rate_load",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False, comment="Reference"),
        sa.Column("source", sa.Text(), nullable=False, comment="Source"),
        sa.Column("business_date", sa.Date(), nullable=False, comment="Business date"),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="Version"),
        sa.Column("content_hash", sa.Text(), nullable=False, comment="Content hash"),
        sa.Column("file_name", sa.Text(), nullable=False, comment="File name"),
        sa.Column("row_count", sa.BigInteger(), nullable=False, comment="Row count"),
        sa.Column("job_run_id", sa.Uuid(), nullable=True, comment="Job run"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Reason"),
        sa.ForeignKeyConstraint(
            ["job_run_id"], ["job_run.id"], name=op.f("fk_rate_load_job_run_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rate_load")),
        sa.UniqueConstraint("reference", name="uq_rate_load_reference"),
        sa.UniqueConstraint("source", "business_date", "content_hash", name="uq_rate_load_content"),
        comment="Rate load",
    )
    op.create_index(op.f("ix_rate_load_job_run_id"), "rate_load", ["job_run_id"], unique=False)
    op.create_table(
        "market_rate",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("business_date", sa.Date(), nullable=False, comment="Business date"),
        sa.Column("currency", sa.Text(), nullable=False, comment="Currency"),
        sa.Column("source", sa.Text(), nullable=False, comment="Source"),
        sa.Column("value", types.Amount(30, 12), nullable=False, comment="Rate per EUR"),
        sa.Column("previous_value", types.Amount(30, 12), nullable=True, comment="Previous"),
        sa.Column("change_percent", types.Amount(12, 6), nullable=True, comment="Change %"),
        sa.Column("quality", sa.Text(), nullable=False, comment="Quality"),
        sa.Column("quality_note", sa.Text(), nullable=True, comment="Quality note"),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="Version"),
        sa.Column("current", sa.Boolean(), nullable=False, comment="Current"),
        sa.Column("load_id", sa.Uuid(), nullable=False, comment="Load"),
        sa.Column("row_number", sa.BigInteger(), nullable=True, comment="Row in the file"),
        sa.CheckConstraint(
            "quality IN ('unchecked', 'ok', 'stale', 'outlier')", name=op.f("ck_market_rate_quality_choice")
        ),
        sa.CheckConstraint("value > 0", name=op.f("ck_market_rate_positive")),
        sa.ForeignKeyConstraint(
            ["load_id"], ["rate_load.id"], name=op.f("fk_market_rate_load_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_market_rate")),
        sa.UniqueConstraint("source", "business_date", "currency", "version", name="uq_market_rate_version"),
        comment="Market rate",
    )
    op.create_index(op.f("ix_market_rate_load_id"), "market_rate", ["load_id"], unique=False)
    op.create_index(
        "uq_market_rate_current",
        "market_rate",
        ["source", "business_date", "currency"],
        unique=True,
        postgresql_where=sa.text("current"),
    )
    op.create_table(
        "audit_entry",
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("on_behalf_of", sa.Uuid(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("grant_id", sa.Uuid(), nullable=True),
        sa.Column("allowed_by", sa.Text(), nullable=True),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=True),
        sa.Column("record_id", sa.Uuid(), nullable=True),
        sa.Column("before", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("context", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="ok", nullable=False),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("outcome IN ('ok', 'denied', 'failed')", name=op.f("ck_audit_entry_outcome")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_entry")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_entry_id")),
    )
    op.create_index("ix_audit_entry_actor", "audit_entry", ["actor_id", "sequence"], unique=False)
    op.create_index("ix_audit_entry_at", "audit_entry", ["at"], unique=False, postgresql_using="brin")
    op.create_index("ix_audit_entry_record", "audit_entry", ["entity", "record_id", "sequence"], unique=False)
    op.create_table(
        "demo_clock",
        sa.Column("one_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("shift", sa.Interval(), nullable=False),
        sa.Column("set_at", types.UtcDateTime(), nullable=False),
        sa.CheckConstraint("one_row", name=op.f("ck_demo_clock_single")),
        sa.PrimaryKeyConstraint("one_row", name=op.f("pk_demo_clock")),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("actor_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("actor_id", "key", name=op.f("pk_idempotency_key")),
    )
    op.create_index(op.f("ix_idempotency_key_created_at"), "idempotency_key", ["created_at"], unique=False)
    op.create_table(
        "metadata_revision",
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("published_at", types.UtcDateTime(), nullable=False),
        sa.Column("published_by", sa.Uuid(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_metadata_revision")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("available_at", types.UtcDateTime(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default="5", nullable=False),
        sa.Column("relayed_at", types.UtcDateTime(), nullable=True),
        sa.Column("lease_until", types.UtcDateTime(), nullable=True),
        sa.Column("done_at", types.UtcDateTime(), nullable=True),
        sa.Column("failed_at", types.UtcDateTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(
        "ix_outbox_due",
        "outbox",
        ["available_at"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL AND failed_at IS NULL"),
    )
    op.create_table(
        "reference_counter",
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entity", "period", name=op.f("pk_reference_counter")),
    )
    op.execute(
        """
CREATE OR REPLACE FUNCTION steps_now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT clock_timestamp() + coalesce((SELECT shift FROM demo_clock), interval '0')
$$
"""
    )
    op.execute(
        """
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries are never changed or deleted' USING ERRCODE = 'integrity_constraint_violation';
END
$$
"""
    )
    op.execute(
        """
CREATE OR REPLACE TRIGGER audit_entry_is_append_only BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()
"""
    )
    op.execute(
        """
CREATE OR REPLACE TRIGGER audit_entry_is_never_truncated BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
"""
    )


def downgrade() -> None:
    op.drop_table("reference_counter")
    op.drop_index(
        "ix_outbox_due", table_name="outbox", postgresql_where=sa.text("done_at IS NULL AND failed_at IS NULL")
    )
    op.drop_table("outbox")
    op.drop_table("metadata_revision")
    op.drop_index(op.f("ix_idempotency_key_created_at"), table_name="idempotency_key")
    op.drop_table("idempotency_key")
    op.drop_table("demo_clock")
    op.drop_index("ix_audit_entry_record", table_name="audit_entry")
    op.drop_index("ix_audit_entry_at", table_name="audit_entry", postgresql_using="brin")
    op.drop_index("ix_audit_entry_actor", table_name="audit_entry")
    op.drop_table("audit_entry")
    op.drop_index("uq_market_rate_current", table_name="market_rate", postgresql_where=sa.text("current"))
    op.drop_index(op.f("ix_market_rate_load_id"), table_name="market_rate")
    op.drop_table("market_rate")
    op.drop_index(op.f("ix_rate_load_job_run_id"), table_name="rate_load")
    op.drop_table("rate_load")
    op.drop_index("uq_pnl_fact_current", table_name="pnl_fact", postgresql_where=sa.text("current"))
    op.drop_index(op.f("ix_pnl_fact_run_id"), table_name="pnl_fact")
    op.drop_index(op.f("ix_pnl_fact_job_run_id"), table_name="pnl_fact")
    op.drop_index("ix_pnl_fact_current_date", table_name="pnl_fact", postgresql_where=sa.text("current"))
    op.drop_index(op.f("ix_pnl_fact_book_id"), table_name="pnl_fact")
    op.drop_table("pnl_fact")
    op.drop_index(op.f("ix_job_attempt_job_run_id"), table_name="job_attempt")
    op.drop_table("job_attempt")
    op.drop_index("ix_process_transition_run_at", table_name="process_transition")
    op.drop_index(op.f("ix_process_transition_process_run_id"), table_name="process_transition")
    op.drop_index(op.f("ix_process_transition_actor_id"), table_name="process_transition")
    op.drop_table("process_transition")
    op.drop_index(op.f("ix_process_edge_successor_id"), table_name="process_edge")
    op.drop_index(op.f("ix_process_edge_run_id"), table_name="process_edge")
    op.drop_index(op.f("ix_process_edge_predecessor_id"), table_name="process_edge")
    op.drop_table("process_edge")
    op.drop_index(op.f("ix_process_approval_process_run_id"), table_name="process_approval")
    op.drop_index(op.f("ix_process_approval_actor_id"), table_name="process_approval")
    op.drop_table("process_approval")
    op.drop_index(op.f("ix_job_run_process_run_id"), table_name="job_run")
    op.drop_index(
        "ix_job_run_live", table_name="job_run", postgresql_where=sa.text("state IN ('queued', 'running', 'retrying')")
    )
    op.drop_table("job_run")
    op.drop_index(op.f("ix_checklist_answer_process_run_id"), table_name="checklist_answer")
    op.drop_index(op.f("ix_checklist_answer_actor_id"), table_name="checklist_answer")
    op.drop_table("checklist_answer")
    op.drop_index(op.f("ix_process_run_stage_run_id"), table_name="process_run")
    op.drop_index(op.f("ix_process_run_run_id"), table_name="process_run")
    op.drop_index("ix_process_run_rank", table_name="process_run")
    op.drop_index(op.f("ix_process_run_process_id"), table_name="process_run")
    op.drop_index(
        "ix_process_run_planned",
        table_name="process_run",
        postgresql_where=sa.text("state = 'planned' AND waiting_on = 0"),
    )
    op.drop_index(
        "ix_process_run_open",
        table_name="process_run",
        postgresql_where=sa.text("state NOT IN ('done', 'skipped', 'cancelled', 'planned')"),
    )
    op.drop_index(op.f("ix_process_run_node_id"), table_name="process_run")
    op.drop_index(op.f("ix_process_run_maker_id"), table_name="process_run")
    op.drop_index(op.f("ix_process_run_assignee_id"), table_name="process_run")
    op.drop_index(op.f("ix_process_run_application_id"), table_name="process_run")
    op.drop_table("process_run")
    op.drop_index(op.f("ix_process_evidence_parent_id"), table_name="process_evidence")
    op.drop_table("process_evidence")
    op.drop_index(op.f("ix_process_dependency_version_id"), table_name="process_dependency")
    op.drop_index(op.f("ix_process_dependency_successor_id"), table_name="process_dependency")
    op.drop_index(op.f("ix_process_dependency_predecessor_id"), table_name="process_dependency")
    op.drop_table("process_dependency")
    op.drop_index(op.f("ix_process_checklist_item_parent_id"), table_name="process_checklist_item")
    op.drop_table("process_checklist_item")
    op.drop_index(op.f("ix_process_approval_level_parent_id"), table_name="process_approval_level")
    op.drop_table("process_approval_level")
    op.drop_index(op.f("ix_stage_run_stage_id"), table_name="stage_run")
    op.drop_index(op.f("ix_stage_run_run_id"), table_name="stage_run")
    op.drop_index(op.f("ix_stage_run_parent_stage_id"), table_name="stage_run")
    op.drop_table("stage_run")
    op.drop_index(op.f("ix_process_version_id"), table_name="process")
    op.drop_index(op.f("ix_process_stage_id"), table_name="process")
    op.drop_index(op.f("ix_process_node_id"), table_name="process")
    op.drop_table("process")
    op.drop_index(op.f("ix_breach_run_id"), table_name="breach")
    op.drop_index(op.f("ix_breach_commented_by_id"), table_name="breach")
    op.drop_index(op.f("ix_breach_book_id"), table_name="breach")
    op.drop_table("breach")
    op.drop_index(op.f("ix_workflow_run_workflow_id"), table_name="workflow_run")
    op.drop_index(op.f("ix_workflow_run_version_id"), table_name="workflow_run")
    op.drop_index(op.f("ix_workflow_run_node_id"), table_name="workflow_run")
    op.drop_index("ix_workflow_run_date", table_name="workflow_run")
    op.drop_index(op.f("ix_workflow_run_application_id"), table_name="workflow_run")
    op.drop_table("workflow_run")
    op.drop_index(op.f("ix_stage_version_id"), table_name="stage")
    op.drop_index("ix_stage_path", table_name="stage", postgresql_using="gist")
    op.drop_index(op.f("ix_stage_parent_id"), table_name="stage")
    op.drop_table("stage")
    op.drop_index(
        "uq_workflow_version_one_draft", table_name="workflow_version", postgresql_where=sa.text("state = 'draft'")
    )
    op.drop_index(op.f("ix_workflow_version_workflow_id"), table_name="workflow_version")
    op.drop_index(op.f("ix_workflow_version_published_by_id"), table_name="workflow_version")
    op.drop_table("workflow_version")
    op.drop_index(op.f("ix_sla_event_clock_id"), table_name="sla_event")
    op.drop_table("sla_event")
    op.drop_index(op.f("ix_file_version_file_id"), table_name="file_version")
    op.drop_table("file_version")
    op.drop_index(op.f("ix_workflow_node_id"), table_name="workflow")
    op.drop_index(op.f("ix_workflow_calendar_id"), table_name="workflow")
    op.drop_index(op.f("ix_workflow_application_id"), table_name="workflow")
    op.drop_table("workflow")
    op.drop_index(op.f("ix_trade_book_id"), table_name="trade")
    op.drop_index("ix_trade_book_date", table_name="trade")
    op.drop_table("trade")
    op.drop_index(op.f("ix_sla_clock_record_id"), table_name="sla_clock")
    op.drop_index(op.f("ix_sla_clock_policy_id"), table_name="sla_clock")
    op.drop_index(op.f("ix_sla_clock_node_id"), table_name="sla_clock")
    op.drop_index(
        "ix_sla_clock_next_fire", table_name="sla_clock", postgresql_where=sa.text("next_fire_at IS NOT NULL")
    )
    op.drop_index(op.f("ix_sla_clock_application_id"), table_name="sla_clock")
    op.drop_table("sla_clock")
    op.drop_index("ix_role_grant_user_open", table_name="role_grant", postgresql_where=sa.text("revoked_at IS NULL"))
    op.drop_index(op.f("ix_role_grant_user_id"), table_name="role_grant")
    op.drop_index(op.f("ix_role_grant_role_id"), table_name="role_grant")
    op.drop_index(op.f("ix_role_grant_node_id"), table_name="role_grant")
    op.drop_index(op.f("ix_role_grant_application_id"), table_name="role_grant")
    op.drop_table("role_grant")
    op.drop_index(op.f("ix_position_book_id"), table_name="position")
    op.drop_table("position")
    op.drop_index(op.f("ix_pnl_threshold_node_id"), table_name="pnl_threshold")
    op.drop_table("pnl_threshold")
    op.drop_index(op.f("ix_hierarchy_node_version_parent_id"), table_name="hierarchy_node_version")
    op.drop_index(op.f("ix_hierarchy_node_version_node_id"), table_name="hierarchy_node_version")
    op.drop_index(op.f("ix_hierarchy_node_version_merged_into_id"), table_name="hierarchy_node_version")
    op.drop_table("hierarchy_node_version")
    op.drop_index("uq_file_name", table_name="file", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("ix_file_record_pair", table_name="file")
    op.drop_index(op.f("ix_file_record_id"), table_name="file")
    op.drop_index(op.f("ix_file_node_id"), table_name="file")
    op.drop_index(op.f("ix_file_application_id"), table_name="file")
    op.drop_table("file")
    op.drop_index(op.f("ix_calendar_day_parent_id"), table_name="calendar_day")
    op.drop_table("calendar_day")
    op.drop_index(op.f("ix_user_session_user_id"), table_name="user_session")
    op.drop_table("user_session")
    op.drop_index(op.f("ix_sla_policy_calendar_id"), table_name="sla_policy")
    op.drop_table("sla_policy")
    op.drop_index(op.f("ix_saved_view_owner_id"), table_name="saved_view")
    op.drop_table("saved_view")
    op.drop_index(op.f("ix_notification_user_id"), table_name="notification")
    op.drop_index("ix_notification_unread", table_name="notification", postgresql_where=sa.text("read_at IS NULL"))
    op.drop_index(op.f("ix_notification_record_id"), table_name="notification")
    op.drop_index("ix_notification_latest", table_name="notification")
    op.drop_table("notification")
    op.drop_index("ix_hierarchy_node_path", table_name="hierarchy_node", postgresql_using="gist")
    op.drop_index(op.f("ix_hierarchy_node_parent_id"), table_name="hierarchy_node")
    op.drop_index(op.f("ix_hierarchy_node_merged_into_id"), table_name="hierarchy_node")
    op.drop_index(op.f("ix_hierarchy_node_hierarchy_id"), table_name="hierarchy_node")
    op.drop_index("ix_hierarchy_node_children", table_name="hierarchy_node")
    op.drop_table("hierarchy_node")
    op.drop_index(op.f("ix_calendar_version_published_by_id"), table_name="calendar_version")
    op.drop_index(op.f("ix_calendar_version_calendar_id"), table_name="calendar_version")
    op.drop_table("calendar_version")
    op.drop_index(op.f("ix_access_token_user_id"), table_name="access_token")
    op.drop_table("access_token")
    op.drop_table("role")
    op.drop_table("policy_line")
    op.drop_table("parameter")
    op.drop_index("ix_mail_message_queued", table_name="mail_message", postgresql_where=sa.text("state = 'queued'"))
    op.drop_table("mail_message")
    op.drop_table("hierarchy")
    op.drop_table("calendar")
    op.drop_table("application")
    op.drop_index(op.f("ix_app_user_manager_id"), table_name="app_user")
    op.drop_table("app_user")
