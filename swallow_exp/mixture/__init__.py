"""Weights + budget + shards -> an integer plan and a deterministic stream of packed sequences."""
