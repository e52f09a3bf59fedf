"""x"""

NEEDS: dict[str, dict[str, str]] = {}
