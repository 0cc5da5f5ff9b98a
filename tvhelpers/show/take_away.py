"""How does a finished adapter leave the notebook?  As one zip, for people and other programs."""

from pathlib import Path

from tvhelpers.errors import InputError, one_line
from tvhelpers.files import write_zip
from tvhelpers.image import encoded
from tvhelpers.output import say
from tvhelpers.runtime import on_colab
from tvhelpers.sample.preview import sheet, strips_of
from tvhelpers.show import colab
from tvhelpers.show.model_card import adapter_files, readme


def take_away(tv, name: str, release: bool = False) -> Path:
    """Zip the adapter of run `name`, and return the path of the zip.

    On Colab the browser downloads it; or with `release`, if results are kept on the Drive, the
    machine is given back instead.  Raises InputError for a run that is not finished.
    """
    run, out = tv.train_dir(name), tv.run_dir(name)
    if not (run / "result.json").exists():
        raise InputError("file-missing.unfinished", path=run)
    path = pack(run, out / f"{out.name}.zip", out / "previews")
    say(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    if on_colab() and not (release and _released(bool(tv.place))):
        colab.download(path)
    return path


def _released(on_drive: bool) -> bool:
    """Give the machine back if results are on the Drive, and return whether that was done."""
    from google.colab import drive, runtime

    if not on_drive:
        say("this machine is kept, as the zip is only here; USE_DRIVE was not ticked")
        return False
    try:
        drive.flush_and_unmount()  # what is not yet written there would be lost
    except Exception as error:
        say(f"the machine is kept, as the Drive cannot be written ({one_line(error)})")
        return False
    say("all is on the Drive: the machine is given back now, and costs nothing more")
    runtime.unassign()
    return True


def pack(run_dir: Path, path: Path, previews: Path) -> Path:
    """Write the adapter of a finished run in both formats, a README and the first and last preview
    to a zip, unless it is there; equal runs write equal bytes.  Return `path`."""
    name = path.stem
    files = {**adapter_files(run_dir, name), "README.md": readme(run_dir, name).encode()}
    if strips := strips_of(previews, 2):
        files["preview.jpg"] = encoded(sheet(strips), "JPEG", quality=88)
    write_zip(path, ((f"{name}/{file}", content) for file, content in files.items()))
    return path
