"""What a night may differ by from the nights before it, and still be published."""

from jobs.settings.declaration import setting
from models.options import Options


class AuditOptions(Options):
    """Bounds of the audit; each check has the name of its setting, without `audit_`."""

    audit_nights: int = setting(
        7, "Newest earlier nights whose medians a night is held against.", "publish", ge=1, le=365
    )
    audit_users: float = setting(
        0.3, "Largest share of users that a night may have fewer than the nights before.",
        "publish", ge=0, le=1,
    )  # fmt: skip
    audit_rows: float = setting(
        0.3, "Largest share of rows that a night may have fewer than the nights before.",
        "publish", ge=0, le=1,
    )  # fmt: skip
    audit_missing_users: float = setting(
        0.3, "Largest share of the last night's users that a night may lack.",
        "publish", ge=0, le=1,
    )  # fmt: skip
    audit_catalogue: float = setting(
        0.5, "Largest share of available items that a night may have fewer than those before.",
        "publish", ge=0, le=1,
    )  # fmt: skip
    audit_churn: float = setting(
        0.9, "Largest share of entries that may be new in their list since the last night.",
        "publish", ge=0, le=1,
    )  # fmt: skip
    audit_coverage: float = setting(
        0.7, "Largest share of different items that lists may have fewer than the nights before.",
        "publish", ge=0, le=1,
    )  # fmt: skip
    audit_overlap: float = setting(
        0.9, "Largest mean overlap of two users' lists: 0 by chance, 1 where all are equal.",
        "publish", ge=0, le=1,
    )  # fmt: skip
    audit_top_item: float = setting(
        1.0, "Largest share of lists that may hold the same item: 0 by chance, 1 where all do.",
        "publish", ge=0, le=1,
    )  # fmt: skip
