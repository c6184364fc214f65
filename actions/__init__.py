"""The connector's actions, one module each; `_message` is what they share."""
