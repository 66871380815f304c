"""How DROID-SLAM's networks learn: pairs of pictures with known flow, a loss, a measure."""
