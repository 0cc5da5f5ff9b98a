"""A file's digest stands for all of its bytes."""

from tvhelpers.data.items import file_digest


def test_a_pixel_changed_in_the_middle_changes_the_fingerprint(tmp_path):
    path = tmp_path / "pixels.bin"
    path.write_bytes(bytes(3_000_000))
    before = file_digest(path)
    with open(path, "rb+") as file:
        file.seek(1_111_111)
        file.write(b"x")
    assert file_digest(path) != before
