"""Small valid inputs of every kind of data, which benchmarks/broken_inputs.py damages."""

import io
import json
import shutil
import tarfile
import warnings
import zipfile

import h5py
import numpy as np
from PIL import Image

from tvhelpers import flats, manifest
from tvhelpers.data.convert import convert
from tvhelpers.data.example import write_g2
from tvhelpers.data.sources import open_source

ROWS = 6


def zip_of(files, mode=0o100644, flag=0):
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        warnings.simplefilter("ignore")  # names used twice are the point
        for name, data in files:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.create_system = mode << 16, 3
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, data)
    return out.getvalue()


def images(size=128):
    return np.stack([flats.render(flats.random_spec(1, i), 1, i, size) for i in range(ROWS)])


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def make_g2(folder):
    captions = [f"the lady wore a blue tee {i}." for i in range(ROWS)]
    write_g2(folder, images(), captions, ["tee"] * ROWS, ["blue"] * ROWS, test_share=0.3)


def make_converted(folder):
    make_g2(folder / "raw")
    convert(folder / "raw", folder / "set", size=32)
    shutil.rmtree(folder / "raw")
    for path in (folder / "set").iterdir():
        path.rename(folder / path.name)
    (folder / "set").rmdir()


def make_photos(folder, prefix=""):
    for i, one in enumerate(images(32)):
        path = folder / prefix / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(one))


def make_csv(folder):
    make_photos(folder)
    rows = [f'{i}.png,"a red dress, number {i}",p{i // 2},train' for i in range(ROWS)]
    (folder / "metadata.csv").write_text(
        "\n".join(["file_name,caption,product,split", *rows]), encoding="utf-8"
    )


def make_jsonl(folder):
    make_photos(folder)
    rows = [{"file_name": f"{i}.png", "text": f"tee {i}", "weight": i} for i in range(ROWS)]
    (folder / "metadata.jsonl").write_text(
        "\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8"
    )


def make_classes(folder):
    make_photos(folder, "train/dress")


def stock():
    return [{"sku": str(i), "title": f"tee {i}", "kind": "tee"} for i in range(ROWS)]


def make_tsv(folder):
    make_photos(folder, "pics")
    rows = ["\t".join(row.values()) for row in stock()]
    (folder / "stock.tsv").write_text("\n".join(["sku\ttitle\tkind", *rows]), encoding="utf-8")


def make_json(folder):
    make_photos(folder, "pics")
    (folder / "stock.json").write_text(json.dumps(stock()), encoding="utf-8")


def make_parquet(folder):
    import pyarrow
    import pyarrow.parquet

    make_photos(folder, "pics")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(stock()), folder / "stock.parquet")


def make_h5(folder):
    with h5py.File(folder / "set.h5", "w") as file:
        file["pixels"] = images(64)
        file["input_description"] = np.array([b"robe"] * ROWS, "S8")[:, None]


def make_npz(folder):
    np.savez(folder / "set.npz", images=images(64).transpose(0, 3, 1, 2) / np.float32(255))


def make_npy(folder):
    np.save(folder / "set.npy", images(64))


def make_text(folder):
    make_photos(folder)
    for i in range(ROWS):
        (folder / f"{i}.txt").write_text(f"a red dress, number {i}", encoding="utf-8")


def make_coarse(folder):
    names = [f"img/Red_Dress/img_{i:08d}.png" for i in range(ROWS)]
    for name, one in zip(names, images(32)):
        path = folder / "Img" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(one))
    tables = {
        "list_category_cloth": [(f"Category{i}", 1) for i in range(50)],
        "list_attr_cloth": [(f"long attribute {i}", 1 + i % 5) for i in range(10)],
        "list_category_img": [(name, 41) for name in names],
        "list_attr_img": [(name, " 1 -1  0 -1 -1  1 -1 -1 -1 -1") for name in names],
        "list_bbox": [(name, "002 003 030 031") for name in names],
        "list_eval_partition": [(name, "train") for name in names],
    }
    (folder / "Anno").mkdir()
    for file, rows in tables.items():
        lines = [f"{first:55} {rest}\n" for first, rest in rows]
        (folder / "Anno" / f"{file}.txt").write_text(
            f"{len(rows)}\nheader\n" + "".join(lines), encoding="utf-8"
        )


def make_originals(folder):
    make_g2(folder)
    names = open_source(folder).item_ids
    files = [(name.replace("img/", "img_highres/"), png(images(32)[0])) for name in names]
    (folder / "photos.zip").write_bytes(zip_of(files))


def make_zip(folder):
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for i, one in enumerate(images(32)):
            file.writestr(f"set/{i}.png", png(one))


def make_tar(folder, mode="w", name="set.tar"):
    with tarfile.open(folder / name, mode) as file:
        for i, one in enumerate(images(32)):
            data = png(one)
            info = tarfile.TarInfo(f"set/{i}.png")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def make_tgz(folder):
    make_tar(folder, "w:gz", "set.tgz")


def make_manifest(folder):
    shutil.copy(manifest.manifest_path(), folder / "m.yaml")
