"""Folders of public data sets, all read as one kind of image sequence."""
