"""Suites, tasks and metrics through lm-eval, in a process of their own. The only package that imports lm_eval."""
