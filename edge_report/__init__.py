"""The HTML page and the charts that all reports share."""
