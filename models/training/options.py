"""Options of the training loop, and those of a whole fine-tune."""

from typing import Literal

from models.data.options import AugmentationOptions
from models.factors.options import StartOptions
from models.network.options import AdaptationOptions, LossOptions
from models.objective.options import ExampleOptions, RegularisationOptions
from models.options import Options, SeedOptions, option


class LoopOptions(Options):
    """How the weights are updated, for how long, and on what hardware."""

    epochs: int = option(6, "Passes over the items' texts at most.", ge=1, le=1000)
    learning_rate: float = option(1e-3, "Learning rate of the towers.", gt=0, le=1)
    encoder_learning_rate: float = option(2e-4, "Learning rate of the language model.", gt=0, le=1)
    weight_decay: float = option(0.01, "Weight decay of the optimiser.", ge=0, le=10)
    warmup_share: float = option(
        0.1, "Share of the steps in which the learning rates rise from zero.", ge=0, lt=1
    )
    patience: int = option(
        3, "Validations without a better NDCG before training stops.", ge=1, le=100
    )
    epochs_between_validations: int = option(
        2, "Passes over the items' texts between two validations.", ge=1, le=100
    )
    optimiser: Literal["adamw", "sgd"] = option("adamw", "AdamW, or SGD with momentum.")
    precision: Literal["fp32", "bf16", "fp16"] = option(
        "fp32", "Precision of the training's matrix products; fp16 needs CUDA."
    )
    accumulated_steps: int = option(
        1, "Steps whose gradients are added up before the weights are updated.", ge=1, le=1024
    )
    checkpointing: bool = option(
        False, "Whether activations are computed again in the backward pass, to save memory."
    )
    processes: int = option(
        1, "Processes that share each training step, one for each GPU.", ge=1, le=64
    )
    sharding: bool = option(
        False,
        "Whether the processes also share the layers of a model too large for one device (FSDP).",
    )
    tracking: Literal["tensorboard", "wandb"] = option(
        "tensorboard", "Where learning curves go besides MLflow; wandb writes offline files."
    )


class FinetuneOptions(SeedOptions):
    """All options of a fine-tune; `FinetuneOptions.of(settings)` fills them by name."""

    start: StartOptions
    adaptation: AdaptationOptions
    losses: LossOptions
    regularisation: RegularisationOptions
    examples: ExampleOptions
    augmentation: AugmentationOptions
    loop: LoopOptions
