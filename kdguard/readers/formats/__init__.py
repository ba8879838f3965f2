"""The wire formats, one a file; `kdguard.readers.registry` lists them in the order of sniffing."""
