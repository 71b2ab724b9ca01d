"""Publishers of the outbox. A run is complete without any of them."""
