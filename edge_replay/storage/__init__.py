"""The files in which recordings are kept, whatever else than images stands in them."""
