//! Keys, each for exactly one algorithm, so that a public key is never used as
//! a shared secret, whatever a token's header claims.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};

use super::claims::{self, Claims, Rules};
use super::refusal::Refusal;

/// The algorithms of PROTOCOL.md §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// The one that tokens name so.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// As tokens name it (RFC 7518 §3.1, RFC 8037 §3.1).
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether its keys are public keys.
    pub(super) fn is_public(self) -> bool {
        self != Self::Hs256
    }

    fn jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// A key and the one algorithm that it is for.
#[derive(Debug, Clone)]
pub(super) struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
    /// The `kid`, for keys of a set.
    pub(super) id: Option<String>,
}

impl Key {
    /// A secret for HS256.
    pub(super) fn shared(secret: &[u8]) -> Self {
        Self { algorithm: Algorithm::Hs256, key: DecodingKey::from_secret(secret), id: None }
    }

    /// A public key in PEM form; its kind determines the algorithm. Fails with
    /// what is wrong.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, &'static str> {
        const RULE: &str = "must be a PEM file with one RSA, P-256 or Ed25519 public key";
        let text = std::str::from_utf8(pem).map_err(|_| RULE)?;
        if text.contains("PRIVATE KEY") {
            return Err("holds a private key; give the public one (openssl pkey -in FILE -pubout)");
        }
        let (algorithm, key) = if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            // A point of another curve has another length.
            if key.try_get_as_bytes().is_ok_and(|point| point.len() != 65) {
                return Err("holds an elliptic curve key that is not P-256");
            }
            (Algorithm::Es256, key)
        } else if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            (Algorithm::EdDsa, key)
        } else {
            (Algorithm::Rs256, DecodingKey::from_rsa_pem(pem).map_err(|_| RULE)?)
        };
        Ok(Self { algorithm, key, id: None })
    }

    /// A key of a set; `None` for a key with another purpose. Shared secrets in
    /// sets are not accepted, since anybody can read a set.
    pub(super) fn from_jwk(jwk: &Jwk) -> Option<Self> {
        if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::Rs256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                (Algorithm::Es256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDsa, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        if jwk.common.key_algorithm.is_some_and(|alg| alg != named) {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        Some(Self { algorithm, key, id: jwk.common.key_id.clone() })
    }

    /// The one algorithm.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The claims of a token that this key has signed and that follows the
    /// rules; `None` when another key has signed it. Fails with what is wrong.
    pub(super) fn open(&self, token: &str, rules: &Rules) -> Result<Option<Claims>, Refusal> {
        debug_assert_eq!(self.key.family() == AlgorithmFamily::Hmac, self.algorithm == Algorithm::Hs256);
        match jsonwebtoken::decode::<Claims>(token, &self.key, &rules.validation(self.algorithm.jwt())) {
            Ok(token) => Ok(Some(token.claims)),
            Err(error) => claims::refusal(error.kind()).map_or(Ok(None), Err),
        }
    }
}
