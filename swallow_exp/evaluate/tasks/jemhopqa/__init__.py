"""JEMHopQA: open questions whose answer needs two facts. See README.md in this folder."""
