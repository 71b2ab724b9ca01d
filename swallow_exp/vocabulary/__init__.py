"""Documents -> tokenizer: segment, train pieces, merge them into the base, measure fertility.

segment      text                   -> lines of words, one space between them
train        lines                  -> a SentencePiece BPE model
merge        base + trained model   -> the base model with added pieces, and the funnel that says where the others went
twin         SentencePiece model    -> its exact Hugging Face twin
fertility    held-out text          -> tokens per character, and the ratio to the base tokenizer
build_vocabulary  all of it         -> one artefact
model_file   the SentencePiece file itself: read, check, digest
tokenizer    what later stages use: load, digest, base subwords of added pieces
"""
