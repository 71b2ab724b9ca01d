"""Which packages travel: all of analysis/ and swallow_exp/, the Hydra plugin, conf/ and sweeps/. Everything else: pyproject.toml."""

from setuptools import find_packages, setup

# Hydra looks for plugins in this namespace alone; named itself, it is found in an editable installation too
NAMESPACED = ["hydra_plugins", "hydra_plugins.swallow_sweeper"]
SHIPPED = ["swallow_exp._conf", "swallow_exp._sweeps"]
setup(packages=[*find_packages(include=["analysis", "analysis.*", "swallow_exp", "swallow_exp.*"]), *NAMESPACED, *SHIPPED])
