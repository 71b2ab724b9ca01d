"""Documents + tokenizer -> token shards with a per-token loss flag.

encode    documents and pairs -> ids and loss flags
shuffle   a permutation that depends on the seed alone
shard     the files: format, writer, reader
build     all of it -> one artefact
"""
