"""Labels of the metadata inside sentences."""


def small(label: str) -> str:
    """A label in mid-sentence: "Trade" is "trade", "SLA policy" and "PnL fact" stay as they are."""
    first, _, _ = label.partition(" ")
    return label if first[1:] != first[1:].lower() else label[:1].lower() + label[1:]


def sentence(text: str) -> str:
    """A message that begins with a capital and ends with a full stop."""
    text = text.strip()
    if not text:
        return ""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
