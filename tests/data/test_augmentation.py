"""Varied texts: what each way keeps."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.augmentation import WAYS, chosen_ways, variants
from models.errors import InputError
from models.network.paraphrasing import paraphrases

texts = st.lists(st.text("abcdefgh", min_size=1, max_size=8), min_size=1, max_size=12).map(" ".join)


@given(texts, st.sampled_from(sorted(WAYS)), st.integers(0, 5))
def test_every_way_keeps_something_and_repeats_itself(text: str, way: str, seed: int) -> None:
    first, again = (WAYS[way](text, np.random.default_rng(seed)) for _ in range(2))
    assert first == again
    assert first.strip()
    assert Counter(first.replace(" ", "")) <= Counter(text.replace(" ", ""))


@given(texts, st.integers(0, 5))
def test_dropout_and_truncation_add_no_word_and_shuffling_loses_none(text: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    words = Counter(text.split())
    assert Counter(WAYS["word_dropout"](text, random).split()) <= words
    kept = WAYS["truncation"](text, random).split()
    assert kept == text.split()[: len(kept)]
    assert Counter(WAYS["word_shuffle"](text, random).split()) == words


def test_attributes_change_places_behind_the_title() -> None:
    text = "Alien (1979). Genres: Horror. Director: Ridley Scott. Country: UK."
    varied = {WAYS["attribute_shuffle"](text, np.random.default_rng(seed)) for seed in range(20)}
    assert len(varied) == 6
    for one in varied:
        assert one.startswith("Alien (1979). ")
        assert sorted(one.removesuffix(".").split(". ")) == sorted(
            text.removesuffix(".").split(". ")
        )


def test_copies_stand_beside_their_text() -> None:
    found = variants([["one two three four", "five six"]] * 3, ["word_shuffle"], 0)
    assert [len(copies) for copies in found] == [3, 3]
    assert all(sorted(copy.split()) == ["five", "six"] for copy in found[1])


def test_an_unknown_way_and_a_missing_model_are_named() -> None:
    with pytest.raises(InputError, match="setting `augmentations`: 'shout' is none of"):
        chosen_ways("typos, shout")
    with pytest.raises(InputError, match="setting `paraphrase_model`: `paraphrase` needs"):
        paraphrases(["Alien"], 1, 0, "")
    with pytest.raises(InputError, match="setting `paraphrase_model`: '/nowhere' can't be loaded"):
        paraphrases(["Alien"], 1, 0, "/nowhere")
