"""What the compact policy's network learns from: the outcome of what was executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_grasp.network import GraspNet


def executed_loss(network: GraspNet, height: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """Cross-entropy of what actions came to; of all others nothing is known.

    Args:
        network: its logits are asked for.
        height: (size, 1, side, side) [m].
        index: (n, 4) of image, channel of the logits, row and column, int64.
        value: (n,) 0..1.
    """
    tried = network.logits(height)[index.unbind(1)].float()
    return functional.binary_cross_entropy_with_logits(tried, value)
