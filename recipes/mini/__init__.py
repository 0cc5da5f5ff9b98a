"""How are the weights of mini made?  `python -m tvhelpers mini train` runs it from a checkout."""

from __future__ import annotations

from pathlib import Path

import yaml

SETTINGS = yaml.safe_load((Path(__file__).parent / "settings.yaml").read_text())
