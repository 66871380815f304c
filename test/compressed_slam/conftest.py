"""What the tests of the networks and of correlation share: the published networks' vectors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

# pytest's importlib mode does not find the helpers that lie beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "droid_reference_a.npz"


@pytest.fixture(scope="session")
def droid_reference() -> dict[str, torch.Tensor]:
    """Inputs and outputs of the published networks, float32; see the README beside them."""
    if not VECTORS.is_file():
        pytest.skip(f"no reference vectors at {VECTORS}")
    with np.load(VECTORS) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
