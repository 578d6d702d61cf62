"""Rows as tables and plots for people."""
