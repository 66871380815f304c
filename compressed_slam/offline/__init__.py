"""What compression and replay do with SLAM on a workbench."""
