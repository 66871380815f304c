"""How DROID-SLAM's networks learn: the flow of pairs, then the poses and depths of excerpts."""
