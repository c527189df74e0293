"""Measurements. Nothing here is a test: a busy machine is no defect."""
