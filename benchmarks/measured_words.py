"""How are the numbers of results written in docs/measured.md?"""


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f} %"


def between(row: dict) -> str:
    """Return a share with its 95 % interval, in percent."""
    low, high = (100 * end for end in row["ci"])
    return f"{percent(row['value'])} ({low:.1f} to {high:.1f})"


def points(value: float, ci) -> str:
    """Return a difference of shares with its 95 % interval, in percentage points."""
    return f"{100 * value:+.1f} ({100 * ci[0]:+.1f} to {100 * ci[1]:+.1f})"


def spread(shares) -> str:
    """Return the least and the greatest share."""
    shares = sorted(shares)
    return f"{shares[0]:.2f} to {shares[-1]:.2f}"


def accuracy(row: dict) -> str:
    """Return the shares of category, colour and pattern."""
    names = ("category", "colour", "pattern")
    return ", ".join(f"{name} {percent(row[name])}" for name in names)


def sameness(row: dict) -> str:
    """Return whether two files have the same bytes."""
    return "the same bytes" if row["same_bytes"] else "other bytes"
