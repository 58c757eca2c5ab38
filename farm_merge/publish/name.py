"""Name: what a file or folder is called that has the name of something else."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["file_name"]

_LONGEST_NAME_BYTES = 200


def file_name(name: str, safe: str = " ") -> str:
    """Return a name for a file or a folder, whatever it is the name of: always one in its folder.

    What a file system may not like is percent-encoded, and a long name is cut and made unique by a
    digest.

    Args:
        name: Of a table or a simulation, for example.
        safe: What is kept beside letters, digits and `_.-~`.
    """
    encoded = quote(name, safe=safe)
    if encoded in {".", ".."}:
        encoded = encoded.replace(".", "%2E")
    if len(encoded) > _LONGEST_NAME_BYTES:
        import hashlib  # it is slow, and seldom needed

        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        encoded = f"{encoded[: _LONGEST_NAME_BYTES - 17]}-{digest}"
    return encoded
