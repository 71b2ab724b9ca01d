"""What a vocabulary saves: tokens for the same text, and text for the same tokens."""
