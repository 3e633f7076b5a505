"""Signatures: columns, tables and tensors; predictions; the reference for drift."""
