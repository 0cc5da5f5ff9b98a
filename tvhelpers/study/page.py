"""How does a rater without Jupyter take part?  With a page that any browser opens from disk."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tvhelpers.errors import InputError
from tvhelpers.files import remove_temporary, write_all_once, write_new, write_zip
from tvhelpers.paths import is_there
from tvhelpers.study.model import IMAGES, SCALES, Study

TEMPLATE = Path(__file__).with_name("page.html")


def zip_pages(pages: Sequence[Path]) -> Path:
    """Write the pages and their images as one zip beside their folder, and return its path; equal
    pages give equal bytes."""
    folder = Path(pages[0]).parent
    images = sorted(file for file in (folder / IMAGES).iterdir() if file.is_file())
    path = folder.with_name(f"{folder.name}.zip")
    names = {file: file.relative_to(folder.parent).as_posix() for file in [*pages, *images]}
    write_zip(path, ((name, file.read_bytes()) for file, name in names.items()))
    return path


def write_pages(study: Study, out_dir: Path, raters: Sequence[str]) -> list[Path]:
    """Write a page for each rater's code, and the images they share; return the pages.

    A page holds the rater's trials in order; it names no system and marks no attention check.  It
    keeps the answers in the browser, and offers them at its end as a file for `import_votes`.
    Raises InputError, and writes no page, where a file exists with other content.
    """
    out_dir, pages, images = Path(out_dir), {}, {}
    if out_dir.resolve().is_relative_to(study.folder.resolve()):
        raise InputError("pages-beside-key", folder=out_dir)
    for rater in raters:
        trials = [asdict(trial) for trial in study.trials(rater)]
        content = {"study": study.hash, "rater": rater, "scales": SCALES, "trials": trials}
        content |= {"token": token} if (token := study.token(rater)) else {}
        content |= {name: study.about[name] for name in ("title", "consent", "questions")}
        for name in {n for trial in trials for n in (*trial["shown"], *trial["references"])}:
            images[out_dir / IMAGES / name] = name
        text = json.dumps(content).replace("<", "\\u003c")  # no prompt can end the script
        page = TEMPLATE.read_text(encoding="utf-8").replace("STUDY</script>", text + "</script>")
        path = out_dir / f"{rater}.html"
        if not is_there(path) or text not in path.read_text(encoding="utf-8", errors="replace"):
            pages[path] = page.encode()  # else keep the page, perhaps an older version's
    remove_temporary(out_dir / IMAGES)
    for path, name in images.items():
        write_new(path, study.image(name))
    write_all_once(pages)
    return [out_dir / f"{rater}.html" for rater in raters]
