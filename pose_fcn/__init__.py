"""FCN-Pose: eight keypoints of a robot arm from one colour image (arXiv 2205.13272)."""
