"""A person at the notebooks: each notebook runs on a machine of its own, which is made up.

As a program (a child of `golden_sides.Side`): python person.py NOTEBOOK ORDER.json runs the cells
one after another as *Run all* does, and writes what was shown to the order's `report`.
"""

import ast
import json
import os
import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent / "notebooks"


class Shown:
    """What a notebook showed: `text`, what was printed; `images`, the number of figures in each
    cell; `error`, that of the last cell, "" without one; `downloads`, files that the browser got;
    `calls` to google.colab; `trash`, what was deleted on the Drive."""

    def __init__(self, text: str, report: Path):
        self.text = text
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
        self.error = found.get("error", "killed")
        self.images, self.calls = found.get("images", []), found.get("calls", [])
        self.downloads = [Path(path) for path in found.get("downloads", [])]
        self.trash = found.get("trash", [])

    def says(self, *texts: str) -> bool:
        """Return whether all texts were printed; raises AssertionError that names one if not."""
        for text in texts:
            assert text in self.text, f"{text!r} was not said:\n{self.text[-3000:]}"
        return True


class Person:
    """Somebody with a folder `home`, which holds her Drive, or on her own machine her files."""

    def __init__(self, side, home: Path, colab: bool = True, **environment: str):
        self.side, self.home, self.colab = side, home, colab
        self.environment, self.count = environment, 0
        self.home.mkdir(parents=True)

    @property
    def drive(self) -> Path:
        """MyDrive, between two notebooks."""
        return self.home / "cloud" / "MyDrive"

    def run_all(self, number: str, *, uploads=(), after=(), kill="", patches=None, **form) -> Shown:
        """Open a notebook on a new machine, fill in its form, and choose *Run all*.

        `after`: cells that are added at the end; `uploads`: files that are chosen when it asks;
        `kill`: a pattern below `home`: when such a file appears, the machine is gone; `patches`:
        {"module.NAME": value} of constants, such as the size from which a file is large.
        """
        (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
        self.count += 1
        stem = self.home / f"run-{self.count:02d}-{number}"
        report, order = stem.with_suffix(".report.json"), stem.with_suffix(".order.json")
        wanted = {"form": form, "after": after, "uploads": [str(one) for one in uploads]}
        wanted |= {"home": str(self.home), "colab": self.colab, "patches": patches or {}}
        order.write_text(json.dumps({**wanted, "report": str(report)}), encoding="utf-8")
        watch = {"files": str(self.home / kill), "count": 1, "signal": 9} if kill else None
        script = str(HERE / "person.py")
        done = self.side._order(
            [str(path), str(order)], None, script=script, cwd=str(self.home),
            env=self.environment, watch=watch,
        )  # fmt: skip
        stem.with_suffix(".log").write_text(f"{done.out}\n----\n{done.err}")
        if self.colab:
            self._leave_machine()
        shown = Shown(done.out + done.err, report)
        assert kill or not shown.error, f"{path.name}: {shown.error}\n{shown.text[-3000:]}"
        return shown

    def _leave_machine(self) -> None:
        """Let only the Drive and the browser's downloads stay."""
        mounted = self.home / "content" / "drive" / "MyDrive"
        if mounted.is_dir():
            mounted.rename(self.drive)
        shutil.rmtree(self.home / "content", ignore_errors=True)


# ------------------------------------------------------------------------- on the machine


def filled_in(form: str, values: dict) -> str:
    """Return the form's cell with values in place of its own, as Colab writes them."""
    for name, value in values.items():
        form, count = re.subn(
            rf"^{name} = .*?(?=  # @param)", f"{name} = {value!r}", form, flags=re.M
        )
        assert count == 1, f"the form has no field {name}"
    return form


def cells(path: Path, order: dict) -> list[str]:
    """Return the code cells, the form filled in, with those that are added."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]
    sources[1] = filled_in(sources[1], order["form"])
    return [*sources, *order["after"]]


def on_colab(order: dict):
    """Return a made-up Colab in the order's home: its Drive, uploads, and no network."""
    import subprocess

    import pytest

    sys.path.insert(0, str(HERE))
    import colab

    fake = colab.install(Path(order["home"]), pytest.MonkeyPatch())
    fake.uploads = [{Path(one).name: Path(one).read_bytes() for one in order["uploads"]}]
    files, keep = sys.modules["google.colab.files"], Path(order["home"]) / "downloads"

    def download(name):
        """Keep a file as the browser does."""
        keep.mkdir(exist_ok=True)
        fake.downloads.append(Path(shutil.copy(name, keep)))

    files.download = download
    ask, cloned = subprocess.getstatusoutput, "git clone"
    subprocess.getstatusoutput = lambda text: (0, "") if cloned in text else ask(text)
    os.chdir(fake.content)
    return fake


def run(sources: list[str]) -> tuple[str, list[int]]:
    """Run cells; return the error of the last one that ran, "" without one, and how many figures
    each showed."""
    from IPython.core.interactiveshell import InteractiveShell

    shell, images = InteractiveShell.instance(), []

    def count(data, *more, **named):
        """Note a figure."""
        images[-1] += any(kind.startswith("image/") for kind in data)

    shell.display_pub.publish = count
    shell.displayhook.write_format_data = count
    for source in sources:
        images.append(0)
        print(f"\n>>> {ast.unparse(ast.parse(source)).splitlines()[-1][:70]}", flush=True)
        result = shell.run_cell(source)
        sys.stdout.flush()
        if error := result.error_before_exec or result.error_in_exec:
            return f"{type(error).__name__}: {error}", images
    return "", images


def main(path: Path, order: dict) -> None:
    """Run a notebook as ordered."""
    import importlib

    for name in [name for name in os.environ if name in ("TV_ROOT", "TV_DATA_DIR", "HF_TOKEN")]:
        del os.environ[name]
    fake = on_colab(order) if order["colab"] else None
    for name, value in order["patches"].items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    error, images = run(cells(path, order))
    report = {"error": error, "images": images}
    if fake:
        calls = [[str(part) for part in call] for call in fake.calls]
        report |= {"calls": calls, "trash": fake.trash}
        report["downloads"] = [str(one) for one in fake.downloads]
    Path(order["report"]).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
