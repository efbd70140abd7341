"""Windows that may hold an object, without knowing which: sliding windows and selective search."""
