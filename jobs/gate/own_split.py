"""The split that a version was trained for, of any interactions, and what it may list again."""

from models.data.interactions import Interactions
from models.data.options import RepeatOptions
from models.data.splits import Split, make_split
from models.serving.bundle import Bundle


def repeats_of(bundle: Bundle) -> RepeatOptions:
    """Return what kept items off lists in the training of a version."""
    return RepeatOptions.trained_with(bundle.manifest.settings.values)


def split_of(bundle: Bundle, interactions: Interactions) -> Split:
    """Divide `interactions` as in a version's training.

    Raises InputError where nothing is left to test on.
    """
    policy = repeats_of(bundle).repeat_policy
    return make_split(bundle.manifest.split, interactions, bundle.positive_threshold, policy)
