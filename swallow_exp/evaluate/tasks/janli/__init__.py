"""JaNLI: inference where shared words mislead. See README.md in this folder."""
