"""Deterministic `.tar.xz` archives and content hashes for packages."""

import hashlib
import io
import lzma
import tarfile

EXECUTABLE, PRIVATE = 0o755, 0o600


class File:
    """Content and mode of one file of a package."""

    def __init__(self, text, mode=0o644):
        self.data = text.encode() if isinstance(text, str) else text
        self.mode = mode


def digest(files):
    """sha1 over names, modes and contents of `{path: File}`."""
    total = hashlib.sha1()
    for path in sorted(files):
        total.update(f"{path}\0{files[path].mode:o}\0{len(files[path].data)}\0".encode())
        total.update(files[path].data)
    return total.hexdigest()


def pack(files, links=None):
    """Bytes of a `.tar.xz` holding `{path: File}` and symbolic `links` (`{path: target}`)."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        made = set()
        for path in sorted([*files, *(links or {})]):
            parts = path.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                folder = "/".join(parts[:depth])
                if folder not in made:
                    made.add(folder)
                    entry = tarfile.TarInfo(folder)
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(entry)
            entry = tarfile.TarInfo(path)
            if links and path in links:
                entry.type, entry.linkname = tarfile.SYMTYPE, links[path]
                archive.addfile(entry)
            else:
                entry.size, entry.mode = len(files[path].data), files[path].mode
                archive.addfile(entry, io.BytesIO(files[path].data))
    return lzma.compress(plain.getvalue(), preset=1)
