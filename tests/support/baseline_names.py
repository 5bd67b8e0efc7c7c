"""The baselines of every split but `cold_item`, in the order of the report."""

BASELINES = [
    "popularity",
    "popularity_3d",
    "popularity_7d",
    "popularity_30d",
    "ease",
    "ease_faded",
    "closed_form",
    "als",
]
