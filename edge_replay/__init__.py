"""Recordings in, the installed node driven over DDS, accuracy and latency out."""
