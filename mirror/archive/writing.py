"""Writing volumes in one pass, each hashed, synced and closed on its own (ADR 4)."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeAlias

from bundlectl.errors import BundlectlError, ContentError, InterruptError
from mirror.archive.checking import check_file
from mirror.archive.output import PartialVolume
from mirror.archive.plan import Literal, Span
from mirror.archive.reading_ahead import ReadingAhead
from mirror.archive.sums import VolumeSum, sum_name, volume_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    from mirror.archive.folder import Folder
    from mirror.archive.plan import ArchivePlan, Member, Volume
    from mirror.oci.repository import BlobReader

__all__ = ["OpenMember", "VolumeWriter"]

OpenMember: TypeAlias = "Callable[[Member], BlobReader]"
"""Opens a member from its beginning; the reader checks what it hands out (``VerifyingReader``)."""

_CHUNK: Final = 1024 * 1024


class VolumeWriter:
    """Writes volumes into a folder.

    A volume has its name only once all of it is on the medium, and each blob that it has a part of was read to its end
    and is right.

    Args:
        plan: of the archive.
        folder: where.
        name: of the archive.
        archive: names it in sum files.
        open_member: opens members to be read; called from one other thread.
        cancelled: ends the work when set; what is written stays, to be gone on with.
        progress: told of bytes that were written, or found to be there.
    """

    def __init__(
        self,
        plan: ArchivePlan,
        folder: Folder,
        *,
        name: str,
        archive: str,
        open_member: OpenMember,
        cancelled: Event,
        progress: Callable[[int], None],
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._name = name
        self._archive = archive
        self._open = open_member
        self._cancelled = cancelled
        self._progress = progress

    def finished(self, volume: Volume) -> VolumeSum | None:
        """What the folder says of a volume that is there, in its full size; its bytes are not read."""
        name = volume_name(self._name, volume.number)
        found = self._folder.read_sum(sum_name(name))
        right = found is not None and (found.archive, found.volume, found.name) == (self._archive, volume.number, name)
        return found if right and self._folder.size(name) == volume.size else None

    def _is_right(self, volume: Volume) -> VolumeSum | None:
        """Like `finished`, and all bytes of both files are what they must be: media lie."""
        found = self.finished(volume)
        if found is None:
            return None
        wrong, sha256 = check_file(
            self._plan, volume, self._folder.path / found.name, progress=lambda _: None, cancelled=self._cancelled
        )
        right = VolumeSum.of(self._plan, volume, archive=self._archive, name=found.name, sha256=sha256)
        return found if not wrong and found == right else None

    def write(self, volumes: Sequence[Volume]) -> Iterator[tuple[VolumeSum, bool]]:
        """Write volumes in order, but for those that are there; yields each, and whether it was there.

        Raises:
            ContentError: a blob is not what it should be; no volume that has a part of it has a name.
            StoreError: the folder cannot be written.
            InterruptError: cancelled.
            MissingError, TransportError, RegistryError: from reading a member.
        """
        pending = list(volumes)
        there: VolumeSum | None = None
        while pending:
            found, there = there or self._is_right(pending[0]), None
            if found is not None:
                self._progress(pending.pop(0).size)
                yield found, True
                continue
            # As far as one goes on where the other ends, what is read of a member serves both.
            run = [pending.pop(0)]
            while pending and pending[0].start == run[-1].end and there is None:
                there = self._is_right(pending[0])
                if there is None:
                    run.append(pending.pop(0))
            for written in self._write_run(run):
                yield written, False

    def _write_run(self, run: Sequence[Volume]) -> Iterator[VolumeSum]:
        partial = self._partial(run[0])
        unnamed: list[PartialVolume] = []
        settled = 0
        try:
            position = partial.resume(self._check)
            self._progress(position - run[0].start)
            edges = [volume.end for volume in run]
            with closing(ReadingAhead(self._chunks(position, edges), self._cancelled)) as chunks:
                for volume in run:
                    if partial.volume is not volume:
                        partial = self._partial(volume)
                    while partial.position < volume.end:
                        chunk = chunks.next()
                        partial.add(chunk)
                        self._progress(len(chunk))
                        while unnamed and partial.position >= settled:
                            yield unnamed.pop(0).finish()
                    partial.sync()
                    unnamed.append(partial)
                    # What is cut by the edge may still turn out wrong, at its end.
                    settled = self._plan.settled(volume.end)
                    if volume is run[-1]:
                        chunks.finish()
                    while unnamed and (settled == volume.end or volume is run[-1]):
                        yield unnamed.pop(0).finish()
        except ContentError:
            for part in (*unnamed, partial):
                part.abandon()
            raise
        finally:
            partial.close()

    def _partial(self, volume: Volume) -> PartialVolume:
        name = volume_name(self._name, volume.number)
        return PartialVolume(self._plan, volume, self._folder, name=name, archive=self._archive)

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise InterruptError("stopped", hint="the same command resumes")

    def _chunks(self, start: int, edges: Sequence[int]) -> Iterator[bytes]:
        """The tar from ``start`` up to the last edge, in chunks of about 1 MiB that do not cross edges."""
        gathered: list[memoryview] = []
        size, position = 0, start
        remaining = list(edges)
        try:
            for data in self._stream(start, edges[-1]):
                view = memoryview(data)
                while view:
                    taken = view[: remaining[0] - position]
                    view = view[len(taken) :]
                    gathered.append(taken)
                    size += len(taken)
                    position += len(taken)
                    if size >= _CHUNK or position == remaining[0]:
                        yield b"".join(gathered)
                        gathered, size = [], 0
                    if position == remaining[0]:
                        del remaining[0]
        except BundlectlError:
            # What was read before is right, and need not be read again.
            if gathered:
                yield b"".join(gathered)
            raise

    def _stream(self, start: int, end: int) -> Iterator[bytes]:
        for piece in self._plan.pieces(start, end):
            if isinstance(piece, Literal):
                yield piece.data
            else:
                yield from self._member(piece)

    def _member(self, span: Span) -> Iterator[bytes]:
        """The bytes of a span. All of its member is read, for only then it is known to be right."""
        position, end = 0, span.begin + span.size
        with self._open(span.member) as reader:
            while data := reader.read(_CHUNK):
                self._check()
                if position + len(data) > span.begin and position < end:
                    yield data[max(span.begin - position, 0) : end - position]
                position += len(data)
        if position != span.member.size:
            raise ContentError(
                f"has {position:,} bytes and not {span.member.size:,}",
                artifact=span.member.path,
                hint="the lock states another size: make a new lock",
            )
