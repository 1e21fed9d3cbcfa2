"""campaigns."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "campaign_messages",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("run_date", sa.Text(), nullable=False),
        sa.Column("journey", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("planned_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("message_id"),
        sa.UniqueConstraint("campaign", "user_id", "run_date", name="campaign_messages_once_a_day"),
    )
    op.create_index("campaign_messages_due", "campaign_messages", ["state", "due_at"], unique=False)
    op.create_index("campaign_messages_of_user", "campaign_messages", ["user_id", "done_at"], unique=False)
    op.create_table(
        "journey_customers",
        sa.Column("journey", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("entered_at", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("journey", "user_id"),
    )
    op.create_index(
        "journey_customers_due", "journey_customers", ["journey", "ended_at", "due_at"], unique=False
    )
    op.create_index("journey_customers_of_user", "journey_customers", ["user_id"], unique=False)


def downgrade() -> None:
    """Backwards."""
    op.drop_index("journey_customers_of_user", table_name="journey_customers")
    op.drop_index("journey_customers_due", table_name="journey_customers")
    op.drop_table("journey_customers")
    op.drop_index("campaign_messages_of_user", table_name="campaign_messages")
    op.drop_index("campaign_messages_due", table_name="campaign_messages")
    op.drop_table("campaign_messages")
