"""Records -> claims -> tables and figures -> one page. No torch, no Hydra, no network."""
