"""What a changed catalogue means for lists that were made before.

An item reaches lists in three ways: it may get into one (`entering`), it has to leave those that
it is in (`leaving`), and histories and reasons remember it (`remembered`): its history factors
weigh in a user's own, and reasons say its title.

- An item that the model knows has factors of its own; whatever is said of it changes its title
  in reasons, and no factor.
- Any other has those of its text and attributes, and changes wherever they do.
- An item that is available now and wasn't may enter; one that was and isn't leaves. Nothing else
  comes of availability: histories hold unavailable items too.
- Features are read by no model.

Trade-off: what is said of an item is compared, never its factors; a comma that the language model
reads over makes a changed item.
"""

from collections.abc import Collection
from dataclasses import dataclass

from models.data.interactions import Catalogue
from models.data.texts import item_text

_Facts = tuple[str, str, dict[str, str], bool]


@dataclass(frozen=True)
class CatalogueChanges:
    """The ids of the items that may enter lists, of those that leave and of those in histories."""

    entering: frozenset[str] = frozenset()
    leaving: frozenset[str] = frozenset()
    remembered: frozenset[str] = frozenset()


def changes(before: Catalogue, after: Catalogue, known: Collection[str]) -> CatalogueChanges:
    """Compare two catalogues; `known` are the ids of items with factors of their own.

    An item that is in one catalogue alone was added or removed.
    """
    old, new = _facts(before), _facts(after)
    entering, leaving, remembered = set(), set(), set()
    for item in old.keys() | new.keys():
        was, now = old.get(item), new.get(item)
        moved = was is None or now is None or (item not in known and _said(was) != _said(now))
        was_ranked, is_ranked = (facts is not None and facts[3] for facts in (was, now))
        if is_ranked and (moved or not was_ranked):
            entering.add(item)
        if was_ranked and (moved or not is_ranked):
            leaving.add(item)
        if moved or (was is not None and now is not None and was[0] != now[0]):
            remembered.add(item)
    return CatalogueChanges(frozenset(entering), frozenset(leaving), frozenset(remembered))


def _facts(catalogue: Catalogue) -> dict[str, _Facts]:
    """Return title, text, attributes and availability by item_id."""
    columns = (catalogue.titles, catalogue.texts, catalogue.attributes, catalogue.available)
    facts = zip(*columns, strict=True)
    return {
        item: (title, text, attributes, bool(available))
        for item, (title, text, attributes, available) in zip(
            catalogue.item_ids, facts, strict=True
        )
    }


def _said(facts: _Facts) -> tuple[str, dict[str, str]]:
    """Return what factors are predicted from."""
    title, text, attributes, _ = facts
    return item_text(title, text), attributes
