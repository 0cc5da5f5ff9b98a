"""How are the weights of mini trained?  `python -m tvhelpers mini train` does it in a checkout."""

from tvhelpers.files import read_tables

SETTINGS = read_tables(__file__, "settings.yaml")
