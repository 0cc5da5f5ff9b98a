"""A whole training on a tiny pipeline is exact and resumes; what cannot be trained is refused."""

import os
import re
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers import refused
from tests.train.helpers import ADAPTER, command, same, start, stop_at
from tvhelpers import cli
from tvhelpers.config import build_config
from tvhelpers.data.caption_files import write_captions
from tvhelpers.data.sources import open_source
from tvhelpers.files import locked
from tvhelpers.lora import formats
from tvhelpers.models.base import find_base, load_part, save_pipeline
from tvhelpers.progress import Interrupted
from tvhelpers.records import read_json, read_records, write_json
from tvhelpers.sample.sampler import Sampler
from tvhelpers.train.log import read_steps
from tvhelpers.train.trainer import train


def wait_for(found, pid: int) -> None:
    """Wait until `found()`, while the process lives."""
    while not found():
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the training ended"
        time.sleep(0.005)


def test_killed_and_run_again_gives_the_same_bytes(settings, whole, tmp_path, capsys):
    run = tmp_path / "elsewhere" / "broken"
    words = command({**settings, "checkpoint_minutes": 0}, run)
    pid = start(words)
    wait_for(lambda: list(run.glob("checkpoints/step-*.pt")), pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert not (run / ADAPTER).exists()
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert re.search(f"resumed at step \\d+ of 12, from the checkpoint in {run}/checkpoints", said)
    assert all(same(run, whole, name) for name in (ADAPTER, "log.jsonl", "eval.jsonl"))
    assert [row["step"] for row in read_records(run / "log.jsonl", "log")] == list(range(1, 13))


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(settings, tmp_path):
    run, screen = tmp_path / "run", tmp_path / "screen"
    words = command({**settings, "steps": 100_000, "eval_steps": 0, "checkpoint_steps": 0}, run)
    pid = start(words, screen)
    wait_for(lambda: read_steps(run), pid)
    os.kill(pid, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    said = screen.read_text()
    assert "checkpoint written" in said and "to resume: python -m tvhelpers train lora" in said
    assert "Traceback" not in said
    assert list(run.glob("checkpoints/step-*.pt"))


def test_ctrl_c_in_a_preview_stops_where_it_says(settings, whole, tmp_path):
    config = build_config(**{**settings, "checkpoint_steps": 0})
    with pytest.raises(Interrupted, match="stopped at step 6 of 12; checkpoint written"):
        train(config, tmp_path, preview=stop_at(6))
    assert [path.name[:12] for path in tmp_path.glob("checkpoints/*.pt")] == ["step-0000006"]
    train(config, tmp_path)
    assert same(tmp_path, whole)
    (tmp_path / ADAPTER).unlink()  # lost, and trained again: a finished run keeps no checkpoint
    train(config, tmp_path)
    assert same(tmp_path, whole)


def test_balanced_training_says_its_sample_size_and_goes_on_alike(settings, tmp_path, caplog):
    config = {**settings, "data": "flats", "limit": 40, "balance": "category", "resolution": 64}
    config |= {"steps": 8, "eval_steps": 4}
    train(build_config(**config), tmp_path / "plain")
    assert "effective sample size" in caplog.text
    with pytest.raises(Interrupted):
        train(build_config(**config), tmp_path / "cut", preview=stop_at(4))
    train(build_config(**config), tmp_path / "cut")
    assert same(tmp_path / "plain", tmp_path / "cut")
    with refused("not-stated"):
        train(build_config(**{**config, "balance": "fabric"}), tmp_path / "other")


def test_a_folder_with_another_training_is_refused(settings, whole, monkeypatch, caplog):
    adapter = (whole / ADAPTER).read_bytes()
    monkeypatch.setattr("tvhelpers.train.trainer.load_part", None)  # nor is a model loaded
    assert train(build_config(**settings), whole) == read_json(whole / "result.json")
    assert "finished" in caplog.text
    monkeypatch.undo()
    with refused("another-request") as caught:
        train(build_config(**{**settings, "steps": 1, "rank": 3}), whole)
    assert "other 'rank' (2, not 3), 'steps' (12, not 1)" in str(caught.value)
    assert (whole / ADAPTER).read_bytes() == adapter


def test_a_file_that_loads_otherwise_ends_a_training_unfinished(settings, tmp_path, monkeypatch):
    real = formats.write_adapter

    def lossy(adapter, path, names):
        real(formats.Adapter(dict(list(adapter.layers.items())[1:])), path, names)

    with monkeypatch.context() as broken:
        broken.setattr("tvhelpers.lora.adapter.write_adapter", lossy)
        with refused("adapter-differs"):
            train(build_config(**settings), tmp_path)
    assert not (tmp_path / "result.json").exists()
    train(build_config(**settings), tmp_path)  # resumes and finishes
    assert (tmp_path / "result.json").exists()


def test_an_adapter_says_what_it_was_made_for_and_from(settings, whole):
    about = formats.read_adapter(whole / "adapter_kohya.safetensors").about
    assert (about["steps"], about["prediction_type"]) == (12, "epsilon")
    assert about["data_digest"] == open_source(settings["data"]).fingerprint


def test_words_that_neither_base_nor_captions_know_are_named(settings, tmp_path):
    base = shutil.copytree(settings["base"], tmp_path / "base")
    write_json(base / "vocabulary.json", {"words": {"colour": {"cerise": 1}}})
    few = {**settings, "base": str(base), "steps": 2, "eval_steps": 0}
    train(build_config(**few), tmp_path / "run")
    word = open_source(settings["data"]).captions[0].split()[-1]
    sampler = Sampler(str(base), str(tmp_path / "run"), "cpu")
    said = "this base with this adapter has never seen 'zebra'"
    assert sampler.unseen(f"a cerise {word}") == "" and sampler.unseen(f"zebra {word}") == said
    (tmp_path / "run" / "vocabulary.json").unlink()  # of an older version
    assert Sampler(str(base), str(tmp_path / "run"), "cpu").unseen("zebra") == ""


def test_captions_of_a_file_stand_for_the_datas_own(settings, tmp_path):
    path, config = tmp_path / "new.jsonl", {**settings, "steps": 1, "eval_steps": 0}
    write_captions(open_source(settings["data"]), path)
    embeds = []
    for captions in ("", str(path)):
        root = tmp_path / f"root{captions != ''}"
        train(build_config(**config, captions=captions), root / "run", root=root)
        (cache,) = (root / "artifacts").glob("cache-*")
        embeds.append(np.load(cache / "embeds.npy"))
    assert not np.array_equal(*embeds)
    assert np.array_equal(embeds[0][0], embeds[1][0])  # the empty prompt
    path.write_text(path.read_text().split("\n", 1)[1])
    with refused("file-differs"):
        train(build_config(**config, captions=str(path)), tmp_path / "other")


def test_a_loss_that_is_not_finite_ends_the_training_with_a_sentence(settings, tmp_path):
    with refused("not-finite"):
        train(build_config(**{**settings, "learning_rate": 1e9, "warmup_steps": 0, "steps": 60,
                              "method": "full", "max_grad_norm": 1e9}), tmp_path)  # fmt: skip


def test_full_training_writes_a_pipeline_of_its_own_with_its_noise_schedule(settings, tmp_path):
    changes = {"prediction": "v_prediction", "zero_terminal_snr": True, "channels_last": True}
    train(build_config(**settings, method="full", ema_decay=0.9, **changes), tmp_path)
    base, trained = find_base(settings["base"]), find_base(str(tmp_path / "pipeline"))
    before, after = (load_part(where, "unet").state_dict() for where in (base, trained))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    own, scheduler = (load_part(where, "scheduler") for where in (base, trained))
    assert scheduler.alphas_cumprod[-1] == 0 and scheduler.config.timestep_spacing == "trailing"
    assert scheduler.config.prediction_type == "v_prediction"
    assert own.alphas_cumprod[-1] > 0 and own.config.prediction_type == "epsilon"


def test_a_trained_pipeline_keeps_the_guidance_of_its_base(settings, tmp_path):
    location = replace(find_base(settings["base"]), own_guidance=2.5)
    for name in ("once", "twice"):
        save_pipeline(location, load_part(location, "unet"), tmp_path / name)
        location = find_base(str(tmp_path / name))
        assert location.guidance == 2.5
    assert find_base(settings["base"]).guidance == 7.5  # the usual one of Stable Diffusion


def test_what_cannot_be_trained_claims_no_folder(settings, tmp_path):
    with refused("not-stated"):
        train(build_config(**settings, method="baseline", classes="fabric"), tmp_path)
    with refused("too-few-items"):
        train(build_config(**{**settings, "limit": 1}), tmp_path)
    with locked(tmp_path / ".lock"), refused("at-work"):
        train(build_config(**settings), tmp_path)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
