"""Where is the adapter that was named, and the text encoder that it was trained with?"""

from pathlib import Path

from tvhelpers.errors import InputError
from tvhelpers.lora.formats import adapter_file
from tvhelpers.models.base import TEXT_ENCODER_DIR


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


def tuned_text_encoder(adapter: Path) -> str:
    """Return the folder of the tuned text encoder that lies beside an adapter.

    Raises InputError where there is none.
    """
    folder = Path(adapter).with_name(TEXT_ENCODER_DIR)
    if not folder.is_dir():
        raise InputError("text-encoder-missing", path=Path(adapter), name=TEXT_ENCODER_DIR)
    return str(folder)
