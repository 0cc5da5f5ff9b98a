"""The verbs of `adapter`: what cannot be made of a file is refused in a sentence."""


def test_adapter_refuses_what_cannot_be_made(refuse, run, tmp_path):
    out = ["--out", tmp_path / "out.safetensors"]
    refuse("file-missing", "adapter", "show", tmp_path / "none.safetensors")
    refuse("unknown-choice", "adapter", "convert", "shipped", "--to", "peft", *out)
    refuse("usage", "adapter", "scale", "shipped", "--by", "much", *out)
    refuse("out-of-range", "adapter", "scale", "shipped", "--by", "nan", *out)
    refuse("wrong-type", "adapter", "blend", "shipped", "--weights", "1,x", *out)
    refuse("out-of-range", "adapter", "blend", "shipped", "--weights", "1", "--rank", "-1", *out)
    refuse("unknown-base", "adapter", "merge", "shipped", "--base", "sd99", *out)
    assert not (tmp_path / "out.safetensors").exists()
    assert run("adapter", "show", "shipped")[0] == 0
