"""The module `ssl` inside an isolate: the names that libraries look for, and nothing behind them.

TLS is the platform's to speak, and certificates are its to check; what is set here is not asked for. Whatever would
need a real connection fails as it would without a network.
"""

from __future__ import annotations

import enum
from typing import Any

__all__ = [
    "CERT_NONE",
    "CERT_OPTIONAL",
    "CERT_REQUIRED",
    "OPENSSL_VERSION",
    "OPENSSL_VERSION_INFO",
    "OPENSSL_VERSION_NUMBER",
    "PROTOCOL_TLS",
    "PROTOCOL_TLS_CLIENT",
    "PROTOCOL_TLS_SERVER",
    "AlertDescription",
    "CertificateError",
    "MemoryBIO",
    "Options",
    "Purpose",
    "SSLCertVerificationError",
    "SSLContext",
    "SSLEOFError",
    "SSLError",
    "SSLErrorNumber",
    "SSLObject",
    "SSLSession",
    "SSLSocket",
    "SSLSyscallError",
    "SSLWantReadError",
    "SSLWantWriteError",
    "SSLZeroReturnError",
    "TLSVersion",
    "VerifyFlags",
    "VerifyMode",
    "create_default_context",
    "get_default_verify_paths",
    "wrap_socket",
]

OPENSSL_VERSION = "OpenSSL 3.0.0 (the platform's)"
OPENSSL_VERSION_INFO = (3, 0, 0, 0, 0)
OPENSSL_VERSION_NUMBER = 0x30000000
_NUMBERS = ("ALERT_DESCRIPTION_", "CERT_", "OP_", "PROTOCOL_", "SSL_ERROR_", "VERIFY_")


class TLSVersion(enum.IntEnum):
    """As in `ssl`."""

    MINIMUM_SUPPORTED = -2
    SSLv3 = 768
    TLSv1 = 769
    TLSv1_1 = 770
    TLSv1_2 = 771
    TLSv1_3 = 772
    MAXIMUM_SUPPORTED = -1


class VerifyMode(enum.IntEnum):
    """As in `ssl`."""

    CERT_NONE = 0
    CERT_OPTIONAL = 1
    CERT_REQUIRED = 2


class Purpose(enum.Enum):
    """As in `ssl`."""

    SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
    CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"


class _Number(int):
    """A flag or constant that means nothing here."""


Options = VerifyFlags = AlertDescription = SSLErrorNumber = _Number
CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = VerifyMode.CERT_NONE, VerifyMode.CERT_OPTIONAL, VerifyMode.CERT_REQUIRED
PROTOCOL_TLS, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER = _Number(2), _Number(16), _Number(17)


class SSLError(OSError):
    """As in `ssl`."""

    library = reason = ""


class SSLZeroReturnError(SSLError):
    """As in `ssl`."""


class SSLWantReadError(SSLError):
    """As in `ssl`."""


class SSLWantWriteError(SSLError):
    """As in `ssl`."""


class SSLSyscallError(SSLError):
    """As in `ssl`."""


class SSLEOFError(SSLError):
    """As in `ssl`."""


class SSLCertVerificationError(SSLError, ValueError):
    """As in `ssl`."""

    verify_code = 0
    verify_message = ""


CertificateError = SSLCertVerificationError


class _Unusable:
    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        raise SSLError("there is no TLS in an isolate; the platform speaks it for `ctx.http` and HTTP libraries")


class SSLSocket(_Unusable):
    """None can be made."""


class SSLObject(_Unusable):
    """None can be made."""


class SSLSession(_Unusable):
    """None can be made."""


class MemoryBIO(_Unusable):
    """None can be made."""


class SSLContext:
    """Takes every setting, and heeds none."""

    def __init__(self, protocol: int = PROTOCOL_TLS) -> None:
        self.protocol = protocol
        self.check_hostname = protocol == PROTOCOL_TLS_CLIENT
        self.verify_mode = CERT_REQUIRED if self.check_hostname else CERT_NONE
        self.options = self.verify_flags = 0
        self.minimum_version = TLSVersion.TLSv1_2
        self.maximum_version = TLSVersion.MAXIMUM_SUPPORTED
        self.keylog_filename: str | None = None
        self.post_handshake_auth = False
        self.hostname_checks_common_name = False
        self.sni_callback: Any = None

    def load_verify_locations(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        """The operator says which authorities are trusted."""

    def load_default_certs(self, purpose: Purpose = Purpose.SERVER_AUTH) -> None:
        """See `load_verify_locations`."""

    def set_default_verify_paths(self) -> None:
        """See `load_verify_locations`."""

    def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
        """Not possible: the platform presents no certificates of plugins."""
        raise SSLError("client certificates are not supported")

    def set_alpn_protocols(self, _protocols: Any) -> None:
        """The platform speaks HTTP/1.1."""

    def set_ciphers(self, _ciphers: str) -> None:
        """The platform has its own."""

    def get_ciphers(self) -> list[Any]:
        """None."""
        return []

    def get_ca_certs(self, binary_form: bool = False) -> list[Any]:
        """None."""
        return []

    def cert_store_stats(self) -> dict[str, int]:
        """Nothing is kept."""
        return {"x509": 0, "crl": 0, "x509_ca": 0}

    def session_stats(self) -> dict[str, int]:
        """Nothing is kept."""
        return {}

    def wrap_socket(self, *_arguments: Any, **_options: Any) -> Any:
        """Not possible."""
        return SSLSocket()

    def wrap_bio(self, *_arguments: Any, **_options: Any) -> Any:
        """Not possible."""
        return SSLObject()


def create_default_context(
    purpose: Purpose = Purpose.SERVER_AUTH, *, cafile: Any = None, capath: Any = None, cadata: Any = None
) -> SSLContext:
    """A context; all are alike."""
    return SSLContext(PROTOCOL_TLS_CLIENT if purpose is Purpose.SERVER_AUTH else PROTOCOL_TLS_SERVER)


def _create_unverified_context(*_arguments: Any, **_options: Any) -> SSLContext:
    return SSLContext()


_create_default_https_context = create_default_context
_create_stdlib_context = _create_unverified_context


def wrap_socket(*_arguments: Any, **_options: Any) -> Any:
    """Not possible."""
    return SSLSocket()


def get_default_verify_paths() -> Any:
    """No files."""
    return _Paths()


class _Paths:
    cafile = capath = None
    openssl_cafile = openssl_capath = ""
    openssl_cafile_env, openssl_capath_env = "SSL_CERT_FILE", "SSL_CERT_DIR"


def __getattr__(name: str) -> Any:
    """Constants without a meaning here."""
    if name.startswith("HAS_"):
        return name not in ("HAS_NPN", "HAS_SSLv2", "HAS_SSLv3", "HAS_PSK")
    if name.startswith(_NUMBERS):
        return _Number(0)
    raise AttributeError(f"module 'ssl' has no attribute {name!r}")
