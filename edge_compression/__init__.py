"""Offline compression: a skill's checkpoint and a recipe in, an engine bundle and a report out."""
