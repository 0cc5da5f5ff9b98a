"""Models from outside: which one a name means, and that nothing of them runs."""

import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import refused
from tvhelpers import hub
from tvhelpers.data.captioner import _load_captioner
from tvhelpers.models.base import find_base, load_part, load_pipeline, with_text_encoder
from tvhelpers.models.clip import Clip, find_clip
from tvhelpers.score.features import VisionExtractor

PACKAGE = Path(hub.__file__).parent
MODULE = "from pathlib import Path\nPath({marker!r}).write_text('ran')\nclass Own: pass\n"
CONFIGS = {  # file -> names of the classes that transformers would take from the folder's module
    "config.json": ["AutoConfig", "AutoModel", "AutoModelForImageTextToText"],
    "preprocessor_config.json": ["AutoImageProcessor", "AutoProcessor"],
    "processor_config.json": ["AutoProcessor"],
    "tokenizer_config.json": ["AutoTokenizer"],
}


def infect(folder, marker, kind=None):
    """Make the files of a folder name classes of a module in it; `kind` is one that is unknown."""
    for name, classes in CONFIGS.items():
        path = folder / name
        record = json.loads(path.read_text()) if path.exists() else {}
        own = {one: ["own.Own", "own.Own"] if "Tok" in one else "own.Own" for one in classes}
        record |= {"auto_map": own}
        if kind and name == "config.json":
            record["model_type"] = kind
        if kind and name != "config.json":
            record |= {"tokenizer_class": "Own", "image_processor_type": "Own"}
            record |= {"processor_class": "Own"}
        if name == "preprocessor_config.json":
            record |= {"size": {"height": 32, "width": 32}, "crop_size": 32}
            record.setdefault("image_processor_type", "CLIPImageProcessor")
        path.write_text(json.dumps(record))
    for name in ("own.py", "handler.py", "pipeline.py", "custom_generate/generate.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(MODULE.format(marker=str(marker)))
    return folder


OPENERS = {
    "clip": lambda path: Clip(path, "cpu").encode_texts(["a red dress"]),
    "extractor": lambda path: VisionExtractor(path).features(np.zeros((1, 9, 9, 3), np.uint8)),
    "captioner": lambda path: _load_captioner(path, "cpu", 3)([np.zeros((9, 9, 3), np.uint8)]),
}


@pytest.mark.parametrize("kind", [None, "own-model"])
@pytest.mark.parametrize("opener", OPENERS)
def test_a_models_own_code_is_neither_run_nor_asked_for(
    opener, kind, tiny_clip, tmp_path, monkeypatch
):
    folder, marker = tiny_clip(tmp_path, "clip"), tmp_path / "marker"
    infect(folder, marker, kind)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 99))
    codes = ("clip-unreadable", "model-unreadable", "captioner-unreadable")
    if kind is None and opener != "captioner":
        assert OPENERS[opener](str(folder)).shape == (1, 24)  # its own classes are not needed
    else:
        with refused(*codes):
            OPENERS[opener](str(folder))
    assert not marker.exists() and sys.stdin.tell() == 0


def test_a_pipelines_own_code_does_not_run(tiny_base, tmp_path):
    folder, marker = shutil.copytree(tiny_base, tmp_path / "base"), tmp_path / "marker"
    for part in ("text_encoder", "tokenizer", "unet", "scheduler"):
        infect(folder / part, marker)
    infect(folder, marker)
    index = json.loads((folder / "model_index.json").read_text())
    named = {"unet": ["own", "Own"], "vae": ["pipeline", "Own"], "text_encoder": ["own", "Own"]}
    (folder / "model_index.json").write_text(json.dumps({**index, **named}))
    assert load_pipeline(find_base(str(folder))).unet is not None
    folder = shutil.copytree(folder, tmp_path / "another")
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": ["own", "Own"]}))
    with refused("unknown-family", "wrong-type"):
        load_pipeline(find_base(str(folder)))
    assert not marker.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"attn_implementation": "nobody/kernels"},
        {"_attn_implementation": "kernels-community/flash-attn2@main:f"},
        {"attn_implementation": {"text_config": "paged|nobody/kernels"}},
        {"text_config": {"attn_implementation": "flash_attention_2"}},
        {"sides": [{"_experts_implementation_internal": "nobody/kernels"}]},
        {"quantization_config": {"quant_method": "awq"}},
        {"backbone": "nobody/model", "use_pretrained_backbone": True},
        {"configuration_files": ["config.4.0.0.json"]},
        {"transformers_weights": "../other.safetensors"},
    ],
    ids=str,
)
def test_configs_that_name_kernels_or_other_models_are_refused(change, tiny_clip, tmp_path):
    folder = tiny_clip(tmp_path, "clip")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with refused("unsafe-model") as caught:
        Clip(str(folder), "cpu")
    assert len(str(caught.value).replace(str(folder), "")) <= 160


def test_files_beside_the_weights_that_name_others_are_refused(tiny_clip, tmp_path):
    folder = tiny_clip(tmp_path, "clip")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/model"}')
    with refused("unsafe-model"):
        Clip(str(folder), "cpu")
    (folder / "adapter_config.json").unlink()
    index = {"metadata": {}, "weight_map": {"a": "../../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with refused("unsafe-model"):
        Clip(str(folder), "cpu")


def test_models_without_bounds_are_refused(tiny_base, tiny_clip, tmp_path):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    clip = tiny_clip(tmp_path, "clip")
    for folder, path, change in (
        (base, "scheduler/scheduler_config.json", {"num_train_timesteps": 300_000_000}),
        (base, "scheduler/scheduler_config.json", {"num_train_timesteps": "1e9"}),
        (base, "unet/config.json", {"layers_per_block": 10**9}),
        (base, "unet/config.json", {"block_out_channels": [32] * 99_999}),
        (base, "tokenizer/tokenizer_config.json", {"model_max_length": "many"}),
        (clip, "config.json", {"text_config": {"num_hidden_layers": 10**7}}),
        (clip, "tokenizer_config.json", {"model_max_length": "many"}),
        (clip, "config.json", {"model_type": "clip_text_model"}),
    ):
        before = (folder / path).read_text()
        (folder / path).write_text(json.dumps({**json.loads(before), **change}))
        with refused("base-unreadable", "clip-unreadable"):
            load_pipeline(find_base(str(base))) if folder == base else Clip(str(clip), "cpu")
        (folder / path).write_text(before)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 99_999, '{"model_type": 3}', "\x00"])
def test_a_config_that_is_none_is_one_sentence(text, tiny_clip, tmp_path):
    folder = tiny_clip(tmp_path, "clip")
    (folder / "config.json").write_text(text)
    with refused("clip-unreadable"):
        Clip(str(folder), "cpu")


def test_every_model_is_loaded_by_this_module():
    loading = re.compile(
        r"\.from_pretrained\(|\.from_single_file\(|snapshot_download|hf_hub_download|torch\.hub\.load"
        r"|try_to_load_from_cache|pickle\.load|trust_remote_code=(?!False)|weights_only=False"
    )
    allowed = {"hub.py", "models/baseline.py"}  # baseline: an Embedding of torch
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        assert place in allowed or not loading.search(path.read_text(encoding="utf-8")), place


@pytest.mark.parametrize("find", [hub.find_model, find_clip, lambda name: find_base(name).path])
def test_only_a_hub_id_that_looks_like_none_of_our_paths_is_asked_of_the_hub(
    find, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/mine", "own/model"):
        Path(folder).mkdir(parents=True)
        Path(folder, "model_index.json").write_text("{}", encoding="utf-8")
    assert find("hub:nobody/model-v1.5") == "nobody/model-v1.5" and not caplog.messages
    assert find("nobody/model-2.7b") == "nobody/model-2.7b"
    (line,) = caplog.messages
    assert "huggingface.co" in line and "hub:nobody/model-2.7b" in line
    assert find("runs/mine") == "runs/mine" and Path(find("./runs/mine")) == Path("runs/mine")
    with refused("unknown-model") as caught:
        find("runs/mnie")
    assert "'runs/mine'" in str(caught.value) and "'hub:runs/mnie'" in str(caught.value)
    wrong = "./nobody/model /nobody/model ../a/b nobody/model.safetensors a/b/c nobody/.. C:/model"
    for name in ["", "nobody\\model", "~/model", *wrong.split()]:
        with refused("unknown-model", "file-missing"):
            find(name)
    for name in ("hub:", "hub:model", "hub:../model", "hub:a/b/c", "hub:https://a/b"):
        with refused("not-a-hub-id"):
            find(name)
    with refused("given-twice"):
        find("hub:own/model")
    assert len(caplog.messages) == 1


def test_a_folder_is_loaded_without_the_hub(tiny_base):
    from huggingface_hub import constants

    class Kind:
        @classmethod
        def from_pretrained(cls, path, **options):
            assert constants.HF_HUB_OFFLINE
            return cls()

    before = constants.HF_HUB_OFFLINE
    assert isinstance(hub.load(Kind, str(tiny_base)), Kind)
    assert before == constants.HF_HUB_OFFLINE


def test_a_text_encoder_is_found_alike(tiny_base):
    base = find_base(str(tiny_base))
    with refused("unknown-model"):
        with_text_encoder(base, "a/b/c")
    assert load_part(base, "tokenizer") is not None


@pytest.mark.parametrize("answers", [False, True])
def test_without_a_network_the_hub_is_asked_once_and_then_refused(answers, monkeypatch, caplog):
    import huggingface_hub

    asked = []

    class Session:
        def head(self, url, timeout):
            asked.append(url)
            assert caplog.messages == ["downloading 'nobody/model' from huggingface.co ..."]
            if not answers:
                raise ConnectionError("no network")

    def download(path, name, **options):
        from huggingface_hub import constants
        from huggingface_hub.errors import LocalEntryNotFoundError

        offline = options["local_files_only"] or constants.HF_HUB_OFFLINE
        assert answers or offline  # its own attempts would take a minute
        raise LocalEntryNotFoundError("not here")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "_announced", set())
    hub._is_reachable.cache_clear()
    base = find_base("hub:nobody/model")
    for _ in range(2):
        if answers:  # a base without model_index.json is of the first family
            assert base.architecture.name
        else:
            with refused("base-unreadable") as caught:
                load_part(base, "unet")
            assert "cannot be reached" in str(caught.value)
    hub._is_reachable.cache_clear()
    assert len(asked) <= 2 and len(caplog.messages) == 1  # two: a minute may end meanwhile
