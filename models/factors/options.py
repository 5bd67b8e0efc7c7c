"""Options of the closed-form factors."""

from models.options import Options, option


class StartOptions(Options):
    """How large the factors are that `collaborative_start` fits."""

    factors: int = option(
        448,
        "Dimensions of the factors fitted to histories; profiles and popularity come on top.",
        ge=16,
        le=4096,
    )
