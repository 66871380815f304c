"""Lets the tests import the helpers that lie beside them."""

from __future__ import annotations

import sys
from pathlib import Path

# pytest's importlib mode does not find them.
sys.path.insert(0, str(Path(__file__).parent))
