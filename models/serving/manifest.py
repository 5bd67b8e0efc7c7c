"""The contents of `model.json`, which describes a model version, as types; reading and writing it.

- `Manifest.from_json` checks every key: one that is missing, unknown or of another type is an
  InputError that names the file and the key.
- A field with a default may be missing from the file, since earlier versions of nightrank didn't
  write it. Give every field that is added later a default.
- `EncoderFacts` is what encoding texts needs; in the file its keys are beside all others.

Trade-off: an unknown key is refused and not ignored, because a version written by a newer nightrank
might score wrongly without what the key asks for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from models.errors import InputError
from models.factors.blocks import Block
from models.factors.fitted_with import FittedWith
from models.factors.popularity import Popularity

Value = str | int | float | bool
EVERYTHING = "everything"  # the split of a version that may answer no question
T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True)
class EncoderFacts:
    """What is needed to feed texts to an encoder, and to continue its training."""

    max_tokens: int
    """Tokens of a text that it reads."""
    text_dim: int
    """Width of its vectors."""
    pooling: str = "mean"
    """How its tokens become a vector: "mean", "cls" or "max"."""
    normalised: bool = True
    """Whether its vectors have unit length."""
    prompt: str = ""
    """What is put before every text."""

    def to_json(self) -> dict[str, Any]:
        """Return the keys of `model.json`; those at their default are left out."""
        return {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if getattr(self, one.name) != one.default
        }


@dataclass(frozen=True)
class FileFacts:
    """One file of a version: its SHA-256 in hexadecimal, and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class TrainedWith:
    """The settings of a training, by name, as they were."""

    values: Mapping[str, Value]

    @property
    def positive_threshold(self) -> float:
        """The value from which an interaction was a positive."""
        return float(self._value("positive_threshold"))

    @property
    def seed(self) -> int:
        """The seed of everything random."""
        return int(self.values.get("seed", 0))

    @property
    def factors(self) -> int:
        """The dimensions of all blocks together."""
        return int(self._value("factors"))

    @property
    def encoder(self) -> str:
        """The language model that the training began with: a name or a folder."""
        return str(self._value("encoder"))

    @property
    def tuning(self) -> str:
        """The method by which the language model was tuned."""
        return str(self._value("tuning"))

    @property
    def tuned_layers(self) -> int:
        """How many of its layers were tuned."""
        return int(self._value("tuned_layers"))

    @property
    def tuning_rank(self) -> int:
        """The rank, prefix length or adapter width of that method."""
        return int(self._value("tuning_rank"))

    def _value(self, name: str) -> Value:
        if name not in self.values:
            raise InputError(f"model.json has no setting `{name}`: train again")
        return self.values[name]


@dataclass(frozen=True)
class Manifest:
    """The description of a model version; the fields are the keys of `model.json`."""

    version: str
    """The version's name, which is also its folder's."""
    split: str
    """The split whose training part it learned from, and which alone it may answer."""
    settings: TrainedWith
    """The settings of its training."""
    tables: Mapping[str, int]
    """The version of each table that it was trained on."""
    item_ids: list[str]
    """Ids of the items with factors of their own, in the order of those."""
    rated_item_ids: list[str]
    """Ids of the items with a level of interest of their own, in the order of those."""
    blocks: tuple[Block, ...]
    """The collaborative blocks, in the order of their dimensions."""
    popularity: Popularity
    """How popularity is weighed."""
    encoder: EncoderFacts
    """What its text encoder needs; keys of their own in the file."""
    history_length: int
    """Newest interactions of a user that count."""
    metrics: Mapping[str, float]
    """What training and export measured, by name."""
    learning_curve: Sequence[Mapping[str, float]]
    """For each logged step of the training: `step` and what was measured."""
    libraries: Mapping[str, str]
    """Versions of the libraries that trained it."""
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    """Every other file in the folder, by its path there; `write_manifest` fills it in."""
    trained_version: str | None = None
    """The version that this one is an export of; None for one that `train` made."""
    export_settings: Mapping[str, Value] | None = None
    """The settings of the export; None for a version that `train` made."""
    code: str | None = None
    """Hash of the code that trained it; None before 0.2.0, as the three below."""
    export_code: str | None = None
    """Hash of the code that exported it."""
    export_machine: Mapping[str, str] | None = None
    """The machine on which the export measured what suits it; None where nothing was measured."""
    quantisation: str | None = None
    """The kind of quantisation that the exported encoder has."""
    trained_until: float | None = None
    """When the newest interaction of its training was, in seconds since 1970; None before 0.3.0."""
    contents: str | None = None
    """Hash of the data that it was trained on; None before 0.3.0."""
    fitted_with: FittedWith | None = None
    """What the data chose for its closed form; None before 0.3.0."""
    judged_version: str | None = None
    """The version that was judged, of which this one is a refit on everything; else None."""

    def to_json(self) -> dict[str, Any]:
        """Return the contents of `model.json`; fields that are None are left out."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        content |= {
            **self.encoder.to_json(),
            "settings": dict(self.settings.values),
            "blocks": [asdict(block) for block in self.blocks],
            "popularity": asdict(self.popularity),
            "fitted_with": None if self.fitted_with is None else asdict(self.fitted_with),
            "files": {name: asdict(facts) for name, facts in self.files.items()},
        }
        return {name: one for name, one in content.items() if one is not None and name != "encoder"}

    @classmethod
    def from_json(cls, content: object, file: Path) -> "Manifest":
        """Return the manifest in `content`, the JSON of `file`; InputError names what is wrong."""
        keys = _Keys(content, file)
        manifest = cls(
            version=keys.take("version", _text),
            split=keys.take("split", _text),
            settings=TrainedWith(keys.take("settings", _mapping(_value))),
            tables=keys.take("tables", _mapping(_whole)),
            item_ids=keys.take("item_ids", _list(_text)),
            rated_item_ids=keys.take("rated_item_ids", _list(_text)),
            blocks=tuple(keys.take("blocks", _list(_record(Block, "below")))),
            popularity=keys.take("popularity", _record(Popularity, "visiting", "unknown_visiting")),
            encoder=EncoderFacts(
                max_tokens=keys.take("max_tokens", _whole),
                text_dim=keys.take("text_dim", _whole),
                pooling=keys.take("pooling", _text, "mean"),
                normalised=keys.take("normalised", _truth, True),
                prompt=keys.take("prompt", _text, ""),
            ),
            history_length=keys.take("history_length", _whole),
            metrics=keys.take("metrics", _mapping(_number)),
            learning_curve=keys.take("learning_curve", _list(_mapping(_number))),
            libraries=keys.take("libraries", _mapping(_text)),
            files=keys.take("files", _mapping(_record(FileFacts))),
            trained_version=keys.take("trained_version", _text, None),
            export_settings=keys.take("export_settings", _mapping(_value), None),
            code=keys.take("code", _text, None),
            export_code=keys.take("export_code", _text, None),
            export_machine=keys.take("export_machine", _mapping(_text), None),
            quantisation=keys.take("quantisation", _text, None),
            trained_until=keys.take("trained_until", _number, None),
            contents=keys.take("contents", _text, None),
            fitted_with=keys.take("fitted_with", _record(FittedWith), None),
            judged_version=keys.take("judged_version", _text, None),
        )
        keys.refuse_others()
        return manifest


class _Keys:
    """The keys of a JSON object, read one by one; errors name the `file` and the key."""

    def __init__(self, content: object, file: Path) -> None:
        if not isinstance(content, dict):
            raise InputError(f"{file}: expected an object of keys, got {type(content).__name__}")
        self._left = dict(content)
        self._file = file

    def take(self, name: str, read: Callable[[object], T], *default: D) -> T | D:
        if name not in self._left:
            if default:
                return default[0]
            raise InputError(f"{self._file}: key `{name}` is missing: restore it or train again")
        try:
            return read(self._left.pop(name))
        except (TypeError, ValueError) as error:
            raise InputError(f"{self._file}: key `{name}`: {error}") from error

    def refuse_others(self) -> None:
        if self._left:
            raise InputError(
                f"{self._file}: unknown key `{min(self._left)}`: the version was written by "
                "another nightrank; use that one, or train again"
            )


def _just(kind: type[T]) -> Callable[[object], T]:
    return lambda value: _checked(value, kind)


_text, _truth, _whole = _just(str), _just(bool), _just(int)


def _number(value: object) -> float:
    return value if type(value) is int else _checked(value, float)


def _value(value: object) -> Value:
    return value if isinstance(value, str | int | float) else _checked(value, str)


def _list(read: Callable[[object], T]) -> Callable[[object], list[T]]:
    return lambda value: [read(one) for one in _checked(value, list)]


def _mapping(read: Callable[[object], T]) -> Callable[[object], dict[str, T]]:
    return lambda value: {str(name): read(one) for name, one in _checked(value, dict).items()}


def _record(kind: type[T], *younger: str) -> Callable[[object], T]:
    """Return what reads an object whose keys are the fields of the dataclass `kind`.

    The fields `younger` have defaults and may be missing, in versions of earlier releases.
    """
    types = get_type_hints(kind)
    needed = types.keys() - younger

    def read(value: object) -> T:
        given = _checked(value, dict)
        for name in sorted((needed - given.keys()) | (given.keys() - types.keys())):
            raise ValueError(f"`{name}` is {'missing' if name in types else 'unknown'}")
        return kind(**{name: _READERS[types[name]](one) for name, one in given.items()})

    return read


def _four_numbers(value: object) -> tuple[float, ...]:
    found = tuple(_list(_number)(value))
    if len(found) != 4:
        raise ValueError(f"expected four numbers, got {len(found)}")
    return found


def _checked(value: object, kind: type[T]) -> T:
    """Return `value`; TypeError where it isn't just of that type (True is no number)."""
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {value!r:.60}")
    return value


_READERS: dict[object, Callable[[object], object]] = {
    str: _text,
    int: _whole,
    float: _number,
    tuple[float, float, float, float]: _four_numbers,
}
