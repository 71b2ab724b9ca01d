"""Lightning over FSDP2: one run from its plan to its last checkpoint.

launch      start the processes of a run, pass signals on, leave no orphans      (light: no torch)
worker      one process: python -m swallow_exp.train.worker RUN_FOLDER
stopping    remember a stop signal until the step is over
fit         put the pieces together, resume, train, finish
data        step -> this process's slice of the step's sequences
module      loss, gradients, clipping, update
guards      may the optimizer move: finite? no spike?                                (light: no torch)
optimizer   AdamW groups and the learning rate as a function of the step
masters     AdamW over bfloat16 parameters with float32 master copies
strategy    FSDP2 for any number of processes, one included
resume      continue from a state of any number of processes and any padding
saving      checkpoints at token marks, by time or tokens, on a stop signal
reporting   rows of the outbox, heartbeat
measuring   tokens/s, MFU, memory, waiting
screen      a bar on a terminal, lines elsewhere
"""
