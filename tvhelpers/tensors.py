"""What does a safetensors file hold?  Its header is checked before any weight is read."""

import math
from dataclasses import dataclass
from pathlib import Path

from tvhelpers.errors import InputError

MAX_HEADER = 8 << 20  # bytes; kohya's scripts write every tag of the training images into it
MAX_TENSORS = 20_000  # an adapter or a checkpoint of Stable Diffusion XL has at most 5,000
MAX_WEIGHTS = 1 << 30  # of an adapter, 4 GiB as fp32: rank 250 on all layers of SD XL
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
INTEGERS = ("I64", "I32", "I16", "I8", "U8")  # for an alpha alone
# {first bytes of other files: (what they are, what to do)}
OTHER_FILES = {
    b"version https://git-lfs": ("a pointer of Git LFS", "run `git lfs pull`"),
    b"<": ("a web page", "download the file itself"),
    b"{": ("text in JSON", "download the file itself"),
    b"GGUF": ("a GGUF model", "use a .safetensors file"),
    b"PK": ("an archive", "unpack it, and give a .safetensors file in it"),
}


@dataclass(frozen=True)
class Contents:
    """The header of a safetensors file: {name: shape}, {name: type of numbers} and metadata."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]


def read_contents(path: Path) -> Contents:
    """Return the header of a safetensors file, if its sizes are within limits.

    Raises InputError for a file that is missing, of another format, damaged or too large.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    _check_format(path)
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in list(file.keys())}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            dtypes = {name: part.get_dtype() for name, part in slices.items()}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise InputError("not-whole", path=path, error=error) from None
    if len(shapes) > MAX_TENSORS:
        raise InputError("too-large.tensors", path=path, size=f"{len(shapes)} tensors")
    return Contents(path, shapes, dtypes, metadata)


def _check_format(path: Path) -> None:
    """Raise InputError for a file that is missing or not safetensors, whatever its name."""
    if not path.is_file():
        raise InputError("file-missing.tensors", path=path)
    try:
        with open(path, "rb") as file:
            head = file.read(256)
    except OSError as error:
        raise InputError("not-whole", path=path, error=error) from None
    if int.from_bytes(head[:8], "little") <= MAX_HEADER:  # the header's length
        return
    if (head[0] == 0x80 and head[1] <= 5) or (head[:2] == b"PK" and b"data.pkl" in head):
        raise InputError("pickle", path=path)
    for first, (what, advice) in OTHER_FILES.items():
        if head.lstrip().startswith(first):
            raise InputError("not-safetensors", path=path, what=what, advice=advice)
    error = ValueError("its header has an impossible length")
    raise InputError("not-whole", path=path, error=error)


def read_tensors(contents: Contents, names: list[str]) -> dict:
    """Return {name: tensor} of finite numbers, fp32.

    Raises InputError for another type of numbers, values that are not finite, and too many weights.
    """
    import torch
    from safetensors import safe_open

    path, sizes = contents.path, [math.prod(contents.shapes[name]) for name in names]
    if sum(sizes) > MAX_WEIGHTS:
        raise InputError("too-large.tensors", path=path, size=f"{sum(sizes)} weights")
    for name, size in zip(names, sizes, strict=True):
        is_alpha = size == 1 and name.endswith("alpha")
        if contents.dtypes[name] not in FLOATS + INTEGERS * is_alpha:
            kind = contents.dtypes[name]
            raise InputError("not-floats", path=path, key=name, kind=kind)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name).to(torch.float32) for name in names}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError("not-finite.tensors", path=path, key=name)
    return tensors
