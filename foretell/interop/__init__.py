"""To and from the files of others."""
