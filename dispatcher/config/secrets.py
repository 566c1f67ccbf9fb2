"""Credentials of the configuration: written out, or in files that a platform mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.core.settings import Credentials, Secret

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from dispatcher.config.document import Node
    from dispatcher.config.problems import Faults, Path
    from dispatcher.config.strict import CredentialsModel

_LARGEST = 64 * 1024


class SecretReader:
    """Reads `*_file` keys, relative to the configuration; what cannot be read is a fault.

    A file that lies in `credentials`, the directory that systemd hands to a service, is taken from there: one
    configuration serves several units, each of which has its own.
    """

    def __init__(self, folder: FilePath, root: Node, faults: Faults, credentials: FilePath | None = None) -> None:
        self._folder = folder
        self._credentials = credentials
        self._root = root
        self._faults = faults

    def credentials(self, model: CredentialsModel, path: Path) -> Credentials:
        """Return the credentials that are written under a path."""
        key_id = self._value(model.access_key_id, model.access_key_id_file, (*path, "access_key_id"))
        secret = self._value(model.access_key_secret, model.access_key_secret_file, (*path, "access_key_secret"))
        token = self._value(model.security_token, model.security_token_file, (*path, "security_token"))
        if model.type == "default":
            if key_id or secret or token:
                self._fault(path, "keys are written but the type is default; write type: access_key")
            return Credentials()
        for name, written in (("access_key_id", key_id), ("access_key_secret", secret)):
            if written is None:
                self._fault(path, f"type: access_key needs {name} or {name}_file")
        return Credentials(key_id, Secret(secret) if secret else None, Secret(token) if token else None)

    def secret(self, written: str | None, file: str | None, path: Path) -> Secret | None:
        """Return the secret that is written under a path, or in the file of its twin `*_file`; None without either."""
        value = self._value(written, file, path)
        return None if value is None else Secret(value)

    def _value(self, written: str | None, file: str | None, path: Path) -> str | None:
        """Return the value; an unreadable one is "?" after its fault, so that it does not count as missing."""
        if file is None:
            return written
        place = (*path[:-1], f"{path[-1]}_file")
        if written is not None:
            self._fault(place, f"{path[-1]} is written too; keep one of the two")
            return written
        try:
            with self._place_of(file).open("rb") as stream:
                text = stream.read(_LARGEST).decode("utf-8").strip()
        except OSError as error:
            self._fault(place, f"cannot read {file}: {error.strerror}; mount the file and let this user read it")
            return "?"
        except ValueError:
            self._fault(place, f"{file} is no text; it must hold the value alone")
            return "?"
        if not text or any(character.isspace() for character in text):
            self._fault(place, f"{file} {'holds several words' if text else 'is empty'}; it must hold the value alone")
            return "?"
        return text

    def _place_of(self, file: str) -> FilePath:
        if self._credentials is not None and (self._credentials / file).exists():
            return self._credentials / file
        return self._folder / file

    def _fault(self, path: Path, message: str) -> None:
        self._faults.add(self._root.at(path).origin, path, message)
