"""Which model does a name mean, and how is it loaded without running its code?

Every model, tokenizer and processor from outside is found by `find_model` and loaded by `load`.
"""

import contextlib
import difflib
import functools
import json
import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tvhelpers.errors import Choice, InputError, one_line

log = logging.getLogger(__name__)
HUB = "hub:"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*\w", re.ASCII)  # owner/name
ENDING = re.compile(r"\.[A-Za-z]\w*$")  # of a file name; "v1.5" and "2.7b" have none
# Keys of a config.json that make transformers or diffusers import packages, or load other models.
REFUSED = frozenset(
    "quantization_config kernel_config use_kernels use_pretrained_backbone configuration_files "
    "transformers_weights model_args".split()
)
# What keys such as attn_implementation may hold; "owner/name" would be code of the hub.
IMPLEMENTATIONS = {None, "eager", "sdpa", "grouped_mm", "batched_mm"}
MAX_LAYERS, MAX_PARTS = 1000, 10_000  # layers of a model; values of a list in its config
ANSWER_SECONDS, ASK_AGAIN = 5.0, 60.0  # seconds to wait for the hub, and until it is asked again
_announced: set[str] = set()  # hub ids of which it was said that they are downloaded
_lock = threading.RLock()  # `_offline` changes a setting of the process


class Unreadable(ValueError):
    """A model cannot be loaded; `error` is what the library said."""

    def __init__(self, error: Exception):
        super().__init__(one_line(error))
        self.error = error

    @property
    def needs_the_hub(self) -> bool:
        """Return whether a file is not cached, and the hub cannot be reached."""
        from huggingface_hub.errors import LocalEntryNotFoundError

        error = self.error
        while error and not isinstance(error, LocalEntryNotFoundError):
            error = error.__cause__ or error.__context__
        return error is not None


def find_model(name: str, known: Iterable[str] = ()) -> str:
    """Return the folder or hub id that a name means: a folder, "hub:owner/name" or "owner/name".

    Without "hub:", a warning says that the hub is asked.  `known`: names to suggest in an error.
    Raises InputError for anything else, and for "owner/name" that looks like a path: it ends like a
    file name, or the folder `owner` exists here.
    """
    wanted, path = name.removeprefix(HUB), Path(name)
    is_id = HUB_ID.fullmatch(wanted) is not None
    if name.startswith(HUB):
        if not is_id:
            raise InputError("not-a-hub-id", name=name)
        if Path(wanted).exists():  # the libraries would read the folder
            raise InputError("given-twice.hub", name=name, path=Path(wanted))
        return wanted
    if name and path.is_dir():
        return name
    near = path.parent.is_dir() and "/" in name
    if is_id and not near and not ENDING.search(name):
        from huggingface_hub import constants

        if not constants.HF_HUB_OFFLINE:
            log.warning(f"{name!r} is not a folder here: asking huggingface.co for {HUB}{name}")
        return name
    beside = [one.name for one in path.parent.iterdir() if one.is_dir()] if near else []
    close = difflib.get_close_matches(path.name, beside, 1)
    choice = Choice(name, [str(path.with_name(one)) for one in close] or known)
    if is_id:
        raise InputError("unknown-model.path", name=name, choice=choice, hub=HUB + name)
    raise InputError("unknown-model", name=name, choice=choice)


def load(kind, path: str, *, whole: bool = False, **options):
    """Return `kind.from_pretrained(path, **options)`, of a class of transformers or diffusers.

    No code of the model is downloaded or run: its own modules, or kernels, quantizers and other
    models that its config names.  A folder is loaded without the hub.  `whole`: missing weights are
    an error.  Raises InputError for a config that names such code, and Unreadable where the library
    fails.
    """
    where = {key: options[key] for key in ("subfolder", "revision") if options.get(key)}
    if kind.__module__.startswith("transformers."):
        options["trust_remote_code"] = False
    with readable(path):
        _check_configs(path, options.get("local_files_only", False), **where)
        if not whole:
            model = kind.from_pretrained(path, **options)
            if not isinstance(getattr(model, "model_max_length", 0), int | float):
                raise ValueError("its tokenizer's model_max_length is not a number")
            return model
        model, loaded = kind.from_pretrained(path, **options, output_loading_info=True)
        if missing := sorted(loaded["missing_keys"]):  # they would be random
            raise ValueError(f"{len(missing)} weights are missing, {missing[0]} is the first")
    return model


def load_file(kind, path: str, configs: str, parts: Iterable[str], dtype):
    """Return the pipeline of a checkpoint of one file (.safetensors), of a class of diffusers, with
    the configs of its `parts` in the folder `configs`.

    Raises InputError and Unreadable as `load` does.
    """
    with readable(configs):
        for part in parts:
            _check_configs(configs, False, part)
        how = {"config": configs, "torch_dtype": dtype, "local_files_only": True}
        return kind.from_single_file(path, **how)


@contextlib.contextmanager
def readable(path: str) -> Iterator[None]:
    """Raise Unreadable for any error of a broken folder or an unreachable hub.

    Without a network the hub is not asked, and what was downloaded before is read."""
    try:
        with contextlib.nullcontext() if may_ask(path) else offline():
            yield
    except (InputError, Unreadable):
        raise
    except Exception as error:  # of diffusers, transformers, safetensors, torch, huggingface_hub
        if type(error).__name__ == "OutOfMemoryError":
            raise
        raise Unreadable(error) from error


def check_upload(folder: Path) -> None:
    """Raise InputError where a folder cannot be uploaded: without a network or a token."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE or not _is_reachable(int(time.monotonic() / ASK_AGAIN)):
        raise InputError("not-pushed.offline", folder=folder)
    if not get_token():
        raise InputError("not-pushed.token", folder=folder)


def upload(folder: Path, names: list[str], repository: str, public: bool) -> str:
    """Upload files of a folder to a model of the hub, which is made if there is none; return its
    address.  Raises InputError where the hub refuses."""
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=names)
    except Exception as error:  # of huggingface_hub and its HTTP client
        raise InputError("not-pushed", folder=folder, error=error) from None
    return str(address)


def may_ask(path: str) -> bool:
    """Return whether the hub is to be asked for a model, and can be reached; say first that it is
    downloaded, if nothing of it, or only a part, is on this machine."""
    from huggingface_hub import constants

    if Path(path).is_dir() or constants.HF_HUB_OFFLINE:
        return False
    if path not in _announced and not _is_downloaded(Path(constants.HF_HUB_CACHE), path):
        log.info(f"downloading {path!r} from huggingface.co ...")
    _announced.add(path)
    return _is_reachable(int(time.monotonic() / ASK_AGAIN))


def _is_downloaded(cache: Path, path: str) -> bool:
    """Return whether the cache has weights of a hub id, and no file that was left unfinished."""
    folder = cache / f"models--{path.replace('/', '--')}"
    there = any(file.suffix in (".safetensors", ".bin") for file in folder.glob("snapshots/*/**/*"))
    return there and not any(folder.glob("blobs/*.incomplete"))


@functools.lru_cache(1)
def _is_reachable(minute: int) -> bool:
    """Return whether huggingface.co answers; each `minute` it is asked once, because its library
    tries five times for each file."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=ANSWER_SECONDS)
    except Exception:  # of the library's HTTP client, of which there are three
        return False
    return True


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Keep huggingface_hub offline within the block; its cache is still used."""
    from huggingface_hub import constants

    with _lock:
        before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before


def _check_configs(path: str, local: bool, subfolder: str = "", revision=None) -> None:
    """Raise InputError if files beside the weights name code, other models or outside files."""
    where = f"{subfolder}/" if subfolder else ""
    if file_of(path, where + "adapter_config.json", revision, local):  # names another one
        raise InputError("unsafe-model.adapter", path=path)
    if file := file_of(path, where + "config.json", revision, local):
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("its config.json is not a table of names and values")
        _check_keys(path, config)
    for index in Path(path, subfolder).glob("*.index.json"):  # none for a hub id
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        if outside := [name for name in names if Path(name).name != name]:
            raise InputError("unsafe-model.outside", path=index, name=outside[0])


def file_of(path: str, name: str, revision: str | None, local: bool = False) -> Path | None:
    """Return the path of a file in a folder or of a hub id; None if there is no such file."""
    if Path(path).is_dir():
        file = Path(path, name)
        return file if file.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(path, name, revision=revision, local_files_only=local))
    except (EntryNotFoundError, LocalEntryNotFoundError):
        return None


def _check_keys(path: str, config) -> None:
    """Raise InputError for a key, at any depth of a config, that would load code or other models;
    raise ValueError for a model that is too large."""
    if isinstance(config, list):
        if len(config) > MAX_PARTS:
            raise ValueError(f"a list in its config has {len(config)} values")
        for part in config:
            _check_keys(path, part)
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        choices = value.values() if isinstance(value, dict) else [value]
        free = not key.endswith(("_implementation", "_implementation_internal"))
        if (key in REFUSED and value) or not (free or IMPLEMENTATIONS.issuperset(choices)):
            raise InputError("unsafe-model", path=path, key=key, value=value)
        if "layers" in key and isinstance(value, int) and value > MAX_LAYERS:
            raise ValueError(f"its config has {key}: {value}")
        _check_keys(path, value)
