"""What tests call: how a refusal is expected."""

import contextlib

import pytest

from tvhelpers.errors import InputError


@contextlib.contextmanager
def refused(*codes: str):
    """Expect an InputError of one of `codes`; yields pytest's exception info."""
    with pytest.raises(InputError) as caught:
        yield caught
    assert caught.value.code in codes, f"{caught.value.code}: {caught.value}"
