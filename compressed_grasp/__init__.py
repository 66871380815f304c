"""Push-grasp policy: looks down on a table as a height map, and pushes and grasps to clear it."""
