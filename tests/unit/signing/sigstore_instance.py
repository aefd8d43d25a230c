"""A sigstore of our own: an authority that issues certificates, a certificate log, a transparency log.

Enough of Fulcio and Rekor v1 for bundles that verify offline against its trusted root.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import struct
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
SCT_OID = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
HOST = "log.test"


class SigstoreInstance:
    """Issues, logs and signs; every instance has keys of its own."""

    def __init__(self) -> None:
        self.now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        self._authority_key, self._log_key, self._certificate_log_key = (_new_key() for _ in range(3))
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "a test authority")])
        self._authority = (
            self._certificate(name, name, self._authority_key.public_key(), days=1000)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._authority_key.public_key()), critical=False)
            .sign(self._authority_key, hashes.SHA256())
        )

    def trusted_root(self) -> bytes:
        """The JSON that a verifier is given."""
        validity = {"start": (self.now - dt.timedelta(days=2)).isoformat()}
        chain = {"certificates": [{"rawBytes": _base64(_der(self._authority))}]}
        authority = {
            "subject": {"organization": "test", "commonName": "test"},
            "uri": "https://authority.test",
            "certChain": chain,
            "validFor": validity,
        }
        document = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._log_entry_of_root(self._log_key, validity)],
            "certificateAuthorities": [authority],
            "ctlogs": [self._log_entry_of_root(self._certificate_log_key, validity)],
            "timestampAuthorities": [],
        }
        return json.dumps(document).encode()

    def sign_dsse(self, payload: bytes, payload_type: str, subject: str, issuer: str) -> bytes:
        """A bundle with a DSSE envelope, signed by who the certificate names."""
        key, certificate = self._issue(subject, issuer)
        signed = b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
        signature = _base64(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        envelope = {"payload": _base64(payload), "payloadType": payload_type, "signatures": [{"sig": signature}]}
        specification = {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(json.dumps(envelope).encode()).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": signature, "verifier": _pem(certificate)}],
        }
        return self._bundle(certificate, "dsse", specification, {"dsseEnvelope": envelope})

    def sign_message(self, message: bytes, subject: str, issuer: str) -> bytes:
        """A bundle with a message signature, signed by who the certificate names."""
        key, certificate = self._issue(subject, issuer)
        signature = _base64(key.sign(message, ec.ECDSA(hashes.SHA256())))
        digest = hashlib.sha256(message)
        specification = {
            "data": {"hash": {"algorithm": "sha256", "value": digest.hexdigest()}},
            "signature": {"content": signature, "publicKey": {"content": _pem(certificate)}},
        }
        content = {
            "messageDigest": {"algorithm": "SHA2_256", "digest": _base64(digest.digest())},
            "signature": signature,
        }
        return self._bundle(certificate, "hashedrekord", specification, {"messageSignature": content})

    def _certificate(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: float
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - dt.timedelta(minutes=1))
            .not_valid_after(self.now + dt.timedelta(days=days))
        )

    def _issue(self, subject: str, issuer: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """A certificate of ten minutes, logged as a certificate before it is issued (RFC 6962, 3.1)."""
        key = _new_key()
        names = x509.SubjectAlternativeName([x509.RFC822Name(subject)])
        authority_key = self._authority_key.public_key()
        builder = (
            self._certificate(x509.Name([]), self._authority.subject, key.public_key(), days=10 / 1440)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
            .add_extension(names, critical=True)
            .add_extension(x509.UnrecognizedExtension(ISSUER_OID, issuer.encode()), critical=False)
        )
        draft = builder.sign(self._authority_key, hashes.SHA256()).tbs_certificate_bytes
        promise = x509.UnrecognizedExtension(SCT_OID, self._certificate_promise(draft))
        return key, builder.add_extension(promise, critical=False).sign(self._authority_key, hashes.SHA256())

    def _certificate_promise(self, draft: bytes) -> bytes:
        milliseconds = int(self.now.timestamp() * 1000)
        authority = hashlib.sha256(_public(self._authority_key)).digest()
        signed = struct.pack("!BBQH", 0, 0, milliseconds, 1) + authority
        signed += len(draft).to_bytes(3, "big") + draft + b"\0\0"
        signature = self._certificate_log_key.sign(signed, ec.ECDSA(hashes.SHA256()))
        log = hashlib.sha256(_public(self._certificate_log_key)).digest()
        promise = b"\0" + log + struct.pack("!QHBBH", milliseconds, 0, 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(promise) + 2, len(promise)) + promise
        assert len(listed) < 0x80  # so DER needs one byte for the length
        return bytes([0x04, len(listed)]) + listed

    def _bundle(self, certificate: x509.Certificate, kind: str, specification: Any, content: Any) -> bytes:
        entry = {"apiVersion": "0.0.1", "kind": kind, "spec": specification}
        body = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        material = {
            "certificate": {"rawBytes": _base64(_der(certificate))},
            "tlogEntries": [self._logged(body, kind)],
            "timestampVerificationData": {"rfc3161Timestamps": []},
        }
        document = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            **content,
        }
        return json.dumps(document).encode()

    def _logged(self, body: bytes, kind: str) -> dict[str, Any]:
        """An entry of a log of two, with its inclusion proof, checkpoint and promise (Rekor v1)."""
        leaf = hashlib.sha256(b"\0" + body).digest()
        other = hashlib.sha256(b"\0another entry").digest()
        root = hashlib.sha256(b"\1" + leaf + other).digest()
        log = hashlib.sha256(_public(self._log_key)).digest()
        note = f"{HOST} - 1\n2\n{_base64(root)}\n"
        signature = log[:4] + self._log_key.sign(note.encode(), ec.ECDSA(hashes.SHA256()))
        seconds = int(self.now.timestamp())
        promised = {"body": _base64(body), "integratedTime": seconds, "logID": log.hex(), "logIndex": 0}
        canonical = json.dumps(promised, sort_keys=True, separators=(",", ":")).encode()
        promise = self._log_key.sign(canonical, ec.ECDSA(hashes.SHA256()))
        return {
            "logIndex": "0",
            "logId": {"keyId": _base64(log)},
            "kindVersion": {"kind": kind, "version": "0.0.1"},
            "integratedTime": str(seconds),
            "inclusionPromise": {"signedEntryTimestamp": _base64(promise)},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": _base64(root),
                "treeSize": "2",
                "hashes": [_base64(other)],
                "checkpoint": {"envelope": f"{note}\n\u2014 {HOST} {_base64(signature)}\n"},
            },
            "canonicalizedBody": _base64(body),
        }

    def _log_entry_of_root(self, key: ec.EllipticCurvePrivateKey, validity: Any) -> dict[str, Any]:
        return {
            "baseUrl": f"https://{HOST}",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": _base64(_public(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": validity,
            },
            "logId": {"keyId": _base64(hashlib.sha256(_public(key)).digest())},
        }


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _usage(*, certificates: bool) -> x509.KeyUsage:
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    unused = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not certificates, key_cert_sign=certificates, **unused)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _pem(certificate: x509.Certificate) -> str:
    return _base64(certificate.public_bytes(serialization.Encoding.PEM))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
