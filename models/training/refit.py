"""A version's closed form, fitted again to other interactions, with its language model kept.

- What a judged version serves was fitted without what it was judged on: the newest fifth of what
  each user liked. Its refit learns from everything, by the options and weights that were chosen.
- Factors, popularity, the maps from texts and attributes, and the items' levels of interest are
  new; the text encoder and the coefficients of interest stay.

Trade-off: nobody can judge a refit, since nothing is left to ask; it is compared with the judged
version's lists before it serves (`jobs.gate.refit_guard`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file

from models.compression.onnx_export import write_towers
from models.data.arrays import Mask
from models.data.attributes import AttributeColumns
from models.data.interactions import Catalogue, Interactions
from models.errors import InputError
from models.evaluation.interest import Interest
from models.factors.blocks import Block
from models.factors.start import Algorithms
from models.nights.recipe import recipe_of_version
from models.serving.bundle import INTEREST, Bundle
from models.serving.text_vectors import Encode
from models.training.weights import save_closed_form


@dataclass(frozen=True)
class Refit:
    """The fitted blocks; the items that have factors [n], and a level of interest [n]."""

    blocks: tuple[Block, ...]
    known: Mask
    rated: Mask


def write_refit(
    bundle: Bundle,
    catalogue: Catalogue,
    interactions: Interactions,
    profiles: Sequence[str],
    encode: Encode,
    folder: Path,
) -> Refit:
    """Fit the closed form of an exported version to `interactions`; write its files to `folder`.

    `profiles` are the texts of all users; `encode` gives the vectors of texts by the version's
    encoder. Raises InputError where the version doesn't say what it was fitted with, or there is
    no positive to fit to.
    """
    threshold = bundle.positive_threshold
    if not len(interactions.positives(threshold)):
        raise InputError(f"no interaction has a value of {threshold:g} or more: nothing to fit to")
    columns = AttributeColumns.fit(catalogue.attributes)
    recipe = recipe_of_version(
        bundle.manifest, catalogue, profiles, columns.encode(catalogue.attributes), encode
    )
    towers, text_map = recipe.fitted(interactions, threshold, algorithms_of(bundle))
    coefficients = load_file(bundle.path(INTEREST))["coefficients"]
    interest = Interest.fit(coefficients, interactions, threshold, recipe.items, recipe.columns)
    write_towers(towers, recipe.items.shape[1], folder)
    save_closed_form(text_map, interest, columns, folder)
    return Refit(towers.users.blocks, towers.known.numpy(), interest.rated)


def algorithms_of(bundle: Bundle) -> Algorithms:
    """Return the algorithms by which a version was fitted; InputError where it doesn't say."""
    manifest = bundle.manifest
    if manifest.fitted_with is None:
        raise InputError(
            f"model version {bundle.version} doesn't say what it was fitted with, since it was "
            "trained by an earlier nightrank: train again"
        )
    return Algorithms.of(manifest.fitted_with, manifest.blocks, manifest.popularity)
