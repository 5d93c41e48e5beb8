#!/usr/bin/env python3
"""Builds `dcos_generate_config.sh` for one emulated version: the wrapper, then a runnable archive.

Usage: assemble.py <version> <output file>. The same sources give the same bytes.
"""

import io
import os
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.join(HERE, "src")
sys.path.insert(0, SOURCES)
sys.dont_write_bytecode = True

from standin.release import EMULATED  # noqa: E402

ENTRY = """import os
import sys

from standin.gen.cli import main
from standin.release import Release

sys.exit(main(sys.argv[1:], Release(os.environ["STANDIN_VERSION"]), os.getcwd()))
"""


def sources():
    """`{path in the archive: bytes}` of the whole program."""
    found = {"__main__.py": ENTRY.encode()}
    for folder, folders, files in os.walk(os.path.join(SOURCES, "standin")):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for name in sorted(files):
            if name.endswith((".py", ".sh")):
                path = os.path.join(folder, name)
                with open(path, "rb") as stream:
                    found[os.path.relpath(path, SOURCES)] = stream.read()
    return found


def build(version):
    """The bytes of the installer."""
    if version not in EMULATED:
        raise SystemExit(f"version {version} is not emulated: choose one of {', '.join(EMULATED)}")
    with open(os.path.join(HERE, "wrapper.sh"), encoding="utf-8") as stream:
        head = stream.read().replace("@version@", version).encode()
    buffer = io.BytesIO()
    buffer.write(head)
    # Appending keeps the offsets of the archive right although the wrapper stands before it.
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        for path, data in sorted(sources().items()):
            entry = zipfile.ZipInfo(path, date_time=(2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def main(arguments):
    if len(arguments) == 1 and arguments[0] == "--versions":
        print("\n".join(EMULATED))
        return 0
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(arguments[1], "wb") as stream:
        stream.write(build(arguments[0]))
    os.chmod(arguments[1], 0o755)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
