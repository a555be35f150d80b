"""How a model's keys and numbers become an embodiment's, as data: one YAML file a protocol and embodiment.

A file under ``mappings/PROTOCOL/EMBODIMENT.yaml`` says which camera, state stream and action dimension stands behind
which key of the protocol. Clients read it in one direction, servers in the other, so that they cannot disagree. A robot
of your own gets a file of its own, named in the policy's address (``mapping=FILE``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.embodiment.checked import Checked, read_checked
from world2act_core.errors import ContractError
from world2act_core.policies.pictures import fitted, mirrored
from world2act_core.rotations import AXIS_ANGLE, axis_angle_from_quaternion, quaternion_from_axis_angle
from world2act_core.types import Array, Observation

ORIENTATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    AXIS_ANGLE: (axis_angle_from_quaternion, quaternion_from_axis_angle),
}
STILL_PROMPT = "stand still"
"""What a policy is told when it is asked only to see what it answers."""


@dataclass(frozen=True)
class ImageKey:
    """An image of the protocol: ``camera``'s, fitted to ``(rows, columns)`` and, if so, mirrored.

    ``frame``: rows and columns of the frame from which the model's makers fit it; None: they render its own size.
    """

    key: str
    camera: str
    rows: int
    columns: int
    mirror: bool
    frame: tuple[int, int] | None = None


@dataclass(frozen=True)
class Part:
    """``stream``, or one ``column`` of it (None: all), in its own numbers or as the orientation ``form`` says."""

    stream: str
    form: str
    column: int | None
    size: int

    @property
    def where(self) -> slice:
        return slice(None) if self.column is None else slice(self.column, self.column + 1)


@dataclass(frozen=True)
class StateKey:
    """A state vector of the protocol: parts one after the other. ``extra`` ones travel only if a policy needs them."""

    key: str
    parts: tuple[Part, ...]
    extra: bool

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


@dataclass(frozen=True)
class ActionKey:
    """An action vector of the protocol.

    Attributes:
        dimensions: indices of the embodiment's action dimensions.
        at_low, at_high: its values where the embodiment's are at their lowest and highest; None if they are the same.
    """

    key: str
    dimensions: tuple[int, ...]
    at_low: float | None
    at_high: float | None


@dataclass(frozen=True)
class ModelMapping:
    """One protocol's keys for one embodiment.

    Attributes:
        language: key under which the prompt travels.
        fixed: index of an action dimension that the model does not know → its value.
        file: where it was read from, for messages.
    """

    images: dict[str, ImageKey]
    state: dict[str, StateKey]
    actions: dict[str, ActionKey]
    language: str
    embodiment: Embodiment
    file: str
    fixed: Mapping[int, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of what it says, wherever that was read from: the same numbers mean something else by another."""
        said = [sorted(part.items()) for part in (self.images, self.state, self.actions, self.fixed)]
        return hashlib.sha256(repr((said, self.language)).encode()).hexdigest()

    @property
    def standard_state(self) -> tuple[str, ...]:
        """State keys that everybody who speaks the protocol sends."""
        return tuple(key for key, entry in self.state.items() if not entry.extra)

    def frame_sizes(self, keys: Sequence[str] | None = None) -> dict[str, list[int]]:
        """Camera → rows and columns of the frames that suit the model best; of the named image keys, or of all."""
        entries = [self.images[key] for key in (self.images if keys is None else keys)]
        return {entry.camera: list(entry.frame or (entry.rows, entry.columns)) for entry in entries}

    def resized(self, sizes: Mapping[str, tuple[int, int]]) -> ModelMapping:
        """The same with other rows and columns of some image keys."""
        images = dict(self.images)
        for key, (rows, columns) in sizes.items():
            images[key] = replace(images[key], rows=rows, columns=columns, frame=None)
        return replace(self, images=images)

    def image_keys(self, cameras: Sequence[str]) -> tuple[str, ...]:
        """Keys that carry these cameras.

        Raises:
            ContractError: one of them does not travel.
        """
        keys = {entry.camera: key for key, entry in reversed(self.images.items())}  # the first key wins
        for camera in cameras:
            if camera not in keys:
                raise ContractError(f"{self.file} has no image for camera {camera}, which the policy needs: add one")
        return tuple(keys[camera] for camera in cameras)

    def state_keys(self, streams: Sequence[str] | None) -> tuple[str, ...]:
        """Keys that carry these streams; None: all that everybody sends.

        Raises:
            ContractError: one of them does not travel.
        """
        if streams is None:
            return self.standard_state
        carried = {part.stream for entry in self.state.values() for part in entry.parts}
        for stream in streams:
            if stream not in carried:
                raise ContractError(f"{self.file} has no state for stream {stream}, which the policy needs: add it")
        return tuple(key for key, entry in self.state.items() if any(part.stream in streams for part in entry.parts))

    def still(self) -> Observation:
        """A black scene and a robot at rest: to see what a policy answers before anything moves."""
        state = {
            name: np.array([0, 0, 0, 1], np.float32)
            if stream.units == "quaternion_xyzw"
            else np.zeros(stream.size, np.float32)
            for name, stream in self.embodiment.state.items()
        }
        images = {entry.camera: np.zeros((entry.rows, entry.columns, 3), np.uint8) for entry in self.images.values()}
        return Observation(0.0, images, state)

    def encode_image(self, key: str, images: Mapping[str, Array]) -> Array:
        """The key's image, ``(rows, columns, 3)`` uint8, of upright ones ``(H, W, 3)`` by camera."""
        entry = self.images[key]
        if entry.camera not in images:
            raise ContractError(f"the observation has no image of {entry.camera}, which {self.file} sends as {key}")
        sized = fitted(images[entry.camera], entry.rows, entry.columns)
        return mirrored(sized) if entry.mirror else np.ascontiguousarray(sized)

    def encode_state(self, key: str, state: Mapping[str, Array]) -> Array:
        """Streams ``(D,)`` → the key's vector, ``(size,)`` float32."""
        vectors = []
        for part in self.state[key].parts:
            if part.stream not in state:
                raise ContractError(f"the observation has no state {part.stream}, which {self.file} sends as {key}")
            values = np.asarray(state[part.stream], np.float32)
            values = ORIENTATIONS[part.form][0](values) if part.form else values
            vectors.append(values[part.where])
        return np.concatenate(vectors)

    def decode_image(self, key: str, image: Array) -> Array:
        """The protocol's image → upright, ``(H, W, 3)`` uint8, in the size that it came in.

        Raises:
            ContractError: it is no such image.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ContractError(f"image {key} is {image.dtype} {image.shape}: expected uint8 (H, W, 3)")
        return mirrored(image) if self.images[key].mirror else image

    def decode_state(self, vectors: Mapping[str, Array]) -> dict[str, Array]:
        """Vectors by key → those streams that they hold whole, ``(D,)`` float32.

        Raises:
            ContractError: a vector has another size, or is not finite.
        """
        found: dict[tuple[str, str], Array] = {}
        for key, vector in vectors.items():
            entry = self.state[key]
            if vector.shape != (entry.size,) or vector.dtype.kind not in "fiu":
                raise ContractError(f"state {key} is {vector.dtype} {vector.shape}: expected float32 ({entry.size},)")
            if not np.isfinite(vector).all():
                raise ContractError(f"state {key} is not finite")
            at = 0
            for part in entry.parts:
                values = vector[at : at + part.size].astype(np.float32)
                at += part.size
                whole = found.setdefault((part.stream, part.form), np.full(self._natural(part), np.nan, np.float32))
                whole[part.where] = values
        return {
            stream: ORIENTATIONS[form][1](values).astype(np.float32) if form else values
            for (stream, form), values in found.items()
            if np.isfinite(values).all()
        }

    def decode_actions(self, vectors: Mapping[str, Array]) -> Array:
        """The protocol's actions, key → ``(..., D)``, as the embodiment's ``(..., A)`` float32, in its range.

        Raises:
            ContractError: a key is missing, has another size or shape than the others, or is not finite.
        """
        layout, leading = self.embodiment.action, None
        actions: Array = np.empty(0, np.float32)
        for key, entry in self.actions.items():
            if key not in vectors:
                raise ContractError(f"there is no action {key}, which {self.file} needs")
            values = np.asarray(vectors[key])
            size = len(entry.dimensions)
            if values.dtype.kind not in "fiu" or not values.ndim or values.shape[-1] != size:
                raise ContractError(f"action {key} is {values.dtype} {values.shape}: expected (..., {size}) numbers")
            if leading is None:
                leading = values.shape[:-1]
                actions = np.empty((*leading, layout.size), np.float32)
            if values.shape[:-1] != leading:
                raise ContractError(f"action {key} has shape {values.shape}, others have {leading} in front")
            if not np.isfinite(values).all():
                raise ContractError(f"action {key} is not finite")
            actions[..., entry.dimensions] = self._from_range(entry, values)
        actions[..., list(self.fixed)] = list(self.fixed.values())
        return self.embodiment.clamp(actions)

    def encode_actions(self, actions: Array) -> dict[str, Array]:
        """The embodiment's actions ``(..., A)`` → key → ``(..., D)`` float32."""
        return {key: self._to_range(entry, actions[..., entry.dimensions]) for key, entry in self.actions.items()}

    def _from_range(self, entry: ActionKey, values: Array) -> Array:
        if entry.at_low is None or entry.at_high is None:
            return values
        low, high = self._limits(entry)
        return low + (values - entry.at_low) * (high - low) / (entry.at_high - entry.at_low)

    def _to_range(self, entry: ActionKey, values: Array) -> Array:
        if entry.at_low is None or entry.at_high is None:
            return np.asarray(values, np.float32)
        low, high = self._limits(entry)
        return np.asarray(entry.at_low + (values - low) * (entry.at_high - entry.at_low) / (high - low), np.float32)

    def _limits(self, entry: ActionKey) -> tuple[Array, Array]:
        layout, where = self.embodiment.action, list(entry.dimensions)
        return layout.low[where], layout.high[where]

    def _natural(self, part: Part) -> int:
        return 3 if part.form == AXIS_ANGLE else self.embodiment.state[part.stream].size


def observation_from(
    mapping: ModelMapping, images: Mapping[str, Array], state: Mapping[str, Array], stamp: float
) -> Observation:
    """What a policy is shown of one request.

    Args:
        images: key → ``(H, W, 3)``.
        state: key → ``(D,)``.

    Raises:
        ContractError: something has another shape than the protocol's.
    """
    return Observation(
        stamp=stamp,
        images={mapping.images[key].camera: mapping.decode_image(key, image) for key, image in images.items()},
        state=mapping.decode_state(state),
    )


def load_mapping(
    protocol: str, embodiment: Embodiment, file: str = "", *, option: str = "mapping=FILE"
) -> ModelMapping:
    """The mapping that comes with World2Act, or the one in ``file``; ``option`` is how a user names that.

    Raises:
        ContractError: there is none for this embodiment, or it contradicts itself or the embodiment.
    """
    path = Path(file)
    if not file:
        shipped = resources.files("world2act_core.policies") / "mappings" / protocol / f"{embodiment.name}.yaml"
        path = Path(str(shipped))
    if not path.is_file():
        missing = f"no file {file}" if file else f"no {protocol} mapping for {embodiment.name}"
        raise ContractError(f"there is {missing}: write one (docs/policies.md) and name it with {option}")
    return _parse(read_checked(path), embodiment)


def _parse(raw: Checked, embodiment: Embodiment) -> ModelMapping:
    images = {key: _image(key, entry, embodiment) for key, entry in raw.section("images").items()}
    state = {key: _state(key, entry, embodiment) for key, entry in raw.section("state").items()}
    actions = {key: _action(key, entry, embodiment) for key, entry in raw.section("actions").items()}
    fixed = _fixed(raw, embodiment) if "fixed" in raw else {}
    language = raw.text("language")
    raw.no_other_keys()
    _each_once(raw, (*fixed, *(index for entry in actions.values() for index in entry.dimensions)), embodiment)
    return ModelMapping(images, state, actions, language, embodiment, raw.file, fixed)


def _image(key: str, raw: Checked, embodiment: Embodiment) -> ImageKey:
    rows, columns = raw.vector("size", 2, above=0)
    frame = raw.vector("frame", 2, above=0) if "frame" in raw else None
    entry = ImageKey(
        key=key,
        camera=raw.text("camera", one_of=tuple(embodiment.cameras)),
        rows=int(rows),
        columns=int(columns),
        mirror=raw.flag("mirror") if "mirror" in raw else False,
        frame=None if frame is None else (int(frame[0]), int(frame[1])),
    )
    raw.no_other_keys()
    return entry


def _state(key: str, raw: Checked, embodiment: Embodiment) -> StateKey:
    parts = tuple(_part(text, raw, embodiment) for text in raw.texts("parts"))
    extra = raw.flag("extra") if "extra" in raw else False
    raw.no_other_keys()
    return StateKey(key, parts, extra)


def _part(text: str, raw: Checked, embodiment: Embodiment) -> Part:
    """``STREAM``, ``STREAM.COLUMN``, ``STREAM.axis_angle`` or ``STREAM.axis_angle.COLUMN``."""
    stream, *rest = text.split(".")
    if stream not in embodiment.state:
        raw.refuse("parts", f"names {stream!r}: {embodiment.name} has {', '.join(embodiment.state)}")
    form = rest.pop(0) if rest and rest[0] in ORIENTATIONS else ""
    size = embodiment.state[stream].size
    if form and embodiment.state[stream].units != "quaternion_xyzw":
        raw.refuse("parts", f"wants {stream!r} as {form}, but it is no quaternion")
    size = 3 if form else size
    if not rest:
        return Part(stream, form, None, size)
    if len(rest) > 1 or not rest[0].isdigit() or int(rest[0]) >= size:
        raw.refuse("parts", f"names {text!r}: expected STREAM, STREAM.COLUMN or STREAM.axis_angle.COLUMN")
    return Part(stream, form, int(rest[0]), 1)


def _action(key: str, raw: Checked, embodiment: Embodiment) -> ActionKey:
    names = raw.texts("dimensions", one_of=embodiment.action.names)
    limits = [raw.number(name) if name in raw else None for name in ("at_low", "at_high")]
    if (limits[0] is None) != (limits[1] is None) or (limits[0] is not None and limits[0] == limits[1]):
        raw.refuse("at_low", "and at_high go together and must differ")
    raw.no_other_keys()
    return ActionKey(key, tuple(embodiment.action.names.index(name) for name in names), *limits)


def _fixed(raw: Checked, embodiment: Embodiment) -> dict[int, float]:
    """Dimension → value; a name that the embodiment does not have is refused as a key too many."""
    values = raw.section("fixed")
    layout = embodiment.action
    found = {index: values.number(name) for index, name in enumerate(layout.names) if name in values}
    values.no_other_keys()
    for index, value in found.items():
        if not layout.low[index] <= value <= layout.high[index]:
            raw.refuse("fixed", f"gives {layout.names[index]} {value}, which is out of its range")
    return found


def _each_once(raw: Checked, indices: Iterable[int], embodiment: Embodiment) -> None:
    given = sorted(indices)
    if given != list(range(embodiment.action.size)):
        names = ", ".join(embodiment.action.names)
        raw.refuse("", f"actions must give each dimension of {embodiment.name} once: {names}")
