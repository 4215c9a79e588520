"""Certificates for tests: an authority, and those that it has signed, made by openssl."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Signed:
    """One of a test's certificates."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates for a test, in its folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed (Debian: apt install openssl)")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE"),
            *("-keyout", self._key, "-out", self.certificate),
        )

    def sign(self, name: str, host: str = "127.0.0.1") -> Signed:
        """A certificate of a host by its address."""
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        signed = Signed(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={host}", "-keyout", signed.key, "-out", request),
        )
        extensions.write_text(f"subjectAltName=IP:{host}\n")
        _openssl(
            *("x509", "-req", "-days", "2", "-in", request, "-extfile", extensions),
            *("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"),
            *("-out", signed.certificate),
        )
        return signed


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)
