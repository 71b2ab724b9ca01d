"""Documents + tokenizer -> token shards with a per-token loss flag.

encode    documents and pairs -> ids and loss flags
encoder   which library makes the ids: SentencePiece, or kitoken where it gives the same
blocks    many documents at a time, by one process or several
parts     encoded documents in parts that outlive a killed builder
shard     the files: format, order of documents, reader
check_shard  does a finished shard say the truth about itself
megatron  where documents end in Megatron-LM's .bin/.idx
datatrove the same in datatrove's .ds
exchange  shards from and for those two
build_shards  all of it -> one artefact
"""
