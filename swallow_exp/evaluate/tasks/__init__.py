"""One module per family of tasks; each builds frozen Task descriptions and knows nothing of models."""
