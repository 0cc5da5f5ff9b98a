"""What does Colab give a notebook?  Its machine's folder, the user's Drive, and secrets."""

import os
from pathlib import Path

from tvhelpers.errors import InputError, one_line
from tvhelpers.output import say
from tvhelpers.runtime import on_colab

WORK, DRIVE = Path("/content/textile-vision-work"), Path("/content/drive")
FOLDER_ON_DRIVE = Path("MyDrive", "textile-vision")


def mount_drive() -> Path:
    """Mount the user's Drive and return our folder on it; raises InputError where that fails."""
    from google.colab import drive

    try:
        drive.mount(str(DRIVE))
        try:
            os.listdir(DRIVE / "MyDrive")
        except OSError:  # mounted, and disconnected since
            drive.mount(str(DRIVE), force_remount=True)
    except Exception as error:  # ValueError, NotImplementedError or MessageError
        raise InputError("drive-not-mounted", error=error) from None
    return DRIVE / FOLDER_ON_DRIVE


def load_token() -> None:
    """Put Colab's secret HF_TOKEN, if any, into the environment, where huggingface_hub looks."""
    from google.colab import userdata

    if os.environ.get("HF_TOKEN"):
        return
    try:
        os.environ["HF_TOKEN"] = userdata.get("HF_TOKEN")
    except Exception as error:  # no such secret, no access, no answer: open models need none
        say(f"Colab has no secret HF_TOKEN ({type(error).__name__}); open models need none")


def download(path: Path) -> None:
    """Let the browser download a file, on Colab; elsewhere do nothing."""
    if not on_colab():
        return
    from google.colab import files

    try:
        files.download(str(path))
    except Exception as error:  # the browser refused, or does not answer
        say(f"the download did not start ({one_line(error)}); take the file from the Files panel")
