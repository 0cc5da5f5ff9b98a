"""Where is the adapter that was named, and the text encoder that it was trained with?"""

from pathlib import Path

from tvhelpers.errors import InputError
from tvhelpers.files import file_sha256
from tvhelpers.models.base import TEXT_ENCODER_DIR

PICKLES = (".bin", ".pt", ".ckpt", ".pth")
# file names that trainings, peft and diffusers give to an adapter
FILES = ("adapter.safetensors", "adapter_model.safetensors", "pytorch_lora_weights.safetensors")
FAST = "fast_adapter.safetensors"  # beside a base's shipped adapter


def find_adapter(base, adapter: str | None) -> Path | None:
    """Return the path of an adapter: "shipped" (also what None takes, where the base has one),
    "none" (returns None), a file, or the folder of a training.

    Raises InputError for "shipped" where the base has none, and for an unfinished training.
    """
    shipped = base.adapter if base.adapter and base.adapter.exists() else None
    if adapter in (None, "none"):
        return shipped if adapter is None else None
    if adapter == "shipped":
        if shipped is None:
            raise InputError("no-shipped-adapter", base=base.name)
        return shipped
    return adapter_file(Path(adapter))


def has_fast(base) -> bool:
    """Return whether a base comes with an adapter for few steps without guidance."""
    return bool(base.adapter) and base.adapter.with_name(FAST).exists()


def find_fast(base) -> Path:
    """Return the path of the adapter with which a base draws in few steps without guidance.

    Raises InputError where the base has none.
    """
    if not has_fast(base):
        raise InputError("no-shipped-adapter.fast", base=base.name)
    return base.adapter.with_name(FAST)


def adapter_file(path: Path) -> Path:
    """Return the path of an adapter's file, from the file or its folder: of a training, of peft, of
    diffusers, or with one .safetensors file.

    Raises InputError for a training that is not finished, a pipeline, and other folders.
    """
    if not path.is_dir():
        return path
    if inside := [path / name for name in FILES if (path / name).is_file()]:
        return inside[0]
    if (path / "config.json").is_file() and not (path / "result.json").exists():
        raise InputError("file-missing.unfinished", path=path)
    if (path / "model_index.json").exists():
        raise InputError("adapter-kind.pipeline", path=path)
    if any(path.glob("*.safetensors.index.json")):
        what, advice = "a model in several files", "use a LoRA"
        raise InputError("adapter-kind.no-adapter", path=path, what=what, advice=advice)
    files = sorted(file for file in path.glob("[!.]*.safetensors") if file.is_file())
    if len(files) == 1:
        return files[0]
    if files:
        raise InputError("ambiguous.adapter", path=path, names=[file.name for file in files])
    if pickles := sorted(file for file in path.glob("[!.]*") if file.suffix in PICKLES):
        raise InputError("pickle", path=pickles[0])
    raise InputError("file-missing.no-adapter", path=path)


def tuned_text_encoder(adapter: Path) -> str:
    """Return the folder of the tuned text encoder that lies beside an adapter.

    Raises InputError where there is none.
    """
    folder = Path(adapter).with_name(TEXT_ENCODER_DIR)
    if not folder.is_dir():
        raise InputError("text-encoder-missing", path=Path(adapter), name=TEXT_ENCODER_DIR)
    return str(folder)


def finished_adapters(runs: Path) -> dict[str, Path]:
    """Return {name of a run: its adapter} of the finished trainings in a folder, newest first."""
    found = {}
    for run in Path(runs).iterdir() if Path(runs).is_dir() else ():
        if (run / "result.json").is_file() and (run / FILES[0]).is_file():
            found[run.name] = (run / "result.json").stat().st_mtime
    return {name: Path(runs) / name / FILES[0] for name in sorted(found, key=found.get)[::-1]}


def adapter_with(sha256: str | None, base, runs: Path) -> str:
    """Return the adapter whose file has a SHA-256, as `find_adapter` takes it: "none", "shipped" or
    a path in `runs`.  Raises InputError where there is none."""
    if not sha256:
        return "none"
    if base.adapter and base.adapter.exists() and file_sha256(base.adapter) == sha256:
        return "shipped"
    for path in finished_adapters(runs).values():
        if file_sha256(path) == sha256:
            return str(path)
    raise InputError("no-adapter.digest", digest=sha256[:16], folder=runs)
