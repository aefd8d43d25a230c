"""One file per form of SOURCE."""
