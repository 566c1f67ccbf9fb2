"""What the bodies of notifications mean: one module for each family of wire formats. Pure, and never raises."""

from dispatcher.core.decoding.decode import decode
from dispatcher.core.decoding.decoded import COMPLETE_ONLY, Acceptance, Decoded, Dropped, DropReason, Format

__all__ = ["COMPLETE_ONLY", "Acceptance", "Decoded", "DropReason", "Dropped", "Format", "decode"]
