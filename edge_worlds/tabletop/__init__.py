"""A table with objects, a parallel-jaw gripper that pushes and grasps them, and a depth camera."""
