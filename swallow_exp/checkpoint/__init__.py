"""Save and restore by trained tokens; export to a Hugging Face folder."""
