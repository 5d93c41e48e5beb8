"""Paths for the tests, which run from a fresh clone with nothing installed."""

import os
import sys

STANDIN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REPOSITORY = os.path.dirname(os.path.dirname(STANDIN))
for folder in (os.path.join(STANDIN, "src"), STANDIN):
    if folder not in sys.path:
        sys.path.insert(0, folder)
