"""How are the weights of mini made?  `python -m tvhelpers mini train` runs it from a checkout."""

from tvhelpers.files import read_tables

SETTINGS = read_tables(__file__, "settings.yaml")
