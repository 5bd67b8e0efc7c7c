"""Options of the data: whether items may be listed again, and how training texts are varied."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from models.options import Options, option

if TYPE_CHECKING:
    from models.data.repeats import Repeats


class RepeatOptions(Options):
    """Whether an item that a user has had may be listed again."""

    repeats: Literal["never", "after_days", "always"] = option(
        "never",
        "Whether an item that a user has had may be listed again: never, always, or so many days "
        "after the last time (`repeat_after_days`).",
    )
    repeat_after_days: int = option(
        30, "Days after which an item may be listed again, where `repeats` is after_days.",
        ge=1, le=3650,
    )  # fmt: skip

    had_from: float = option(
        0.0,
        "Value from which an interaction counts as having had the item, as a negative one does; "
        "0: the largest that `ingest` made of kinds of events, without kinds any.",
        ge=0, allow_inf_nan=False,
    )  # fmt: skip

    @property
    def repeat_policy(self) -> "Repeats":
        """The policy that the options say, once what the data say stands in `had_from`."""
        from models.data.repeats import Repeats  # needs numpy, which settings alone don't

        days = {"never": None, "after_days": float(self.repeat_after_days), "always": 0.0}
        return Repeats(days[self.repeats], self.had_from)

    @property
    def repeats_told(self) -> str:
        """The options as a message says them."""
        return ", ".join(f"`{name}` {getattr(self, name)}" for name in RepeatOptions.model_fields)

    @classmethod
    def trained_with(cls, settings: Mapping[str, object]) -> "RepeatOptions":
        """Return the policy among the settings of a version; never, where it is an earlier one."""
        return cls.model_validate({k: v for k, v in settings.items() if k in cls.model_fields})


class AugmentationOptions(Options):
    """In which ways training texts are varied; without any they are left as they are."""

    augmentations: str = option(
        "",
        "Ways to vary training texts, separated by commas: word_dropout, attribute_shuffle, typos, "
        "truncation, word_shuffle, paraphrase.",
    )
    augmented_copies: int = option(
        2, "Varied copies of each text, where `augmentations` are given.", ge=1, le=64
    )
    paraphrase_model: str = option(
        "", "Text-to-text model (local folder) that paraphrases; empty: none."
    )
