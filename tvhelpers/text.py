"""How does the cell of a table become text?"""

import math


def as_text(value) -> str:
    """Return a cell as text: "" for None and NaN, "3" for 3.0, a list joined by spaces."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8").strip()
        except UnicodeDecodeError:
            return value.decode("latin-1").strip()
    return " ".join(map(as_text, value)) if isinstance(value, list) else str(value).strip()
