"""Labelled pictures of a robot arm, ray-cast without a GPU or OpenGL."""
