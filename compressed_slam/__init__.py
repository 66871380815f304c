"""DROID-SLAM without CUDA extensions: dense visual SLAM on CPU and CUDA from one source."""
