"""Policies and change windows."""
