"""Hostile files, and the commands that open them; `audit.py` runs these in ROOT, its argument.

A case yields the words of a command, or ({variable: value}, words).
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import safetensors.numpy
from PIL import Image

from tvhelpers.models.mini import WEIGHTS_DIR

ROOT = Path(sys.argv[1]).resolve()
INPUTS, OUT, TEMP, SECRET = (ROOT / name for name in ("inputs", "out", "temp", "secret"))
MARKER = ROOT / "written-by-foreign-code"
CODE = f"open({str(MARKER)!r}, 'w').write('ran')\nclass Own: pass\n"
LEADING_OUT = ["../../secret/photo.png", str(SECRET / "photo.png"), "link.png", "../secret.png"]


class Evil:
    """A pickle of it would write the marker when it is opened."""

    def __reduce__(self):
        return exec, (CODE,)


def folder(name: str) -> Path:
    path = INPUTS / name
    path.mkdir(parents=True)
    return path


def image(path: Path, side: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def convert(path: Path, *words) -> list[str]:
    return ["data", "convert", str(path), "--out", str(OUT / path.name), *words]


def photos_of_other_formats():
    """Formats whose readers start programs or read other files, under names of images."""
    texts = {
        "a.jpg": f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({MARKER}) (w) file\n",
        "b.png": f'<svg xmlns="x"><image href="file://{SECRET}/photo.png"/></svg>',
        "c.webp": "PUSH graphic-context\nfill 'url(https://127.0.0.1/x|touch x)'\n",
        "d.bmp": "%PDF-1.7\n", "e.tif": "gimp xcf file\0", "f.gif": "8BPS\0\1", "g.jpeg": CODE,
    }  # fmt: skip
    for name, text in texts.items():
        path = folder(f"format-{name[0]}/dress") / name
        path.write_text(text)
        image(path.with_name("z.png"))
        yield convert(path.parent.parent)
        yield ["score", str(path.parent), "--out", str(OUT / f"{name}.json")]
    path = folder("fifo/dress")
    os.mkfifo(path / "a.png")
    image(path / "b.png")
    yield convert(path.parent)
    yield ["score", str(path), "--out", str(OUT / "fifo.json")]


def tables_that_lead_out():
    for number, name in enumerate(LEADING_OUT):
        for ending in ("csv", "jsonl"):
            path = folder(f"table-{number}-{ending}")
            image(path / "a.png")
            (path / "link.png").symlink_to(SECRET / "photo.png")
            rows = [("a.png", "a red dress"), (name, "a blue dress")]
            lines = ["file_name,caption", *map(",".join, rows)]
            if ending == "jsonl":
                lines = [json.dumps({"file_name": one, "caption": text}) for one, text in rows]
            (path / f"metadata.{ending}").write_text("\n".join(lines) + "\n")
            yield convert(path)
    path = folder("linked")
    for name in "ab":
        image(path / f"{name}.png")
    (path / "a.txt").write_text("a red dress")
    (path / "b.txt").symlink_to(SECRET / "words.txt")
    yield convert(path)
    yield ["data", "inspect", str(path)]


def arrays():
    path = folder("arrays")
    objects = np.empty(3, object)
    objects[:] = [Evil()] * 3
    np.savez(path / "objects.npz", images=objects, captions=objects)
    np.save(path / "objects.npy", objects, allow_pickle=True)
    (path / "pickle.npy").write_bytes(pickle.dumps(Evil()))
    (path / "pickle.h5").write_bytes(pickle.dumps(Evil()))
    (path / "pickle.mat").write_bytes(pickle.dumps(Evil()))
    with h5py.File(SECRET / "all.h5", "w") as file:
        file["images"] = np.zeros((3, 24, 24, 3), np.uint8)
    with h5py.File(path / "external.h5", "w") as file:
        file["images"] = h5py.ExternalLink(str(SECRET / "all.h5"), "images")
    with h5py.File(path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((3, 24, 24, 3), "u1")
        layout[:] = h5py.VirtualSource(str(SECRET / "all.h5"), "images", (3, 24, 24, 3))
        file.create_virtual_dataset("images", layout)
    with h5py.File(path / "raw.h5", "w") as file:
        stored = [(str(SECRET / "photo.png"), 0, 1728)]
        file.create_dataset("images", (1, 24, 24, 3), "u1", external=stored)
    for file in sorted(path.iterdir()):
        yield ["data", "convert", str(file), "--out", str(OUT / f"array-{file.name}")]
    made = folder("converted")
    shutil.copy(path / "external.h5", made / "pixels.h5")
    (made / "items.jsonl").write_text('{"file_name": "../../secret/photo.png"}\n')
    yield convert(made)


def infected(path: Path) -> Path:
    """Make a model's folder name code of its own, and bring it in every usual place."""
    keys = "AutoConfig AutoModel AutoModelForImageTextToText AutoImageProcessor AutoProcessor"
    own = {**dict.fromkeys(keys.split(), "own.Own"), "AutoTokenizer": ["own.Own", "own.Own"]}
    for name in ("config", "preprocessor_config", "processor_config", "tokenizer_config"):
        file = path / f"{name}.json"
        record = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**record, "auto_map": own, "custom_pipelines": own}))
    for name in ("own", "pipeline", "handler", "custom_generate/generate", "__init__"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / f"{name}.py").write_text(CODE)
    return path


def models():
    def copied(name):
        path = INPUTS / name
        shutil.copytree(WEIGHTS_DIR / "tokenizer", path / "tokenizer", dirs_exist_ok=True)
        return Path(shutil.copytree(WEIGHTS_DIR / "clip", path / "clip")), path

    clips = [infected(copied("own-clip")[0])]
    for change in (
        {"model_type": "own"}, {"attn_implementation": "nobody/kernels"},
        {"quantization_config": {"quant_method": "gptq"}}, {"auto_map": {"AutoModel": "a/b--c.D"}},
    ):  # fmt: skip
        clip = infected(copied(f"clip-{len(clips)}")[0])
        config = json.loads((clip / "config.json").read_text())
        (clip / "config.json").write_text(json.dumps({**config, **change}))
        clips.append(clip)
    for name in ("model.safetensors", "pytorch_model.bin"):
        clip = copied(f"pickled-{name[:5]}")[0]
        (clip / "model.safetensors").unlink()
        (clip / name).write_bytes(pickle.dumps(Evil()))
        clips.append(clip)
    clip = copied("peft-clip")[0]
    clips.append(clip)
    (clip / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/model"}')
    photos = str(INPUTS / "good" / "photos")
    for number, clip in enumerate(clips):
        out = ["--out", str(OUT / f"model-{number}")]
        yield ["data", "captions", photos, "--captioner", str(clip), *out]
        yield ["score", photos, "--features", str(clip), "--real", photos, *out]
        yield ["clip", "tune", "--data", "flats", "--clip", str(clip), "--set", "own=1", *out]
        yield ["generate", "a", "--steps", "1", "--text-encoder", str(clip), *out]
    (OUT / "runs" / "mine").mkdir(parents=True)
    yield ["generate", "a", "--base", "runs/mnie", "--out", str(OUT / "hub")]
    for name in ("nobody/model", "hub:nobody/model", "runs/mnie"):
        yield ["score", photos, "--features", name, "--real", photos, "--out", str(OUT / "hub")]


def pipelines():
    for number, class_name in enumerate((None, ["own", "Own"], "own.Own", "https://a/b")):
        path = shutil.copytree(WEIGHTS_DIR, INPUTS / f"pipeline-{number}")
        index = json.loads((path / "model_index.json").read_text())
        index |= {"unet": ["own", "Own"], "vae": ["..own", "Own"], "tokenizer": ["pipeline", "Own"]}
        index |= {"_class_name": class_name} if class_name else {}
        (path / "model_index.json").write_text(json.dumps(index))
        for part in ("", "unet", "text_encoder", "tokenizer", "scheduler"):
            infected(path / part)
        out = ["--out", str(OUT / path.name)]
        yield ["generate", "a", "--base", str(path), "--steps", "1", "--adapter", "none", *out]
    path = shutil.copytree(WEIGHTS_DIR, INPUTS / "pipeline-pickled")
    for file in path.glob("unet/*.safetensors"):
        file.unlink()
    (path / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    out = ["--out", str(OUT / path.name)]
    yield ["generate", "a", "--base", str(path), "--steps", "1", "--adapter", "none", *out]


def adapters():
    path = folder("adapters")
    files = [path / f"{name}.safetensors" for name in ("pickled", "own", "json", "deep")]
    files[0].write_bytes(pickle.dumps(Evil()))
    weights = {"unet.mid_block.attentions.0.lora.up.weight": np.zeros((4, 2), np.float32)}
    texts = ["{'a': 1}", CODE, "[" * 9999, f'{{"auto_map": "own.Own", "path": "{SECRET}"}}']
    for file, text in zip(files[1:], texts, strict=False):
        metadata = {"tvhelpers": text, "lora_adapter_metadata": text, "ss_network_args": text}
        safetensors.numpy.save_file(weights, file, metadata)
    (path / "old.pt").write_bytes(pickle.dumps(Evil()))
    for file in [*files, path / "old.pt", path]:
        yield ["adapter", "show", str(file)]
        yield ["adapter", "scale", str(file), "--by", "1", "--out", str(OUT / file.name)]
        out = ["--out", str(OUT / f"adapted-{file.name}")]
        yield ["generate", "a", "--adapter", str(file), "--steps", "1", *out]


def galleries():
    """Results of others: their records name images elsewhere, and a base of the hub."""
    for number, name in enumerate(LEADING_OUT):
        path = folder(f"gallery-{number}")
        rows = [{"file": "a.png", "prompt": "a red dress", "seed": 0, "base": "nobody/model"}]
        image(path / "a.png")
        (path / "link.png").symlink_to(SECRET / "photo.png")
        rows.append({**rows[0], "file": name, "seed": 1})
        (path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (path / "request.json").write_text(json.dumps({"prompts": ["a"], "base": "nobody/model"}))
        out = OUT / f"gallery-{number}"
        yield ["score", str(path), "--clip", "mini", "--out", f"{out}.json"]
        pair = f"a={path}", f"b={INPUTS / 'good' / 'gallery'}"
        yield ["study", "make", *pair, "--out", f"{out}-study"]
        shutil.copytree(path, f"{out}-resumed", symlinks=True)
        yield ["generate", "a red dress", "--steps", "1", "--out", f"{out}-resumed"]


def studies():
    for number, name in enumerate([*LEADING_OUT, "../../payload/x", "<script>alert(1)</script>"]):
        path = shutil.copytree(OUT / "good-study", INPUTS / f"study-{number}")
        for file in ("study.json", "key.json"):
            text = (path / file).read_text()
            image_name = next(path.rglob("*.png")).stem
            (path / file).write_text(text.replace(image_name, json.dumps(name)[1:-1]))
        pages, analysis = OUT / f"pages-{number}", OUT / f"analysis-{number}"
        yield ["study", "html", str(path), "--raters", "r1", "--out", str(pages)]
        yield ["study", "analyse", str(path), "--out", str(analysis)]
        (INPUTS / f"votes-{number}.json").write_text(json.dumps({"study": name, "votes": [name]}))
        yield ["study", "import", str(path), str(INPUTS / f"votes-{number}.json")]


def suites_and_settings():
    path = folder("suites")
    rows = [{"prompt": "a red dress", "file": str(SECRET / "photo.png"), "id": "../../x"}]
    (path / "a.jsonl").write_text(json.dumps(rows[0]) + "\n")
    (path / "b.jsonl").write_text("[" * 99_999)
    (path / "c.jsonl").write_bytes(pickle.dumps(Evil()))
    for file in sorted(path.iterdir()):
        out = str(OUT / f"suite-{file.name}")
        yield ["generate", "--prompts", str(file), "--steps", "1", "--out", out]
        yield ["data", "convert", str(file), "--out", f"{out}-data"]
    run = folder("run")
    (run / "config.json").write_text(json.dumps({"base": "nobody/model", "method": CODE}))
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "step-1.pt").write_bytes(pickle.dumps(Evil()))
    (run / "adapter.safetensors").write_bytes(pickle.dumps(Evil()))
    yield ["generate", "a", "--adapter", str(run), "--steps", "1", "--out", str(OUT / "run")]
    yield ["generate", "a", "--base", str(run), "--steps", "1", "--out", str(OUT / "run")]


def manifests():
    """Tags of YAML, and rows whose names or addresses lead elsewhere."""
    call = f'!!python/object/apply:os.system ["touch {MARKER}"]'
    row = "{kind: images, licence: x, obtain: y, "
    texts = [
        f"a: {call}", f"a: {row} size: {call}}}", "a: !!python/name:os.system x",
        f"a: {row} files: [{{url: 'file://{SECRET}/words.txt'}}]}}",
        "../../evil: " + row + "}", f"a: {row} reader: table, table: ../../secret/t.csv}}",
        f"a: {{kind: base, licence: x, obtain: y, path: {SECRET}}}",
    ]  # fmt: skip
    for number, text in enumerate(texts):
        path = INPUTS / f"manifest-{number}.yaml"
        path.write_text(text + "\n")
        for name in ("a", "../../evil"):
            yield {"TV_MANIFEST": str(path)}, ["data", "get", name]
            yield {"TV_MANIFEST": str(path)}, convert(Path(name))


def archives():
    path = folder("archives")
    names = [
        "../../up.txt",
        str(MARKER),
        "a/../../../up.txt",
        "C:/x",
        "..\\..\\up.txt",
        "x" * 64_000,
    ]
    for number, name in enumerate(names):
        with zipfile.ZipFile(path / f"{number}.zip", "w") as file:
            file.writestr(name, CODE)
        with tarfile.open(path / f"{number}.tar", "w") as file:
            info = tarfile.TarInfo(name)
            info.size = len(CODE)
            file.addfile(info, io.BytesIO(CODE.encode()))
    with tarfile.open(path / "link.tar", "w") as file:
        for name, kind in (("a", tarfile.SYMTYPE), ("b", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(SECRET)
            file.addfile(info)
    manifest = INPUTS / "archives.yaml"
    manifest.write_text("mine: {kind: images, licence: x, obtain: y}\n")
    for archive in sorted(path.iterdir()):
        command = ["data", "get", "mine", "--archive", str(archive)]
        yield {"TV_MANIFEST": str(manifest)}, command
        yield convert(archive)


CASES = [
    photos_of_other_formats, tables_that_lead_out, arrays, models, pipelines, adapters, galleries,
    studies, suites_and_settings, manifests, archives,
]  # fmt: skip
