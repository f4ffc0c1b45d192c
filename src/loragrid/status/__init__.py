"""Where a study stands: read from the files that jobs write and from one look at the queue; nothing is written."""
