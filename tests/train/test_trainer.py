"""The training line on a tiny pipeline: exact, resumable, and it moves only what it should."""

import json
import os
import signal
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tvhelpers.config import InputError, build_config
from tvhelpers.data.caption_files import write_captions
from tvhelpers.data.sources import open_source
from tvhelpers.files import locked
from tvhelpers.lora import formats as adapter_names
from tvhelpers.models.base import find_base, load_part, save_pipeline
from tvhelpers.runtime import Interrupted, root_dir
from tvhelpers.train.distributed import Processes
from tvhelpers.train.trainer import train


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_killed_and_run_again_gives_the_same_bytes(settings, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "elsewhere" / "broken"
    train(build_config(**settings, checkpoint_minutes=0), whole, say=lambda text: None)
    pairs = [f"{key}={value}" for key, value in settings.items() if key != "data"]
    command = [sys.executable, "-m", "tvhelpers", "train", "lora", "--data", settings["data"]]
    command += ["--out", str(broken), "--set", "checkpoint_minutes=0"]
    command += [word for pair in pairs for word in ("--set", pair)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(broken.glob("checkpoints/step-*.pt")):
        assert process.poll() is None, "ended before its first checkpoint"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (broken / "adapter.safetensors").exists()
    subprocess.run(command, check=True, capture_output=True)
    assert (broken / "adapter.safetensors").read_bytes() == (
        whole / "adapter.safetensors"
    ).read_bytes()
    assert rows(broken / "log.jsonl") == rows(whole / "log.jsonl")
    assert rows(broken / "eval.jsonl") == rows(whole / "eval.jsonl")
    assert [row["step"] for row in rows(broken / "log.jsonl")] == list(range(1, 13))


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(settings, tmp_path):
    command = [sys.executable, "-m", "tvhelpers", "train", "lora", "--data", settings["data"]]
    command += ["--out", str(tmp_path / "run"), "--set", f"base={settings['base']}"]
    command += ["--set", "steps=100000", "--set", "eval_items=4", "--set", "device=cpu"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "run" / "log.jsonl").exists() or not rows(tmp_path / "run" / "log.jsonl"):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "checkpoint written" in said and "to go on: python -m tvhelpers train lora" in said
    assert "Traceback" not in said
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.pt"))


def test_accumulated_micro_batches_give_the_steps_of_one_batch(make_trainer):
    one, many = make_trainer(batch_size=4), make_trainer(batch_size=1, accumulate=4)
    for _ in range(3):
        a, b = one.train_step(), many.train_step()
        torch.testing.assert_close(a["loss"], b["loss"])
    for a, b in zip(one.weights, many.weights, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_only_the_adapter_moves_and_the_gradient_is_clipped(make_trainer):
    trainer = make_trainer(max_grad_norm=1e-3, warmup_steps=0)
    before = {name: weight.clone() for name, weight in trainer.unet.state_dict().items()}
    seen = []
    step = trainer.optimizer.step

    def spy(*args, **kwargs):
        seen.append(torch.stack([w.grad.norm() for w in trainer.weights]).norm().item())
        return step(*args, **kwargs)

    trainer.optimizer.step = spy
    norms = [trainer.train_step()["grad_norm"].item() for _ in range(2)]
    assert min(norms) > 1e-3 and max(seen) <= 1e-3 * 1.001
    moved = {k for k, w in trainer.unet.state_dict().items() if not torch.equal(w, before[k])}
    assert moved and all("lora" in name for name in moved)
    assert all(weight.dtype == torch.float32 for weight in trainer.weights)


def test_loss_falls_when_one_picture_is_learnt_by_heart(make_trainer):
    trainer = make_trainer(method="full", learning_rate=2e-3, warmup_steps=0, steps=60, flip=False)
    trainer.entries = trainer.entries[:1]
    trainer.held_out = trainer.entries
    before = trainer.held_out_loss()
    for _ in range(60):
        trainer.train_step()
    assert trainer.held_out_loss() < 0.9 * before


def test_the_baseline_never_sees_a_caption(make_trainer):
    trainer = make_trainer(method="baseline")
    rows_seen = torch.tensor([1, 2, 3, 4])
    moments, _ = trainer.cache.read(trainer.entries[:4])
    nothing, seeds = torch.zeros(4, dtype=torch.int64), [1, 2, 3, 4]
    spoken = trainer._losses(moments, rows_seen, nothing, seeds)
    silent = trainer._losses(moments, nothing, nothing, seeds)
    assert torch.equal(spoken, silent)
    assert not torch.equal(
        make_trainer(method="full")._losses(moments, rows_seen, nothing, seeds), silent
    )


def test_caption_dropout_takes_its_share(make_trainer):
    trainer, empty = make_trainer(caption_dropout=0.3, batch_size=100), 0
    for trainer.step in range(10):
        empty += (trainer._training_batch(range(100))[1] == 0).sum().item()
    assert 0.25 < empty / 1000 < 0.35


def test_the_held_out_products_are_never_trained_on(make_trainer):
    trainer = make_trainer()
    source = open_source(trainer.config.data)
    products = {source.product_ids[i] for i in trainer.held_out}
    trained = {source.product_ids[e % trainer.cache.num_items] for e in trainer.entries}
    assert products and trained and not products & trained


def test_items_are_drawn_by_their_weights(make_trainer):
    plain, weighted = make_trainer(), make_trainer()
    weighted.item_weights = np.arange(plain.cache.num_items, dtype=float)
    num_entries = len(plain.entries)
    order = np.array([weighted._entry(i) for i in range(50 * num_entries)])
    drawn = np.bincount(order, minlength=2 * plain.cache.num_items)[weighted.entries]
    expected = weighted.item_weights[weighted.entries % plain.cache.num_items]
    expected *= 50 * num_entries / expected.sum()
    assert np.abs(drawn - expected).max() <= 50  # an epoch rounds by less than one
    assert np.abs(drawn - expected).mean() < 5
    assert drawn[weighted.entries % plain.cache.num_items == 0].sum() == 0
    assert [weighted._entry(i) for i in (300, 7)] == [order[300], order[7]]  # of position alone
    weighted.item_weights = np.ones(plain.cache.num_items)
    weighted._epoch = None
    equal = [weighted._entry(i) for i in range(num_entries)]
    assert sorted(equal) == sorted(plain._entry(i) for i in range(num_entries))


def test_balanced_training_says_its_sample_size_and_goes_on_alike(settings, tmp_path):
    config = {**settings, "data": "flats", "limit": 60, "balance": "category", "resolution": 64}
    said = []
    train(build_config(**config), tmp_path / "whole", say=said.append)
    assert any("effective sample size" in text for text in said)

    def stop(step, unet):
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(build_config(**config), tmp_path / "cut", preview=stop, say=lambda text: None)
    train(build_config(**config), tmp_path / "cut", say=lambda text: None)
    whole, cut = (tmp_path / run / "adapter.safetensors" for run in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    with pytest.raises(InputError, match="no item states 'fabric'"):
        train(build_config(**{**config, "balance": "fabric"}), tmp_path / "other")


def test_a_folder_with_another_training_is_refused(settings, tmp_path, monkeypatch):
    train(build_config(**{**settings, "steps": 1}), tmp_path, say=lambda text: None)
    adapter = (tmp_path / "adapter.safetensors").read_bytes()
    said = []
    monkeypatch.setattr("tvhelpers.train.trainer.load_part", None)  # nor is a model loaded
    train(build_config(**{**settings, "steps": 1}), tmp_path, say=said.append)
    assert "finished" in said[0]
    with pytest.raises(InputError, match=r"another training \(different: rank\)"):
        train(build_config(**{**settings, "steps": 1, "rank": 3}), tmp_path)
    assert (tmp_path / "adapter.safetensors").read_bytes() == adapter


def test_a_file_that_loads_otherwise_ends_a_training_unfinished(settings, tmp_path, monkeypatch):
    real = adapter_names.write_adapter

    def lossy(adapter, path, names):
        real(adapter_names.Adapter(dict(list(adapter.layers.items())[1:])), path, names)

    with monkeypatch.context() as broken:
        broken.setattr("tvhelpers.lora.adapter.write_adapter", lossy)
        with pytest.raises(InputError, match=r"differs by .* not marked finished"):
            train(build_config(**settings), tmp_path, say=lambda text: None)
    assert not (tmp_path / "result.json").exists()
    train(build_config(**settings), tmp_path, say=lambda text: None)  # goes on, and is done
    about = adapter_names.read_adapter(tmp_path / "adapter_kohya.safetensors").about
    assert (about["steps"], about["prediction_type"]) == (12, "epsilon")
    assert about["data_digest"] == open_source(settings["data"]).fingerprint
    assert (tmp_path / "result.json").exists()


def test_captions_of_a_file_stand_for_the_datas_own(settings, tmp_path):
    path, config = tmp_path / "new.jsonl", {**settings, "steps": 1, "eval_steps": 0}
    source = open_source(settings["data"])
    write_captions(source, path)
    embeds = []
    for captions in ("", str(path)):
        train(build_config(**config, captions=captions), tmp_path / f"run{captions != ''}")
        caches = sorted((root_dir() / "artifacts").glob("cache-*"), key=os.path.getmtime)
        embeds.append(np.load(caches[-1] / "embeds.npy"))
    assert len(caches) == 2 and not np.array_equal(*embeds)
    assert np.array_equal(embeds[0][0], embeds[1][0])  # the empty prompt
    path.write_text(path.read_text().split("\n", 1)[1])
    with pytest.raises(InputError, match="captions of 23 items"):
        train(build_config(**config, captions=str(path)), tmp_path / "other")


def test_a_loss_that_is_not_finite_ends_the_training_with_a_sentence(settings, tmp_path):
    with pytest.raises(InputError, match="lower learning_rate"):
        train(build_config(**{**settings, "learning_rate": 1e9, "warmup_steps": 0, "steps": 60,
                              "method": "full", "max_grad_norm": 1e9}), tmp_path)  # fmt: skip


def test_full_training_writes_a_pipeline_of_its_own(settings, tmp_path):
    train(build_config(**settings, method="full", ema_decay=0.9), tmp_path / "run")
    before = load_part(find_base(settings["base"]), "unet").state_dict()
    after = load_part(find_base(str(tmp_path / "run" / "pipeline")), "unet").state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_trained_pipeline_keeps_the_guidance_of_its_base(settings, tmp_path):
    location = replace(find_base(settings["base"]), guidance=2.5)
    for name in ("once", "twice"):
        save_pipeline(location, load_part(location, "unet"), tmp_path / name)
        location = find_base(str(tmp_path / name))
        assert location.guidance == 2.5
    assert find_base(settings["base"]).guidance == 7.5  # what Stable Diffusion is used with


def test_ctrl_c_in_a_preview_stops_where_it_says(settings, tmp_path):
    config, whole = build_config(**{**settings, "checkpoint_steps": 0}), tmp_path / "whole"
    train(config, whole, say=lambda text: None)

    def press_ctrl_c(step, unet):
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    run = tmp_path / "run"
    with pytest.raises(Interrupted, match="stopped at step 6 of 12; checkpoint written"):
        train(config, run, preview=press_ctrl_c, say=lambda text: None)
    assert [path.name[:12] for path in run.glob("checkpoints/*.pt")] == ["step-0000006"]
    train(config, run, say=lambda text: None)
    name = "adapter.safetensors"
    assert (run / name).read_bytes() == (whole / name).read_bytes()
    (run / name).unlink()  # lost, and trained again: a finished run keeps no checkpoint
    train(config, run, say=lambda text: None)
    assert (run / name).read_bytes() == (whole / name).read_bytes()


def test_what_cannot_be_trained_claims_no_folder(settings, tmp_path):
    with pytest.raises(InputError, match="no item states 'fabric'"):
        train(build_config(**settings, method="baseline", classes="fabric"), tmp_path)
    with pytest.raises(InputError, match="both are needed"):
        train(build_config(**{**settings, "limit": 1}), tmp_path)
    with locked(tmp_path / ".lock"), pytest.raises(InputError, match="another process is at work"):
        train(build_config(**settings), tmp_path)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


def test_more_processes_than_samples_of_a_step_are_refused(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(Processes, "count", 1 + settings["batch_size"], raising=False)
    monkeypatch.setattr(Processes, "__init__", lambda self, device: None)
    with pytest.raises(InputError, match=r"processes share \d+ samples a step; start \d+ at most"):
        train(build_config(**settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_runs_to_compare_hold_the_same_items_out(make_trainer):
    one, other = make_trainer(seed=0), make_trainer(seed=1)
    assert np.array_equal(one.held_out, other.held_out)
    assert one.held_out_loss() == pytest.approx(other.held_out_loss(), rel=1e-6)
    third = make_trainer(split_seed=1)
    assert not np.array_equal(one.held_out, third.held_out)


def test_another_gpus_dtype_is_said_and_its_empty_scaler_left(make_trainer):
    trainer, said = make_trainer(), []
    trainer.train_step()
    state = {**trainer.state(), "dtype": "torch.bfloat16"}
    again = make_trainer()
    again.scaler = torch.amp.GradScaler("cpu", enabled=True)
    again.restore(state, said.append)
    assert again.step == 1 and "torch.bfloat16" in said[0]


def test_gradient_checkpointing_changes_no_bit(make_trainer):
    plain, checkpointed = make_trainer(), make_trainer(gradient_checkpointing=True)
    called = []
    layer = checkpointed.unet.up_blocks[-1].resnets[0]
    layer.register_forward_pre_hook(lambda *a: called.append(None))
    for _ in range(3):
        a, b = plain.train_step(), checkpointed.train_step()
        assert torch.equal(a["loss"], b["loss"]) and torch.equal(a["grad_norm"], b["grad_norm"])
    assert len(called) == 6  # computed again in the backward pass


def test_channels_last_is_the_same_training(make_trainer):
    plain, other = make_trainer(), make_trainer(channels_last=True)
    for _ in range(3):
        a, b = plain.train_step(), other.train_step()
        torch.testing.assert_close(a["loss"], b["loss"])
    strides = other.unet.conv_in.weight.stride()
    assert strides != plain.unet.conv_in.weight.stride()


def test_a_checkpoint_goes_on_in_the_other_order_of_memory(make_trainer):
    plain, other = (make_trainer(method="full", channels_last=last) for last in (False, True))
    plain.train_step()
    other.restore(deepcopy(plain.state()), str)
    weight = other.unet.conv_in.weight
    assert other.optimizer.state[weight]["exp_avg"].stride() == weight.stride()
    plain.train_step(), other.train_step()
    for one, two in zip(plain.weights, other.weights, strict=True):
        torch.testing.assert_close(one, two, atol=2e-5, rtol=1e-4)


def test_a_pipeline_says_the_noise_schedule_that_it_was_trained_with(settings, tmp_path):
    changes = {"prediction": "v_prediction", "zero_terminal_snr": True, "channels_last": True}
    train(build_config(**settings, method="full", **changes), tmp_path / "run")
    scheduler = load_part(find_base(str(tmp_path / "run" / "pipeline")), "scheduler")
    assert scheduler.alphas_cumprod[-1] == 0 and scheduler.config.timestep_spacing == "trailing"
    assert scheduler.config.prediction_type == "v_prediction"
    own = load_part(find_base(settings["base"]), "scheduler")
    assert own.alphas_cumprod[-1] > 0 and own.config.prediction_type == "epsilon"
    with pytest.raises(InputError, match="give prediction=v_prediction too"):
        train(build_config(**settings, zero_terminal_snr=True), tmp_path / "other")


def test_optimizers_are_chosen_by_name(make_trainer):
    seen = []
    for name in ("adamw", "adam"):
        trainer = make_trainer(optimizer=name, weight_decay=0.5, warmup_steps=0)
        trainer.train_step()
        seen.append([type(trainer.optimizer), trainer.weights[0].clone()])
    assert [kind for kind, _ in seen] == [torch.optim.AdamW, torch.optim.Adam]
    assert not torch.equal(seen[0][1], seen[1][1])
    with pytest.raises(InputError, match="adamw8bit runs on a GPU, not on cpu"):
        make_trainer(optimizer="adamw8bit")
