"""The verb `mini train` runs the recipe of a checkout."""

from tvhelpers.cli import mini


def test_without_a_checkout_mini_is_not_trained(refuse, monkeypatch, tmp_path):
    place = tmp_path / "site-packages" / "tvhelpers" / "cli" / "mini.py"
    monkeypatch.setattr(mini, "__file__", str(place))
    refuse("no-checkout", "mini", "train", "--work", tmp_path / "work")
    refuse("usage", "mini", "train")
    assert not (tmp_path / "work").exists()
