"""Classifiers: a judge of random weights, and Inception-v3 where its packages are installed."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from tests.helpers import refused
from tvhelpers.files import file_sha256
from tvhelpers.models import mini
from tvhelpers.score import features, request

HEADS = {"category": ("dress", "coat", "skirt"), "colour": ("red", "blue"), "pattern": ("plain",)}
PACKAGES = all(importlib.util.find_spec(package) for package in features.INCEPTION_PACKAGES)


@pytest.fixture
def judge(monkeypatch):
    torch.manual_seed(0)
    judge = mini.Judge(HEADS, width=4).eval()
    monkeypatch.setattr(mini, "load_judge", lambda: (judge, "abc"))
    return judge


@pytest.fixture
def no_inception(tmp_path, monkeypatch):
    """No weights anywhere; returns where they belong."""
    monkeypatch.setenv("TV_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    assert features.find_inception() is None
    return tmp_path / "data" / "inception" / features.INCEPTION_FILE


def images(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_the_judge_s_classes_are_words_of_one_head_or_more(judge):
    assert features.JudgeClassifier().probs(images(2, 128, 128)).shape[1] < 6
    classifier = features.JudgeClassifier(heads=("category", "colour"))
    pixels = images(5, 128, 128)
    probs = classifier.probs(pixels)
    assert probs.dtype == np.float64 and probs.shape == (5, 6) == (5, len(classifier.classes))
    assert np.allclose(probs.sum(1), 1, atol=1e-12) and classifier.digest == "abc"
    with torch.no_grad():
        logits = judge(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
    category, colour = (logits[head].double().softmax(1).numpy() for head in ("category", "colour"))
    pair = classifier.classes.index("coat, blue")
    assert np.allclose(probs[:, pair], category[:, 1] * colour[:, 1])


def test_images_of_another_size_are_resized_without_aliasing(judge):
    classifier = features.JudgeClassifier()
    stripes = np.zeros((1, 512, 512, 3), np.uint8)
    stripes[:, :, ::2] = 255  # finer than 128 px can hold: must come out as even grey
    grey = np.full((1, 128, 128, 3), 128, np.uint8)
    assert np.allclose(classifier.probs(stripes), classifier.probs(grey), atol=0.01)
    assert classifier.probs(images(2, 40, 70)).shape == (2, len(classifier.classes))


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((1, 8, 8, 3)), images(8, 8), images(1, 3, 8)[..., :2]],
    ids=["floats", "one image", "two channels"],
)
def test_only_uint8_rgb_is_taken(judge, pixels):
    with pytest.raises(ValueError, match="give uint8"):
        features.JudgeClassifier().probs(pixels)


def test_a_missing_judge_is_one_sentence(monkeypatch, tmp_path):
    load = mini.load_judge
    monkeypatch.setattr(mini, "load_judge", lambda: load(tmp_path / "judge.safetensors"))
    with refused("file-missing"):
        features.JudgeClassifier()


def test_the_choice_and_its_reason(judge, no_inception):
    classifier, reason = features.choose_classifier()
    assert isinstance(classifier, features.JudgeClassifier) and "lacks its weights" in reason
    assert features.choose_classifier("judge")[1] == "asked for"
    with refused("unknown-choice"):
        features.choose_classifier("vgg")


def test_a_request_names_every_classifier():
    assert ("auto", *features.CLASSIFIERS) == request.CLASSIFIERS


def test_inception_without_weights_says_where_they_go(no_inception):
    with refused("file-missing") as caught:
        features.choose_classifier("inception")
    assert no_inception.name in str(caught.value)
    assert str(no_inception.parent) in str(caught.value)


def test_another_file_under_inception_s_name_is_refused(no_inception):
    no_inception.parent.mkdir(parents=True)
    no_inception.write_bytes(b"another file")
    assert features.find_inception() == no_inception
    with refused("file-damaged"):
        features.InceptionClassifier()


def test_torch_s_own_cache_is_looked_into(no_inception, tmp_path):
    cached = tmp_path / "hub" / "hub" / "checkpoints" / features.INCEPTION_FILE
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"")
    assert features.find_inception() == cached


@pytest.mark.skipif(PACKAGES, reason="torchmetrics and torch-fidelity are installed")
def test_weights_without_the_packages(judge, no_inception, monkeypatch):
    no_inception.parent.mkdir(parents=True)
    no_inception.write_bytes(b"stands for the weights")
    monkeypatch.setattr(features, "INCEPTION_DIGEST", file_sha256(no_inception)[:8])
    assert "torch_fidelity" in features.choose_classifier("auto")[1]
    with refused("package-missing"):
        features.choose_classifier("inception")


@pytest.mark.skipif(
    not PACKAGES, reason="Inception-v3 needs torchmetrics and torch-fidelity: pip install them"
)
def test_inception_gives_torch_fidelity_s_logits(no_inception, monkeypatch):
    """Random weights under the real name; torch-fidelity's own forward pass is the reference."""
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    with monkeypatch.context() as patch:  # build theirs without a download
        patch.setattr(theirs, "load_state_dict_from_url", lambda *args, **options: None)
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *args: None)
        torch.manual_seed(0)
        network = theirs.FeatureExtractorInceptionV3("inception-v3-compat", ["logits_unbiased"])
    for layer in network.modules():  # untrained, the network hardly looks at its input
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    no_inception.parent.mkdir(parents=True)
    torch.save(network.state_dict(), no_inception)
    monkeypatch.setattr(features, "INCEPTION_DIGEST", file_sha256(no_inception)[:8])
    classifier, reason = features.choose_classifier("auto")
    assert isinstance(classifier, features.InceptionClassifier) and "were found" in reason
    pixels = images(2, 400, 400)  # larger than 299: smoothing would show
    logits = network(torch.from_numpy(pixels).permute(0, 3, 1, 2))[0]
    expected = logits.double().softmax(1).numpy()
    assert expected.max() > 2 * expected.min()  # or the comparison would say nothing
    probs = classifier.probs(pixels)
    assert probs.shape == (2, len(classifier.classes))
    assert np.allclose(probs, expected, rtol=1e-4, atol=0)


@pytest.fixture(params=["dinov2", "clip", "siglip"])
def vision_model(request, tmp_path):
    """A folder with a small vision model of random weights, as a hub's has it."""
    import transformers as t

    torch.manual_seed(0)
    small = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    vision = {**small, "image_size": 28, "patch_size": 14}
    text = {**small, "vocab_size": 50}
    if request.param == "dinov2":
        model = t.Dinov2Model(t.Dinov2Config(**vision))
    elif request.param == "clip":
        model = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    else:
        model = t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=vision))
    model.save_pretrained(tmp_path)
    kind = {"dinov2": "BitImageProcessor", "clip": "CLIPImageProcessor"}
    settings = {"image_processor_type": kind.get(request.param, "SiglipImageProcessor")}
    settings |= {"do_resize": True, "size": {"height": 28, "width": 28}, "do_center_crop": False}
    settings |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    return tmp_path


def test_vision_models_of_transformers_are_extractors(vision_model):
    extractor = features.choose_extractor(str(vision_model))
    pixels = images(5, 40, 40)
    rows = extractor.features(pixels)
    assert rows.shape[0] == 5 and rows.dtype == np.float64 and np.isfinite(rows).all()
    alone = np.concatenate([extractor.features(one[None]) for one in pixels])
    assert np.array_equal(alone, rows)  # whatever comes with it
    brighter = extractor.features(np.minimum(pixels, 100) + 100)
    assert not np.allclose(brighter, rows)
    again = features.VisionExtractor(str(vision_model))
    assert again.digest == extractor.digest
    with pytest.raises(ValueError, match="uint8"):
        extractor.features(pixels / 255)


def test_a_vision_model_that_is_not_there(tmp_path):
    with refused("model-unreadable"):
        features.VisionExtractor(str(tmp_path))


def test_the_judge_s_rows_do_not_depend_on_the_batch():
    from tvhelpers import flats

    specs = [flats.random_spec(9, i) for i in range(34)]
    pixels = np.stack([flats.render(spec, 9, i) for i, spec in enumerate(specs)])
    judge = features.JudgeClassifier()
    for rows in (judge.probs, judge.features):
        together = rows(pixels)
        assert np.array_equal(np.concatenate([rows(pixels[:3]), rows(pixels[3:])]), together)
