"""Download, clean and format: from a source on the network or a disk to tokenised, masked rows."""
