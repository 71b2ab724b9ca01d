"""Lightning over FSDP2: module, data, optimizer, callbacks, the worker process."""
