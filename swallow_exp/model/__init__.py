"""The model: load it, give added pieces their rows, count FLOPs and bytes."""
