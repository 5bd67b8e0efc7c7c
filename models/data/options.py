"""Options of the varied training texts."""

from models.options import Options, option


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
