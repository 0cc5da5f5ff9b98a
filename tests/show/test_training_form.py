"""Notebook 04's way: the form, what it costs, previews as they come, a stop, and the zip at the
end."""

import types
import zipfile

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

pytest.importorskip("IPython")

from tests.helpers import refused
from tests.train.helpers import stop_at
from tvhelpers.config import TrainConfig
from tvhelpers.data.sources import open_source
from tvhelpers.lora.formats import read_adapter
from tvhelpers.progress import Interrupted
from tvhelpers.sample import preview
from tvhelpers.show import notebook, training_form
from tvhelpers.show.settings import NotebookSettings
from tvhelpers.show.training import training_curves
from tvhelpers.train.log import read_evaluations


def test_a_form_leaves_what_is_empty_to_the_preset_and_names_a_field_with_a_typo():
    empty = dict(STEPS=0, RESOLUTION="auto", RANK="", RATE=0.0)
    assert training_form.form_changes(**empty) == {}
    given = dict(STEPS="300", RESOLUTION=256, RANK=4, RATE="1e-4")
    wanted = {"steps": 300, "resolution": 256, "rank": 4, "learning_rate": 1e-4}
    assert training_form.form_changes(**given) == wanted
    typos = {"STEPS": ("3oo", -1, 2.5), "RESOLUTION": (500, "512px"), "RANK": (0.5, 10**6)}
    for field, values in {**typos, "RATE": ("fast", 3, -1e-4, float("nan"))}.items():
        for value in values:
            with refused("form-field") as caught:
                training_form.form_changes(**{field: value})
            assert str(caught.value).startswith(f"{field} in the form is ")


def test_on_a_gpu_drawings_are_for_mini_and_photos_of_00_are_found(colab, monkeypatch, capsys):
    for name in ("TV_BASE", "TV_PRESET", "TV_DATA", "TV_ROOT", "TV_DATA_DIR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(notebook, "_OURS", {})
    card = types.SimpleNamespace(total_memory=40 * 2**30)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: (8, 0))
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda number: card)
    tv = notebook.settings(data="auto", run="lora")
    assert (tv.base, tv.preset, tv.data) == ("mini", "cpu", "flats-new-season")
    assert "00_your_photos" in capsys.readouterr().out
    with refused("form-field") as caught:
        notebook.settings(data="mine", run="lora")
    assert "USE_DRIVE" in str(caught.value) and str(colab.work / "data" / "mine") in str(
        caught.value
    )
    with refused("unknown-choice") as caught:
        notebook.settings(preset="t5")
    assert "PRESET" in str(caught.value)
    for name in ("old", "mine"):
        (colab.work / "data" / name).mkdir(parents=True)
        (colab.work / "data" / name / "metadata.csv").write_text("file_name,caption\n")
    for data in ("auto", "mine"):
        tv = notebook.settings(data=data, run="lora")
        assert (tv.base, tv.preset) == ("sd15", "a100")
        assert tv.data == str(colab.work / "data" / "mine")
    with refused("form-field") as caught:
        notebook.settings(data="yours", use_drive=True)
    assert str(colab.drive_dir / "textile-vision" / "data" / "yours") in str(caught.value)


@pytest.fixture
def shown(monkeypatch):
    """What a notebook displays: (how, image), in order."""
    found = []

    def display(image, display_id):
        found.append(("new", image))
        return types.SimpleNamespace(update=lambda image: found.append(("replaced", image)))

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(training_form, "in_notebook", lambda: True)
    return found


def test_from_the_form_to_the_zip(
    tiny_base, photo_folder, tmp_path, monkeypatch, capsys, colab, shown
):
    tv = NotebookSettings(
        str(tiny_base), "smoke", str(photo_folder), tmp_path / "drive", colab.work
    )
    few = dict(eval_steps=2, checkpoint_steps=2, keep="best", held_out=0.2, flip=False)
    config = tv.train_config("mine", steps=6, rank=2, rate="0.01", **few)
    assert (config.steps, config.rank, config.learning_rate) == (6, 2, 0.01)
    tv.plan(config, "mine", release=True)
    lesson, cost, *_ = capsys.readouterr().out.splitlines()
    assert lesson.startswith("24 images of 12 products: 20 to train on, 4 kept for validation; ")
    assert "6 steps = 1.2 passes" in lesson and "minutes on this machine" in cost
    assert not tv.train_dir("mine").exists()

    prompts, press = ["a red dress", "a blue skirt"], stop_at(2)
    draw = training_form.ShownPreviews.__call__
    with monkeypatch.context() as patch, pytest.raises(Interrupted) as stopped:
        patch.setattr(
            training_form.ShownPreviews,
            "__call__",
            lambda self, step, parts: (draw(self, step, parts), press(step, parts)),
        )
        tv.train(config, "mine", prompts)
    (sentence,) = stopped.value._render_traceback_()
    assert "run this cell again to resume" in sentence and "finish=True" in sentence
    assert [how for how, _ in shown] == ["new", "replaced"]  # one figure, which grows
    result = tv.train(config, "mine", prompts, finish=True)
    assert result["steps"] == 2
    assert tv.train(config, "mine", prompts, finish=True) == result  # the cell is run again

    run, folder = tv.train_dir("mine"), tv.run_dir("mine") / "previews"
    last = read_evaluations(run)[-1]["step"]
    assert preview.step_of(preview.strips_of(folder)[-1]) == last
    plain = training_curves(run).height
    with_strip = training_curves(run, folder)
    assert with_strip.height > plain
    assert np.asarray(with_strip.convert("RGB"))[plain + 2 * preview.TITLE + 9].std() > 0

    path = tv.take_away("mine")
    assert path.parent == tv.run_dir("mine") and colab.downloads == [path]
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "out")
    files = {file.name: file for file in (tmp_path / "out" / path.stem).iterdir()}
    adapters = [files[f"{path.stem}{end}.safetensors"] for end in ("", "_kohya")]
    assert [len(read_adapter(file).layers) > 0 for file in adapters] == [True, True]
    text = files["README.md"].read_text()
    assert open_source(str(photo_folder)).captions[0] in text and "rank 2" in text
    assert "**Trigger words:**" in text and str(tmp_path) not in text
    assert Image.open(files["preview.jpg"]).width == preview.LEAST
    before = path.stat().st_mtime_ns
    tv.take_away("mine", release=True)
    assert path.stat().st_mtime_ns == before and len(colab.downloads) == 1
    assert [call[0] for call in colab.calls[-2:]] == ["flush_and_unmount", "unassign"]
    here = NotebookSettings(tv.base, tv.preset, tv.data, colab.work)
    here.take_away("mine", release=True)  # it is only here: the machine is kept
    assert colab.calls[-1][0] == "download"


def test_pixels_that_the_base_was_not_made_for_are_warned_of():
    disk = dict.fromkeys(
        ["cache_gb", "checkpoints_gb", "snapshots_gb", "result_gb", "there_gb"], 0.0
    ) | {"same_disk": True, "free_gb": 9.0, "cache_free_gb": 9.0}  # fmt: skip
    assert training_form._doubts(TrainConfig(), disk) == []
    (line,) = training_form._doubts(TrainConfig(resolution=512), disk)
    assert "128 pixels" in line


def test_at_most_eight_strips_are_shown_at_growing_distances(tmp_path):
    for step in range(0, 1100, 100):
        Image.new("RGB", (64, 32)).save(tmp_path / f"step-{step:07d}.png")
    steps = [preview.step_of(path) for path in preview.strips_of(tmp_path)]
    assert steps[0] == 0 and steps[-1] == 1000 and 6 <= len(steps) <= 8
    gaps = np.diff(steps)
    assert (np.diff(gaps) >= 0).all()
    assert preview.strips_of(tmp_path, 2)[1].stem == "step-0001000"
    page = preview.sheet(preview.strips_of(tmp_path))  # as older versions wrote them
    assert page.size == (480, len(steps) * (240 + preview.TITLE))
    texts = PngInfo()
    texts.add_itxt(preview.PROMPTS, "\n".join(["a red dress " * 30] * 2))
    Image.new("RGB", (64, 32)).save(tmp_path / "step-0001000.png", pnginfo=texts)
    page = preview.sheet(preview.strips_of(tmp_path))
    assert page.size == (480, len(steps) * (240 + preview.TITLE) + preview.TITLE)


def test_a_stop_is_one_sentence_in_a_notebook(capsys):
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    ways = "{'to resume': (), 'to end it with its best adapter so far': ('--finish',)}"
    stop = f"raise Interrupted('stopped at step 3 of 9; checkpoint written', {ways})"
    shell.run_cell(f"from tvhelpers.progress import Interrupted\n{stop}")
    assert capsys.readouterr().out == (
        "stopped at step 3 of 9; checkpoint written: run this cell again to resume, or with "
        "finish=True to end it with its best adapter so far\n"
    )
