"""The paper's published numbers as records."""
