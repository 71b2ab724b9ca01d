"""Hydra groups: one factor is one group, one level is one file. A package only so that it travels in the wheel."""
