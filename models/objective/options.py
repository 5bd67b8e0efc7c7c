"""Options of the objective: the examples that a training step shows, and what regularises it."""

from models.options import Options, option


class ExampleOptions(Options):
    """Which users, items and labels a training step shows."""

    history_length: int = option(200, "Newest interactions of a user that count.", ge=1, le=2000)
    batch_users: int = option(64, "Users in a training step.", ge=1, le=8192)
    bucket_items: int = option(
        32,
        "Items in a training step; their factors are predicted from their texts.",
        ge=1,
        le=1024,
    )
    label_share: float = option(1.0, "Share of the training interactions that is used.", gt=0, le=1)
    pseudo_label_confidence: float = option(
        0.0,
        "Predicted probability of a like or a dislike from which an unlabelled pair is trained on "
        "as if labelled; 0: none.",
        ge=0,
        lt=1,
    )


class RegularisationOptions(Options):
    """What keeps the language model near its start, and what makes it robust."""

    anchor_weight: float = option(
        0.0, "Weight of the squared distance of tuned weights from their start.", ge=0, le=10**6
    )
    replay_weight: float = option(
        0.0,
        "Weight of the distance of general sentences' vectors from the pretrained ones.",
        ge=0,
        le=10**4,
    )
    adversarial_step: float = option(
        0.0,
        "Length of the adversarial step on token states, as a share of their own; 0: none.",
        ge=0,
        le=1,
    )
