"""The verb `clip tune`: its errors."""


def test_clip_tune_refuses_what_cannot_be_tuned(refuse, photo_folder, tmp_path):
    start = ["clip", "tune", "--data", photo_folder, "--out", tmp_path / "clip"]
    refuse("unknown-key", *start, "--set", "epochs=3")
    refuse("unknown-choice", *start, "--set", "positives=all")
    refuse("out-of-range", *start, "--set", "share=2")
    refuse("out-of-range", *start, "--set", "steps=0")
    refuse("given-twice", *start, "--set", "steps=1", "--set", "steps=2")
    refuse("file-missing", "clip", "tune", "--data", "no-such", *start[4:])
    refuse("unknown-choice", *start, "--device", "tpu")
    assert not (tmp_path / "clip").exists()
