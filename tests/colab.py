"""A `google.colab` that is made up: a Drive that can fail, uploads, secrets, widgets, runtime.

Take the fixture `colab`.  `calls` notes what was asked of it; everything else is set by a test.
"""

import builtins
import contextlib
import errno
import importlib.machinery
import importlib.util
import io
import os
import shutil
import sys
import time
import types
from pathlib import Path

import pytest

TAKES_A_PATH = """chmod link listdir lstat mkdir open remove rename replace rmdir scandir stat
statvfs unlink utime""".split()


class Error(Exception):
    """google.colab.errors.Error."""


class MessageError(Exception):
    """google.colab._message.MessageError, of a frontend that refused or did not answer."""


class SecretNotFoundError(Error):
    """There is no such secret."""


class NotebookAccessError(Error):
    """The secret is there, and this notebook may not read it."""


class TimeoutException(Error):
    """Nobody answered, as in a notebook that no browser shows."""


class FakeColab:
    """What stands for Colab: `content` for /content, `drive_dir` for the user's MyDrive."""

    def __init__(self, folder: Path):
        self.content, self.cloud = folder / "content", folder / "cloud" / "MyDrive"
        self.work, self.mountpoint = self.content / "textile-vision-work", self.content / "drive"
        for place in (self.content, self.cloud):
            place.mkdir(parents=True, exist_ok=True)  # the Drive of an earlier machine
        self.calls: list[tuple] = []
        self.mount_error: Exception | None = None
        self.secrets = {"HF_TOKEN": "hf_x"}
        self.secret_error: type | None = None  # NotebookAccessError or TimeoutException
        self.uploads: list[dict[str, bytes]] = []  # what each files.upload() gets; none: cancelled
        self.downloads: list[Path] = []
        self.callbacks: dict = {}
        # (offset, what), each met once: an errno, 0 for a short read, -N for N silent seconds
        self.failures: list[tuple[int, int]] = []
        self.bytes_read = 0  # from the Drive
        self.rate = 0.0  # bytes a second that are read from the Drive; 0: no limit
        self.free: int | None = None  # free bytes of every disk
        self.trash: list[tuple[str, int]] = []  # (name, size) of what was deleted on the Drive
        self.connected = True  # False: Errno 107 for all that is on the Drive

    @property
    def drive_dir(self) -> Path:
        """MyDrive: where it is mounted, else in the cloud."""
        mounted = self.mountpoint / "MyDrive"
        return mounted if not self.connected or mounted.is_dir() else self.cloud

    # ------------------------------------------------------------------------ google.colab.drive

    def mount(self, mountpoint, force_remount=False, timeout_ms=120_000, readonly=False):
        self.calls.append(("mount", str(mountpoint)))
        if self.mount_error:
            raise self.mount_error
        place = Path(mountpoint)
        if self.connected and (place / "MyDrive").is_dir() and not force_remount:
            print(
                f"Drive already mounted at {mountpoint}; to attempt to forcibly remount, "
                f'call drive.mount("{mountpoint}", force_remount=True).'
            )
            return
        self.connected, self.mountpoint = True, place
        if not (place / "MyDrive").is_dir():
            if place.is_dir() and any(place.iterdir()):
                raise ValueError("Mountpoint must not already contain files")
            place.mkdir(parents=True, exist_ok=True)
            self.cloud.rename(place / "MyDrive")
        print(f"Mounted at {mountpoint}")

    def flush_and_unmount(self, timeout_ms=24 * 60 * 60 * 1000):
        self.calls.append(("flush_and_unmount",))
        if not self.connected:
            raise ValueError("flush_and_unmount failed")
        if not (self.mountpoint / "MyDrive").is_dir():
            print("Drive not mounted, so nothing to flush and unmount.")
            return
        (self.mountpoint / "MyDrive").rename(self.cloud)

    # -------------------------------------------------- google.colab.files, .userdata, .output

    def upload(self, target_dir=""):
        self.calls.append(("upload",))
        given = self.uploads.pop(0) if self.uploads else {}
        saved = {}
        for name, content in given.items():
            path = Path(target_dir, name)
            (stem, end), number = os.path.splitext(path), 0
            while path.exists():
                number += 1
                path = Path(f"{stem} ({number}){end}")
            path.write_bytes(content)
            print(f"Saving {name} to {path}")
            saved[str(path)] = content
        return saved

    def download(self, filename):
        self.calls.append(("download", str(filename)))
        if not os.path.exists(filename):
            raise FileNotFoundError(f"Cannot find file: {filename}")
        self.downloads.append(Path(filename))

    def secret(self, key):
        self.calls.append(("secret", key))
        if self.secret_error:
            raise self.secret_error(f"secret {key}")
        if key not in self.secrets:
            raise SecretNotFoundError(f"Secret {key} does not exist.")
        return self.secrets[key]

    def noted(self, name, answer=None):
        """Return a function that notes its call and returns `answer`."""

        def call(*given, **named):
            self.calls.append((name, *given))
            return answer

        return call

    def register_callback(self, name, function):
        self.callbacks[name] = function

    # ----------------------------------------------------------------------- a Drive that fails

    def on_drive(self, path) -> bool:
        """Return whether a path is on the mounted Drive."""
        return isinstance(path, str | os.PathLike) and f"{os.fspath(path)}/".startswith(
            f"{self.mountpoint}/MyDrive/"
        )

    def check(self, *paths) -> None:
        """Raise Errno 107 for a path on the Drive while it is not connected."""
        if not self.connected and any(map(self.on_drive, paths)):
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(paths[0]))


class _DriveFile(io.FileIO):
    """A file on the Drive, which is slow, and fails where the test says."""

    def __init__(self, colab: FakeColab, path):
        super().__init__(path)
        self.colab = colab

    def readinto(self, buffer) -> int:
        colab, here = self.colab, self.tell()
        colab.check(self.name)
        for failure in [*colab.failures]:
            offset, number = failure
            if here <= offset < here + len(buffer):
                colab.failures.remove(failure)
                if number < 0:
                    time.sleep(-number)
                    break
                if number == 0:
                    return super().readinto(memoryview(buffer)[: max(1, offset - here)])
                colab.connected = number != errno.ENOTCONN
                raise OSError(number, os.strerror(number), str(self.name))
        if colab.rate:
            time.sleep(len(buffer) / colab.rate)
        count = super().readinto(buffer)
        colab.bytes_read += count
        return count

    def read(self, size=-1) -> bytes:
        if size < 0:
            return self.readall()
        content = bytearray(size)
        return bytes(content[: self.readinto(content)])

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(1 << 20), b""))


def install(folder: Path, patch: pytest.MonkeyPatch) -> FakeColab:
    """Put a made-up google.colab into `sys.modules`; its /content is a folder in `folder`."""
    fake = FakeColab(folder)
    parts = {
        "drive": {"mount": fake.mount, "flush_and_unmount": fake.flush_and_unmount},
        "files": {"upload": fake.upload, "download": fake.download},
        "userdata": {
            "get": fake.secret,
            "SecretNotFoundError": SecretNotFoundError,
            "NotebookAccessError": NotebookAccessError,
            "TimeoutException": TimeoutException,
        },
        "output": {
            "clear": fake.noted("clear"),
            "eval_js": fake.noted("eval_js"),
            "register_callback": fake.register_callback,
            "enable_custom_widget_manager": fake.noted("enable_custom_widget_manager"),
            "disable_custom_widget_manager": fake.noted("disable_custom_widget_manager"),
        },
        "runtime": {"unassign": fake.noted("unassign")},
        "errors": {"Error": Error},
        "_message": {"MessageError": MessageError},
    }
    package = types.ModuleType("google.colab")
    package.__path__ = []
    package.__spec__ = importlib.machinery.ModuleSpec("google.colab", None)  # diffusers looks
    for name, content in parts.items():
        module = types.ModuleType(f"google.colab.{name}")
        vars(module).update(content)
        setattr(package, name, module)
        patch.setitem(sys.modules, module.__name__, module)
    if importlib.util.find_spec("google"):  # what protobuf installs stays as it is
        importlib.import_module("google")
    else:
        patch.setitem(sys.modules, "google", types.ModuleType("google"))
    patch.setattr(sys.modules["google"], "colab", package, raising=False)
    patch.setitem(sys.modules, "google.colab", package)
    _patch_disk(fake, patch)
    from tvhelpers.show import colab as ours

    patch.setattr(ours, "WORK", fake.work)
    patch.setattr(ours, "DRIVE", fake.mountpoint)
    return fake


def _patch_disk(fake: FakeColab, patch: pytest.MonkeyPatch) -> None:
    """Let what opens, lists and changes files meet the Drive of `fake`."""
    opened, usage = open, shutil.disk_usage

    def open_on_drive(path, mode="r", buffering=-1, *more, **named):
        fake.check(path)
        if mode != "rb" or not fake.on_drive(path):
            return opened(path, mode, buffering, *more, **named)
        raw = _DriveFile(fake, path)
        return raw if buffering == 0 else io.BufferedReader(raw)

    def disk_usage(path):
        found = usage(path)
        return found if fake.free is None else found._replace(free=fake.free)

    def checked(name, call):
        def work(*paths, **named):
            fake.check(*paths)
            if name in ("unlink", "remove") and fake.on_drive(paths[0]):
                with contextlib.suppress(FileNotFoundError):
                    fake.trash.append((Path(paths[0]).name, os.lstat(paths[0]).st_size))
            return call(*paths, **named)

        return work

    for module in (builtins, io):
        patch.setattr(module, "open", open_on_drive)
    patch.setattr(shutil, "disk_usage", disk_usage)
    for name in TAKES_A_PATH:
        patch.setattr(os, name, checked(name, getattr(os, name)))


@pytest.fixture
def colab(tmp_path, monkeypatch) -> FakeColab:
    """A Colab whose /content is in the test's folder; see `FakeColab`."""
    return install(tmp_path, monkeypatch)
