"""Turns the source tree into what a marketplace gets: packages, listing, bill of materials."""
