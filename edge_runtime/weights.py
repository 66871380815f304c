"""What keeps stored weights from being a network's, and what only seems to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOT_FINITE = "NaN or infinite"
UNUSABLE = "not plain numbers"
_LISTED = 6
_DEEPEST = 4  # mappings in each other
# Under which trainers keep the weights, the likeliest first.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "state", "network", "net", "module")
# Parts of names that DataParallel, DistributedDataParallel, torch.compile and FSDP put in.
_PUT_IN = {"module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module"}
_LEAST_FLOAT = 2  # bytes; smaller ones stand for numbers only with scales beside them


def find_weights(stored: object, depth: int = _DEEPEST) -> tuple[str, dict[Any, Any] | None]:
    """Open what trainers wrap around weights.

    Returns:
        The keys that were opened, such as "checkpoint.state_dict", empty where the weights lie
        open; and the weights by their names. None in their place where there are no weights, or
        several sets of which none has a usual key: then the text names their keys.
    """
    if not isinstance(stored, Mapping):
        return "", None
    inside = {key: _count(value, depth - 1) for key, value in stored.items()}
    inside = {key: tensors for key, tensors in inside.items() if tensors}
    usual = [key for key in _WRAPPERS if key in inside]
    open_ones = sum(map(_is_tensor, stored.values()))
    if not usual and open_ones > sum(inside.values()):
        return "", dict(stored)
    if not usual and len(inside) > 1:
        return ", ".join(map(str, inside)), None
    for key in usual or inside:
        deeper, weights = find_weights(stored[key], depth - 1)
        return f"{key}.{deeper}".rstrip(".") if weights else deeper, weights
    return "", None


def match_names(stored: Mapping[Any, Any], expected: Mapping[str, Any]) -> dict[Any, Any]:
    """Give weights the names that are expected, but for what trainers put into names.

    That is parts such as `module` and `_orig_mod` anywhere, and whatever is in front of all names.
    A weight that fits none of the expected keeps its name, and all do where two would get the same.
    """
    ours = {_bare(name): name for name in expected}
    fronts = Counter(front for name in stored for front, rest in _cuts(_bare(name)) if rest in ours)
    front = fronts.most_common(1)[0][0] if fronts else ""
    matched = {
        ours.get(_bare(name).removeprefix(front), name): value for name, value in stored.items()
    }
    alone = len(ours) == len(expected) and len(matched) == len(stored)
    return matched if alone else dict(stored)


def opened(where: str, stored: Mapping[Any, Any], matched: Mapping[Any, Any]) -> str:
    """Say what `find_weights` and `match_names` have opened; empty where nothing was."""
    said = [f"the weights are taken from its '{where}'"] if where else []
    renamed = [(a, b) for a, b in zip(stored, matched, strict=True) if a != b]
    if renamed:
        said.append("names such as '{}' are read as '{}'".format(*renamed[0]))
    return ", ".join(said)


def weight_faults(expected: Mapping[str, Any], stored: Mapping[Any, Any]) -> str:
    """Name the weights that do not fit, by what is wrong with them.

    Args:
        expected: tensors of the shapes and the kind of number that are asked for, by name.
        stored: a state_dict, or what was read in its place.

    Returns:
        The first few names of each fault that there is: "missing", "unexpected", "mis-shaped",
        `UNUSABLE` (sparse, quantised, without values ...) or, last, `NOT_FINITE`. Empty if all fit.
    """
    common = {key: stored[key] for key in expected if key in stored}
    unusable = {key: kind for key, value in common.items() if (kind := _unusable(value))}
    usable = {key: value for key, value in common.items() if key not in unusable}
    wrong = {
        key: f"{key} {described(value)} instead of {described(expected[key])}"
        for key, value in usable.items()
        if described(value) != described(expected[key])
    }
    fitting = {key: value for key, value in usable.items() if key not in wrong}
    faults = {
        "missing": [key for key in expected if key not in stored],
        "unexpected": [str(key) for key in stored if key not in expected],
        "mis-shaped": list(wrong.values()),
        UNUSABLE: [f"{key} {kind}" for key, kind in unusable.items()],
        # Large numbers in float64 are infinite ones in the network's float32.
        NOT_FINITE: [
            key
            for key, value in fitting.items()
            if not bool(value.to(expected[key].dtype).isfinite().all())
        ],
    }
    return "; ".join(f"{fault}: {_some(keys)}" for fault, keys in faults.items() if keys)


def described(value: Any) -> str:  # noqa: ANN401 - a tensor of a library that robots lack
    """Return a tensor's shape and what is odd about it, or what stands in a tensor's place."""
    if not _is_tensor(value):
        return type(value).__name__
    kind = _unusable(value)
    if kind == "nested":  # which has no shape
        return kind
    shape = str(tuple(value.shape))
    if kind:
        return f"{shape} {kind}"
    return shape if value.is_floating_point() else f"{shape} of whole numbers"


def _unusable(value: Any) -> str:  # noqa: ANN401 - see above
    if not _is_tensor(value):
        return ""
    kinds = {
        "nested": value.is_nested,
        "without values (device meta)": value.is_meta,
        "quantised": value.is_quantized,
        "sparse": str(value.layout) != "torch.strided",
        "complex": value.is_complex(),
        "of 8-bit floats": value.is_floating_point() and value.element_size() < _LEAST_FLOAT,
    }
    return next((kind for kind, so in kinds.items() if so), "")


def _is_tensor(value: object) -> bool:
    return hasattr(value, "is_floating_point")


def _count(value: object, depth: int) -> int:
    """Count the tensors that lie in it under names."""
    if not isinstance(value, Mapping) or not depth:
        return 0
    named = [inner for key, inner in value.items() if isinstance(key, str)]
    return sum(1 if _is_tensor(inner) else _count(inner, depth - 1) for inner in named)


def _bare(name: object) -> str:
    return ".".join(part for part in str(name).split(".") if part not in _PUT_IN)


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """Cut a dotted name in two at every place, the shortest front first."""
    parts = name.split(".")
    for count in range(len(parts)):
        front = "".join(f"{part}." for part in parts[:count])
        yield front, name[len(front) :]


def _some(items: Sequence[str]) -> str:
    rest = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return ", ".join(items[:_LISTED]) + rest
