"""What the nodes share at run time: bundles, engines, images, latency, the node base."""
