"""Start, join and supervise namespaced processes from Python."""
