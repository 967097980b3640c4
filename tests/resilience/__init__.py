"""Fault injection: servers are killed under load, and what was acknowledged is counted afterwards."""
