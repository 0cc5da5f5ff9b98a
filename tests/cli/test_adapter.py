"""The verbs of `adapter`: their errors, and what `show` prints for people."""

from tvhelpers.models.base import find_base
from tvhelpers.records import write_json


def test_adapter_refuses_what_cannot_be_made(refuse, run, tmp_path):
    out = ["--out", tmp_path / "out.safetensors"]
    refuse("file-missing", "adapter", "show", tmp_path / "none.safetensors")
    refuse("unknown-choice", "adapter", "convert", "shipped", "--to", "peft", *out)
    refuse("usage", "adapter", "scale", "shipped", "--by", "much", *out)
    refuse("out-of-range", "adapter", "scale", "shipped", "--by", "nan", *out)
    refuse("wrong-type", "adapter", "blend", "shipped", "--weights", "1,x", *out)
    refuse("out-of-range", "adapter", "blend", "shipped", "--weights", "1", "--rank", "-1", *out)
    refuse("unknown-model", "adapter", "merge", "shipped", "--base", "sd99", *out)
    assert not (tmp_path / "out.safetensors").exists()


def test_an_adapter_of_a_training_that_is_not_finished_or_of_another_base(
    refuse, run, tiny_base, tmp_path
):
    run_dir = tmp_path / "runs" / "mine"
    run_dir.mkdir(parents=True)
    write_json(run_dir / "config.json", {"data": "data/mine", "steps": 200})
    assert "not finished" in refuse("file-missing", "adapter", "show", run_dir)
    shipped = find_base("mini").adapter
    (run_dir / "adapter.safetensors").write_bytes(shipped.read_bytes())
    write_json(run_dir / "result.json", {})
    out = run("adapter", "show", run_dir)[1]
    assert f"of the training in {run_dir}, with the data data/mine" in out
    words = ["generate", "a dress", "--base", tiny_base, "--device", "cpu", "--adapter"]
    refuse("another-base adapter-unfit", *words, run_dir, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_adapter_show_prints_words_for_people(run, tmp_path):
    half = tmp_path / "half.safetensors"
    assert run("adapter", "scale", "shipped", "--by", 0.5, "--out", half)[0] == 0
    code, out, _ = run("adapter", "show", half)
    assert code == 0 and not {*"{}[]"} & {*out}
    assert str(half) in out and "of the training in" not in out
    assert "made for base: mini" in out and "blended from: 0.5 x (base mini, " in out
