"""Save and restore by trained tokens; export to a Hugging Face folder.

checkpoints/tokens_<n>/state/            resumable: model, optimizer, schedule, step; complete when complete.json says so of every file
checkpoints/tokens_<n>/export/           a Hugging Face folder; it exists whole or not at all
checkpoints/tokens_<n>/checkpoint.json   the export's record, from which a damaged index is made again
checkpoints.json                         the index: which tokens were exported where

index         read, write and mend checkpoints.json
state         whole and torn states; seal, find, prune, set aside     (light: no torch)
write         write a state beside training, verified, one at a time
export        a complete state -> Hugging Face folder, without the model
handover      give an export away, in another dtype if asked
check_states  is everything still what was written there?             (light: no torch)
"""
