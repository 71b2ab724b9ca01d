"""Questions: one file each. A package only so that they travel in the wheel."""
