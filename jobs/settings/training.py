"""The settings of `train`; `models/objective/task.py` has the options of the same names.

Trade-off: every method of fine-tuning is a setting of its own, off by default where it lost or
costs more than it brings (docs/fine-tuning.md), so that the list is long.
"""

from typing import Literal

from pydantic import BaseModel

from jobs.settings.declaration import setting


class TrainingSettings(BaseModel):
    """What a fine-tune reads, data and places apart."""

    encoder: str = setting(
        "all-MiniLM-L6-v2",
        "Language model: a packaged name, a local folder (a model version too) or a hub name.",
        "train",
        min_length=1,
    )
    max_tokens: int = setting(
        48, "Tokens of a text that the language model reads.", "train", ge=8, le=512
    )
    factors: int = setting(
        448,
        "Dimensions of what histories say, profiles and popularity apart.",
        "train",
        ge=16,
        le=4096,
    )
    split: Literal["warm", "global_time", "cold_item", "cold_user", "cold_user_0"] = setting(
        "warm",
        "Split whose training part is learned from; only `warm` versions are promoted.",
        "train",
    )
    history_length: int = setting(
        200, "Newest positives of a user that count.", "train", ge=1, le=2000
    )
    epochs: int = setting(6, "Passes over the items' texts at most.", "train", ge=1, le=1000)
    batch_users: int = setting(64, "Users in a training step.", "train", ge=1, le=8192)
    bucket_items: int = setting(
        32,
        "Items in a training step, whose texts stand in for their factors.",
        "train",
        ge=1,
        le=1024,
    )
    learning_rate: float = setting(1e-3, "Learning rate of the towers.", "train", gt=0, le=1)
    encoder_learning_rate: float = setting(
        2e-4, "Learning rate of the language model.", "train", gt=0, le=1
    )
    weight_decay: float = setting(0.01, "AdamW's weight decay.", "train", ge=0, le=10)
    warmup_share: float = setting(
        0.1, "Share of the steps in which the learning rates rise.", "train", ge=0, lt=1
    )
    patience: int = setting(
        3, "Validations without a better NDCG before training stops.", "train", ge=1, le=100
    )
    epochs_between_validations: int = setting(
        2, "Passes over the items' texts between two validations.", "train", ge=1, le=100
    )
    tuned_layers: int = setting(
        1,
        "Layers of the language model that are tuned, from the top; 0: the heads alone.",
        "train",
        ge=0,
        le=48,
    )
    unfreeze_epochs: int = setting(
        0,
        "Passes until one more tuned layer opens, from the top; 0: all from the start.",
        "train",
        ge=0,
        le=1000,
    )
    tuning: Literal["full", "lora", "adalora", "prefix", "adapters"] = setting(
        "full",
        "What is trained of a tuned layer: its weights, or few that are added to it.",
        "train",
    )
    tuning_rank: int = setting(
        8, "Rank of lora and adalora, tokens of a prefix, width of an adapter.", "train",
        ge=1, le=1024,
    )  # fmt: skip
    optimiser: Literal["adamw", "sgd"] = setting("adamw", "AdamW, or SGD with momentum.", "train")
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32", "Numbers of the training's matrix products; fp16 needs CUDA.", "train"
    )
    accumulated_steps: int = setting(
        1, "Steps whose gradients are added up before the weights move.", "train", ge=1, le=1024
    )
    checkpointing: bool = setting(
        False, "Whether layers are computed twice to save memory.", "train"
    )
    processes: int = setting(
        1, "Processes that share each training step, one for each GPU.", "train", ge=1, le=64
    )
    distillation_weight: float = setting(
        1.0, "Weight of texts telling the teacher's factors.", "train", ge=0, le=100
    )
    ranking_weight: float = setting(
        0.1, "Weight of the softmax over the catalogue.", "train", ge=0, le=100
    )
    interest_weight: float = setting(
        0.2, "Weight of liking or not, once seen.", "train", ge=0, le=100
    )
    rating_weight: float = setting(0.0, "Weight of the value given.", "train", ge=0, le=100)
    cosine_weight: float = setting(
        0.0, "Weight of users being near the items that they like.", "train", ge=0, le=100
    )
    learned_weights: bool = setting(
        False, "Whether uncertainty changes these weights in training.", "train"
    )
    sharding: bool = setting(
        False,
        "Whether the processes also share the layers of a model that no device holds (FSDP).",
        "train",
    )
    ranking_loss: Literal["softmax", "sampled_softmax", "gbce"] = setting(
        "softmax", "Over the whole catalogue, or over drawn negatives (logQ, gBCE).", "train"
    )
    negatives: int = setting(
        256, "Items drawn in a step where the loss draws negatives.", "train", ge=1, le=10**6
    )
    teacher_encoder: str = setting(
        "",
        "A larger language model (local folder) whose likeness of texts is learned; empty: none.",
        "train",
    )
    teacher_weight: float = setting(1.0, "Weight of that likeness.", "train", ge=0, le=100)
    anchor_weight: float = setting(
        0.0, "Weight of the squared distance of tuned weights from their start.", "train",
        ge=0, le=10**6,
    )  # fmt: skip
    replay_weight: float = setting(
        0.0, "Weight of general sentences keeping their pretrained vectors.", "train",
        ge=0, le=10**4,
    )  # fmt: skip
    adversarial_step: float = setting(
        0.0,
        "Length of the adversarial step on token states, as a share of theirs; 0: none.",
        "train",
        ge=0,
        le=1,
    )
    augmentations: str = setting(
        "",
        "Ways to vary training texts, by commas: word_dropout, attribute_shuffle, typos, "
        "truncation, word_shuffle, paraphrase.",
        "train",
    )
    augmented_copies: int = setting(
        2, "Varied copies of each text, where `augmentations` are given.", "train", ge=1, le=64
    )
    paraphrase_model: str = setting(
        "", "Text-to-text model (local folder) that paraphrases; empty: none.", "train"
    )
    label_share: float = setting(
        1.0, "Share of the training interactions that is used.", "train", gt=0, le=1
    )
    pseudo_label_confidence: float = setting(
        0.0,
        "Probability of liking or not from which unlabelled pairs teach too; 0: none.",
        "train",
        ge=0,
        lt=1,
    )
    tracking: Literal["tensorboard", "wandb"] = setting(
        "tensorboard", "Where curves go beside MLflow; wandb writes offline files.", "train"
    )
