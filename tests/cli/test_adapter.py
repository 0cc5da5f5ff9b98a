"""The verbs of `adapter`: their errors, and what `show` prints for people."""


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


def test_adapter_show_prints_words_for_people(run, tmp_path):
    half = tmp_path / "half.safetensors"
    assert run("adapter", "scale", "shipped", "--by", 0.5, "--out", half)[0] == 0
    code, out, _ = run("adapter", "show", half)
    assert code == 0 and not {*"{}[]"} & {*out}
    assert str(half) in out and "of the training in" not in out
    assert "made for base: mini" in out and "blended from: 0.5 x (base mini, " in out
