"""The page cache: what of the files of evicted models still lies in memory that nobody else has taken."""

from __future__ import annotations

from attrs import Factory, define


@define(eq=False)
class Pages:
    """Bytes by model, of those that aren't loaded; those evicted first come first, and are pushed out first."""

    files: dict[str, int] = Factory(dict)

    def left(self, name: str, size: int) -> None:
        """A model is gone; its file stays as long as there is room."""
        self.files.pop(name, None)
        self.files[name] = size

    def taken(self, name: str) -> int:
        """A model is being loaded; returns how much of its file was there."""
        return self.files.pop(name, 0)

    def shrink(self, free: int) -> None:
        """No more than this is free."""
        over = sum(self.files.values()) - max(free, 0)
        for name in list(self.files):
            if over <= 0:
                break
            pushed = min(over, self.files[name])
            self.files[name] -= pushed
            over -= pushed
            if not self.files[name]:
                del self.files[name]
