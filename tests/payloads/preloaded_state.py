"""What a call changes, and the next must find unchanged."""

calls = 0
