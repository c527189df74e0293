"""Scheduling, retries, and the executor of a plan. The only user of tenacity."""
