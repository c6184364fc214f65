"""Lets workflow engines run connectors: one module for each engine. The runtime needs none."""
