"""Documents + tokenizer -> token shards with a per-token loss flag."""
