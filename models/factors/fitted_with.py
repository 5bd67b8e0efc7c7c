"""What a data set chose for the fit of a version, beside the weights that its manifest keeps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FittedWith:
    """Options of the closed form that a data set chooses; all others are fixed in the code."""

    ease_penalty: float
    """Ridge penalty of EASE."""
    ease_below: float
    """What an interaction below the threshold counts in EASE beside a positive."""
    recent_times: float
    """What the half-life of recent popularity is multiplied by."""
