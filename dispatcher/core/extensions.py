"""File-name extensions: which ones a rule takes. Pure.

Source of the list: the trigger-matching rules of Intelligent Media Services (StartWorkflow).
"""

from __future__ import annotations

from dataclasses import dataclass

VIDEO_EXTENSIONS = frozenset(
    [
        "3gp",
        "asf",
        "avi",
        "dat",
        "dv",
        "flv",
        "f4v",
        "gif",
        "m2t",
        "m3u8",
        "m4v",
        "mj2",
        "mjpeg",
        "mkv",
        "mov",
        "mp4",
        "mpe",
        "mpg",
        "mpeg",
        "mts",
        "ogg",
        "qt",
        "rm",
        "rmvb",
        "swf",
        "ts",
        "vob",
        "wmv",
        "webm",
    ]
)
AUDIO_EXTENSIONS = frozenset(
    ["aac", "ac3", "acm", "amr", "ape", "caf", "flac", "m4a", "mp3", "ra", "wav", "wma", "aiff"]
)
MEDIA_EXTENSIONS = VIDEO_EXTENSIONS | AUDIO_EXTENSIONS
NOT_GUARANTEED = frozenset({"swf"})
"""Documented, but the service does not promise to read them."""

NONE_WORD = "none"
"""How a configured list says "names without a dot"."""


def extension_of(key: str) -> str | None:
    """Return the lower-case extension of the key's last path segment, None if it has no dot.

    `clip.` has the extension "" (which no list holds), `.mp4` has "mp4", `a.b/clip` has none.
    """
    _, dot, extension = key.rpartition("/")[2].rpartition(".")
    return extension.lower() if dot else None


@dataclass(frozen=True, slots=True)
class ExtensionSet:
    """The extensions a rule takes: lower-case `names` (None: all), and names without a dot or not."""

    names: frozenset[str] | None
    without_dot: bool

    @classmethod
    def of(cls, *words: str) -> ExtensionSet:
        """Return the set of a written list, in which `none` stands for names without a dot."""
        lowered = frozenset(word.lower() for word in words)
        return cls(lowered - {NONE_WORD}, NONE_WORD in lowered)

    def admits(self, key: str) -> bool:
        """Tell whether the key's extension is one of these."""
        return self.admits_extension(extension_of(key))

    def admits_extension(self, extension: str | None) -> bool:
        """Tell whether an extension (as `extension_of` returns it) is one of these."""
        if extension is None:
            return self.without_dot
        return self.names is None or extension in self.names

    def common(self, other: ExtensionSet) -> ExtensionSet:
        """Return the extensions that both take."""
        if self.names is None:
            names = other.names
        elif other.names is None:
            names = self.names
        else:
            names = self.names & other.names
        return ExtensionSet(names, self.without_dot and other.without_dot)

    @property
    def empty(self) -> bool:
        """Whether no name at all passes."""
        return not self.without_dot and self.names is not None and not self.names

    @property
    def words(self) -> tuple[str, ...]:
        """The set as the configuration writes it."""
        if self == ANY:
            return ("any",)
        if self == MEDIA:
            return ("media",)
        return (*sorted(self.names or ()), *((NONE_WORD,) if self.without_dot else ()))


MEDIA = ExtensionSet(MEDIA_EXTENSIONS, without_dot=True)
ANY = ExtensionSet(None, without_dot=True)
