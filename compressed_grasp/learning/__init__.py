"""Learning by trial and error in the simulated table; not for the robot."""
