"""Small inputs of every kind, by the tree on PYTHONPATH: python golden_inputs.py FOLDER."""

from __future__ import annotations

import contextlib
import csv
import importlib
import importlib.util
import json
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

COUNT, SIDE = 24, 64
MANIFEST = """
tiny-flats: {kind: flats, licence: ours, obtain: drawn, params: {seed: 5, count: 40, season: base}}
many-flats: {kind: flats, licence: ours, obtain: drawn, params: {seed: 7, count: 240}}
few-flats: {kind: flats, licence: ours, obtain: drawn, params: {seed: 6, count: 30, season: all}}
shop:
  kind: images
  licence: ours
  obtain: made
  reader: table
  table: stock.csv
  images: "pics/{sku}.png"
  columns: {caption: "{brand} {title}", category: kind, product: sku, weight: sold}
packed:
  kind: images
  licence: ours
  obtain: made
  reader: h5
  table: rows.h5
  columns: {pixels: images, caption: words, category: kind}
"""


def main(folder: Path) -> None:
    """Write all inputs."""
    folder.mkdir(parents=True)
    garments = Garments()
    write_base(folder / "base")
    (folder / "manifest.yaml").write_text(MANIFEST)
    photo_folders(folder, garments)
    tables(folder, garments)
    benchmark(folder)
    stores(folder)
    prediction(folder / "prediction", garments)


def module_with(name: str, *modules: str):
    """Return the first of these modules that has `name`: today's module, then its former one."""
    for module in modules:
        with contextlib.suppress(ModuleNotFoundError):
            if hasattr(found := importlib.import_module(module), name):
                return found
    raise ModuleNotFoundError(f"{name} of {' or '.join(modules)}")


class Garments:
    """Drawn garments with their words, as files of all formats hold them."""

    def __init__(self, seed: int = 3, count: int = COUNT, side: int = SIDE):
        flats = module_with("render", "tvhelpers.flats", "tvhelpers.data.flats")
        specs = [flats.random_spec(seed, i) for i in range(count)]
        self.pixels = [flats.render(spec, seed, i, side) for i, spec in enumerate(specs)]
        self.captions = [flats.caption(spec, seed, i) for i, spec in enumerate(specs)]
        self.categories = [spec.category for spec in specs]
        self.colours = [spec.colour for spec in specs]

    def save(self, folder: Path, name) -> None:
        """Write the images as folder/name(i)."""
        for i, pixels in enumerate(self.pixels):
            path = folder / name(i)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def write_base(folder: Path, widths=(32, 64), hidden: int = 32, side: int = 8, seed: int = 0):
    """Write a Stable Diffusion pipeline of a few thousand random weights in the stock layout."""
    import diffusers as d
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    build = module_with("build_tokenizer", "recipes.mini.build", "tvhelpers.models.mini")
    captions = ["a red dress", "a blue striped skirt"]
    words = build.build_tokenizer(captions, folder.with_name("words"))
    torch.manual_seed(seed)
    ids = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=hidden, intermediate_size=2 * hidden,
        num_hidden_layers=2, num_attention_heads=2, projection_dim=hidden, **ids,
    )  # fmt: skip
    unet = d.UNet2DConditionModel(
        sample_size=side, block_out_channels=widths, layers_per_block=1, attention_head_dim=2,
        cross_attention_dim=hidden, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), norm_num_groups=min(32, widths[0]),
    )  # fmt: skip
    vae = d.AutoencoderKL(
        block_out_channels=(8, 8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4,
        norm_num_groups=4, up_block_types=("UpDecoderBlock2D",) * 4, sample_size=8 * side,
        latent_channels=4,
    )  # fmt: skip
    betas = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    noise = d.PNDMScheduler(**betas, skip_prk_steps=True, steps_offset=1)
    parts = vae, CLIPTextModel(text), words, unet, noise, None, None
    pipe = d.StableDiffusionPipeline(*parts, requires_safety_checker=False)
    pipe.save_pretrained(folder)


def photo_folders(folder: Path, garments: Garments) -> None:
    """Write photos with metadata.csv, metadata.jsonl, text files, folders by category, bare ones,
    and ones that are not square."""
    rows = [
        {"file_name": f"{i:03d}.png", "caption": garments.captions[i], "product": f"p-{i // 2}",
         "category": garments.categories[i], "colour": garments.colours[i],
         "split": "test" if i % 11 == 10 else "train"}
        for i in range(COUNT)
    ]  # fmt: skip
    garments.save(folder / "photos", "{:03d}.png".format)
    _csv(folder / "photos" / "metadata.csv", rows)
    garments.save(folder / "rows", "{:03d}.png".format)
    text = "".join(json.dumps({**row, "weight": 1 + i % 3}) + "\n" for i, row in enumerate(rows))
    (folder / "rows" / "metadata.jsonl").write_text(text)
    garments.save(folder / "texts", "{:03d}.png".format)
    for i, caption in enumerate(garments.captions):
        (folder / "texts" / f"{i:03d}.txt").write_text(caption + "\n")
    kinds = [kind.replace(" ", "_") for kind in garments.categories]
    garments.save(folder / "kinds", lambda i: f"{kinds[i]}/{i:03d}.jpg")
    garments.save(folder / "bare", "{:03d}.png".format)
    wide = Garments(4, 6)
    wide.pixels = [one[: 20 + 7 * i] for i, one in enumerate(wide.pixels)]
    wide.save(folder / "wide", lambda i: f"a-{wide.colours[i]}-{wide.categories[i]}-{i}.png")


def tables(folder: Path, garments: Garments) -> None:
    """Write a shop's table in each format, its images, and an HDF5 file with words in it."""
    rows = [
        {"sku": f"s{i:03d}", "title": caption, "brand": "Loom", "kind": garments.categories[i],
         "sold": i % 5 + 1}
        for i, caption in enumerate(garments.captions)
    ]  # fmt: skip
    shop = folder / "shop"
    garments.save(shop, "pics/s{:03d}.png".format)
    _csv(shop / "stock.csv", rows)
    _csv(shop / "stock.tsv", rows, "\t")
    (shop / "stock.json").write_text(json.dumps(rows))
    (shop / "stock.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if importlib.util.find_spec("pyarrow"):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), shop / "stock.parquet")
    (folder / "packed").mkdir()
    with h5py.File(folder / "packed" / "rows.h5", "w") as file:
        file["images"] = np.stack(garments.pixels)
        file["words"] = [caption.encode() for caption in garments.captions]
        file["kind"] = [kind.encode() for kind in garments.categories]


def _csv(path: Path, rows: list[dict], delimiter: str = ",") -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)


def benchmark(folder: Path) -> None:
    """Write the files of the Fashion Synthesis benchmark, and original photos for half of them."""
    from tvhelpers.data.sources import open_source

    example = module_with("write_g2", "tvhelpers.data.example", "tvhelpers.data.fashion_synthesis")
    own = Garments(21, COUNT, 128)
    kinds = ["tee", "dress", "coat", "blouse", "romper", "hoodie"] * (COUNT // 6)
    colours = ["red", "blue", "green", "black"] * (COUNT // 4)
    texts = [f"the lady wore a {c} {k} with short sleeves." for k, c in zip(kinds, colours)]
    products = [f"Red_Thing_{i // 2:02d}" for i in range(COUNT)]
    more = {"products": products, "seed": 4}
    example.write_g2(folder / "g2", iter(own.pixels), texts, kinds, colours, **more)
    with zipfile.ZipFile(folder / "img_highres.zip", "w") as archive:
        for i, name in enumerate(open_source(folder / "g2").item_ids[: COUNT // 2]):
            path = folder / "photo.jpg"
            Image.fromarray(own.pixels[i]).resize((60, 90)).save(path)
            archive.write(path, name.replace("img/", "img_highres/", 1))
            path.unlink()


def stores(folder: Path) -> None:
    """Write the same images in each encoding, as HDF5, .npz and .npy, and damaged ones."""
    levels = np.stack(Garments(8, 32, SIDE).pixels)
    unit = levels.astype(np.float32) / 255
    place = folder / "stores"
    place.mkdir()
    for name, arrays in encodings(levels, unit).items():
        with h5py.File(place / f"{name}.h5", "w") as file:
            for key, values in arrays.items():
                file[key] = values.astype(np.float32 if values.dtype.kind == "f" else np.uint8)
    np.savez(place / "bytes.npz", images=levels)
    np.save(place / "unit.npy", unit)
    np.save(place / "mean.npy", unit.mean(0))
    whole = (place / "unit.h5").read_bytes()
    (place / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (place / "text.h5").write_text("hello " * 1000)
    (place / "empty.h5").touch()


def encodings(levels: np.ndarray, unit: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Return {file: {key: rows}} of images uint8 (N, H, W, 3), which are 0..1 in `unit`."""
    mean, odd = unit.mean(0), np.arange(len(unit))[:, None, None, None]
    low, span = unit.min((1, 2, 3), keepdims=True), np.ptp(unit, (1, 2, 3), keepdims=True)
    cwh = (unit - mean).transpose(0, 3, 2, 1)
    return {
        "mean": {"ih": cwh, "ih_mean": mean.transpose(2, 1, 0)},
        "no-mean": {"ih": cwh},
        "affine": {"images": (unit * 2 - 1).transpose(0, 3, 1, 2)},
        "unit": {"images": unit},
        "bytes-bgr": {"images": levels[..., ::-1]},
        "bytes-chw": {"pixels": levels.transpose(0, 3, 1, 2)},
        "lying": {"images": unit.transpose(0, 2, 1, 3)[:, :, :48]},
        "minmax": {"images": (unit - low) / np.maximum(span, 1e-6)},
        "wrapped": {"images": ((unit - mean) * 255).astype(np.int64).astype(np.uint8)},
        "nan": {"images": np.where(odd == 7, np.nan, unit)},
        "blank": {"images": np.where(odd % 9 == 4, 255, levels)},
    }


def prediction(folder: Path, garments: Garments) -> None:
    """Write a small set in the layout of DeepFashion's Category and Attribute Prediction."""
    names = [f"img/Striped_Dress_{i // 2}/img_{i % 2 + 1:08d}.jpg" for i in range(8)]
    for name, pixels in zip(names, garments.pixels):
        (folder / "Img" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "Img" / name)
    table(folder / "Anno_coarse" / "list_category_cloth.txt", "category_name category_type",
          [(f"Kind{i}" if i not in (3, 41) else {3: "Blouse", 41: "Dress"}[i],
            1 + (i > 20) + (i > 36)) for i in range(1, 51)])  # fmt: skip
    table(folder / "Anno_coarse" / "list_category_img.txt", "image_name category_label",
          [(name, (3, 41)[i % 2]) for i, name in enumerate(names)])  # fmt: skip
    table(folder / "Anno_coarse" / "list_attr_cloth.txt", "attribute_name attribute_type",
          [("striped", 1), ("chiffon", 2), ("maxi", 3), ("long sleeve", 4)])  # fmt: skip
    table(folder / "Anno_coarse" / "list_attr_img.txt", "image_name attribute_labels",
          [(name, f"{1 if i % 2 else -1} -1 1 {1 if i % 3 else -1}")
           for i, name in enumerate(names)])  # fmt: skip
    table(folder / "Anno_coarse" / "list_bbox.txt", "image_name x_1 y_1 x_2 y_2",
          [(name, f"{i} 2 {40 + i} 60") for i, name in enumerate(names)])  # fmt: skip
    table(folder / "Eval" / "list_eval_partition.txt", "image_name evaluation_status",
          [(name, ("train", "val", "test")[i % 3]) for i, name in enumerate(names)])  # fmt: skip


def table(path: Path, header: str, rows: list[tuple]) -> None:
    """Write a list of that benchmark: count, header, a first column padded with spaces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{first:70} {rest}" for first, rest in rows]
    path.write_text("\n".join([str(len(rows)), header, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
