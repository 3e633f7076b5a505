"""What goes in and what comes out: columns, tables, tensors and predictions."""
