"""Procedural textured rooms: pictures, depth and poses of a camera that moves through them."""
