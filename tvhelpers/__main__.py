"""python -m tvhelpers"""

import sys

from tvhelpers.cli import main

sys.exit(main())
