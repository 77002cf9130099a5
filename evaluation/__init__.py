"""Evaluation: measures of a run, tables and a report over runs, and listening tests."""
