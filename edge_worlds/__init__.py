"""Procedural worlds that make training data and demo recordings."""
