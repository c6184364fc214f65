"""Lets workflow engines run connectors; one module an engine, none of which the runtime needs."""
