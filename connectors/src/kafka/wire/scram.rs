//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677), the client's side, without channel binding.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

/// How often the password may be hashed: less than Kafka's least would make it easy to guess for whoever plays the
/// broker, and more would keep us busy for seconds.
const ITERATIONS: RangeInclusive<u32> = 4096..=1_000_000;

/// "n,,": no channel binding, no other identity.
const GS2_HEADER: &str = "n,,";

/// The hash function of a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        self.hmac().digest_algorithm()
    }
}

/// One exchange, which proves that both sides know the password without telling it.
pub(super) struct Exchange<'p> {
    hash: Hash,
    password: &'p str,
    nonce: String,
    /// The first message without its header.
    first_bare: String,
    server_signature: Option<hmac::Tag>,
}

impl<'p> Exchange<'p> {
    /// Starts an exchange with a nonce of its own.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn new(hash: Hash, user: &str, password: &'p str) -> Result<Self, String> {
        let mut nonce = [0; 24];
        let filled = SystemRandom::new().fill(&mut nonce);
        filled.map_err(|_| "the system has no random numbers".to_owned())?;
        Ok(Self::with_nonce(hash, user, password, BASE64.encode(nonce)))
    }

    fn with_nonce(hash: Hash, user: &str, password: &'p str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            password,
            first_bare: format!("n={user},r={nonce}"),
            nonce,
            server_signature: None,
        }
    }

    /// Returns the client's first message.
    pub(super) fn first(&self) -> String {
        format!("{GS2_HEADER}{}", self.first_bare)
    }

    /// Takes the server's first message in and returns the client's last one.
    ///
    /// # Errors
    /// When the message is not one, or asks for what no broker should ask.
    pub(super) fn last(&mut self, server_first: &str) -> Result<String, String> {
        let nonce = attribute(server_first, "r")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the broker's nonce does not go on from ours".to_owned());
        }
        let salt = BASE64.decode(attribute(server_first, "s")?);
        let salt = salt.map_err(|_| "the broker's salt is not base64".to_owned())?;
        let iterations = attribute(server_first, "i")?.parse().ok();
        let iterations = iterations
            .filter(|count| ITERATIONS.contains(count))
            .and_then(NonZeroU32::new);
        let iterations =
            iterations.ok_or_else(|| format!("expected {} to {} iterations", ITERATIONS.start(), ITERATIONS.end()))?;

        let algorithm = self.hash.hmac();
        let mut salted = vec![0; self.hash.digest().output_len()];
        pbkdf2::derive(
            self.hash.pbkdf2(),
            iterations,
            &salt,
            self.password.as_bytes(),
            &mut salted,
        );
        let salted = hmac::Key::new(algorithm, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest(), client_key.as_ref());
        let without_proof = format!("c={},r={nonce}", BASE64.encode(GS2_HEADER));
        let message = format!("{},{server_first},{without_proof}", self.first_bare);
        let signature = hmac::sign(&hmac::Key::new(algorithm, stored_key.as_ref()), message.as_bytes());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        let server_key = hmac::Key::new(algorithm, server_key.as_ref());
        self.server_signature = Some(hmac::sign(&server_key, message.as_bytes()));
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)))
    }

    /// Checks the server's last message: that it knows the password too.
    ///
    /// # Errors
    /// When it does not, or says that we do not.
    pub(super) fn finish(&self, server_last: &str) -> Result<(), String> {
        if let Ok(problem) = attribute(server_last, "e") {
            return Err(problem.to_owned());
        }
        let signature = BASE64.decode(attribute(server_last, "v")?).ok();
        let expected = self.server_signature.as_ref().map(AsRef::as_ref);
        // Both are hashes of a nonce that is used once, so that the time it takes to compare them tells nothing.
        match signature.is_some() && signature.as_deref() == expected {
            true => Ok(()),
            false => Err("the broker does not know the password".to_owned()),
        }
    }
}

/// Returns the value of an attribute of a message.
fn attribute<'m>(message: &'m str, name: &str) -> Result<&'m str, String> {
    let mut attributes = message.split(',').filter_map(|attribute| attribute.split_once('='));
    let found = attributes.find(|(found, _)| *found == name);
    found
        .map(|(_, value)| value)
        .ok_or_else(|| format!("the broker's message has no `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn exchange(hash: Hash) -> Exchange<'static> {
        Exchange::with_nonce(hash, "user", "pencil", "rOprNGfwEbeRWgbNEkqO".into())
    }

    #[track_caller]
    fn check(hash: Hash, proof: &str, server_last: &str) {
        let mut exchange = exchange(hash);
        assert_eq!(exchange.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let last = exchange.last(SERVER_FIRST).expect("a valid message");
        let expected = format!("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p={proof}");
        assert_eq!(last, expected);
        exchange.finish(server_last).expect("the server's own signature");
        let other = server_last.replacen("v=", "v=A", 1);
        assert!(exchange.finish(&other).is_err(), "another signature is refused");
    }

    #[test]
    fn the_exchange_is_the_one_of_rfc_7677() {
        check(
            Hash::Sha256,
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        );
    }

    /// Made by Python's hashlib and hmac.
    #[test]
    fn the_exchange_with_sha_512_is_the_one_that_others_make() {
        check(
            Hash::Sha512,
            "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
            "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
        );
    }

    #[test]
    fn a_server_that_asks_for_too_little_or_too_much_is_refused() {
        let check = |from: &str, to: &str, expected: &str| {
            let problem = exchange(Hash::Sha256)
                .last(&SERVER_FIRST.replace(from, to))
                .expect_err("refused");
            assert!(problem.contains(expected), "{problem}");
        };
        check("i=4096", "i=1", "expected 4096 to 1000000 iterations");
        check("i=4096", "i=4294967295", "iterations");
        check("r=rOpr", "r=xOpr", "nonce");
        check("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "", "nonce");
        check("s=W22Z", "s=!", "salt");
        check(",i=4096", "", "no `i`");
    }

    #[test]
    fn names_are_escaped_and_a_servers_error_is_told() {
        let exchange = Exchange::with_nonce(Hash::Sha256, "a=b,c", "", "n".into());
        assert_eq!(exchange.first(), "n,,n=a=3Db=2Cc,r=n");
        assert_eq!(exchange.finish("e=other-error"), Err("other-error".to_owned()));
        assert!(exchange.finish("v=").is_err(), "nothing was proved yet");
    }
}
