"""OpenBookQA: questions of elementary science; the likeliest of four answers. See README.md in this folder."""
