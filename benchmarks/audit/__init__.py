"""Audits of models that other packages bring."""
