"""Save and restore by trained tokens; export to a Hugging Face folder.

checkpoints/tokens_<n>/state/    resumable: model, optimizer, scheduler, step; complete when complete.json is there
checkpoints/tokens_<n>/export/   a Hugging Face folder; it exists whole or not at all
checkpoints.json                 the index: which tokens were exported where

index    read and write checkpoints.json
state    save, find and prune resumable states
export   sharded model -> Hugging Face folder
handover copy an export out of its run
"""
