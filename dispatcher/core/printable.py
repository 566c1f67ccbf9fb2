"""Text of strangers (object keys, messages) made safe to show on a terminal, in a log or a table."""

from __future__ import annotations

import unicodedata

# Control, format (direction marks!), surrogate, private, unassigned; line and paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    r"""Return the text with every character that could disturb a reader written as `\x`, `\u` or `\U`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if unicodedata.category(char) in _UNSAFE else char for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")
