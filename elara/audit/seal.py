"""Seal an adapter folder with the hash of every file, and tell what was changed since.

The folder holds `SHA256SUMS`, one line per file, in the format of the `sha256sum` program. The
file is compared with what it should be byte for byte, so that a change in it is noticed like a
change in any other file; its own hash is the adapter's fingerprint.
"""

from __future__ import annotations

from pathlib import Path

from elara.workspace import file_hashes, file_sha256, write_atomically

SUMS_FILE = "SHA256SUMS"
PASSPORT_FILE, PAGE_FILE = "passport.json", "passport.html"


def files_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, `SHA256SUMS` at its top left out.

    Args:
        folder: an adapter folder.

    Returns:
        Path relative to the folder to hash, sorted by path.
    """
    return {name: digest for name, digest in file_hashes(folder).items() if name != SUMS_FILE}


def seal(folder: Path) -> str:
    """Write `SHA256SUMS`. Nothing in the folder may change after it.

    Args:
        folder: the finished adapter folder.

    Returns:
        The fingerprint: the hash of `SHA256SUMS`.
    """
    write_atomically(folder / SUMS_FILE, _sums(files_of(folder)))
    return file_sha256(folder / SUMS_FILE)


def _sums(files: dict[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in files.items())


def damage(folder: Path) -> list[str]:
    """Compare a sealed folder with its `SHA256SUMS`.

    Args:
        folder: an adapter folder.

    Returns:
        One sentence per file that was changed, removed or added; none where every byte is as it
        was sealed.
    """
    sums = folder / SUMS_FILE
    if not sums.is_file():
        return [f"{SUMS_FILE} is missing: this folder was never sealed, or the file was removed"]
    sealed = sums.read_bytes()
    # A pipe would never end, and a linked folder is not looked into. A link to a file is as good
    # as the file: the hub's client leaves such.
    folders = {p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink()}
    if odd := [p for p in folder.rglob("*") if p not in folders and not p.is_file()]:
        return [f"{p.relative_to(folder)} is not a regular file" for p in odd]
    try:
        found = files_of(folder)
    except OSError as error:
        return [f"{error.filename} cannot be read ({error.strerror})"]
    text = sealed.decode(errors="surrogateescape")
    if text == _sums(found):
        return []
    lines = (line.partition("  ") for line in text.split("\n") if line)
    wrong = changes({name: digest for digest, _, name in lines}, found)
    return wrong or [f"{SUMS_FILE} was changed"]


def changes(recorded: dict[str, str], found: dict[str, str]) -> list[str]:
    """What became of recorded files: one sentence per file that is missing, new or changed.

    Args:
        recorded: name to hash, as it was.
        found: the same, as it is now.
    """
    return [
        *(f"{name} is missing" for name in sorted(recorded.keys() - found.keys())),
        *(f"{name} was added" for name in sorted(found.keys() - recorded.keys())),
        *(
            f"{name} was changed"
            for name in found
            if recorded.get(name, found[name]) != found[name]
        ),
    ]
