//! TLS by rustls, with the trust and the identity that the settings name.

use std::path::Path;
use std::sync::Arc;

use engine::{Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::settings::{Pem, TlsSettings};

/// Returns the configuration of all connections.
///
/// # Errors
/// When a file can't be read or used; the message names it.
pub(super) fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| invalid("TLS", &error))?;
    let builder = match verifier(settings, &provider)? {
        Some(verifier) => builder.dangerous().with_custom_certificate_verifier(verifier),
        None => builder.with_root_certificates(roots(settings)?),
    };
    let config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let (chain, key) = (certificates(certificate)?, private_key(key)?);
            let built = builder.with_client_auth_cert(chain, key);
            built.map_err(|error| invalid("the client's certificate and key", &error))?
        }
    };
    Ok(Arc::new(config))
}

/// Returns a verifier that checks less than the usual one, if less is asked for.
fn verifier(settings: &TlsSettings, provider: &Arc<CryptoProvider>) -> Result<Option<Arc<dyn ServerCertVerifier>>> {
    match (settings.verify, settings.verify_name) {
        (true, true) => Ok(None),
        (false, _) => Ok(Some(Arc::new(AnyName {
            chain: None,
            provider: Arc::clone(provider),
        }))),
        (true, false) => {
            let roots = Arc::new(roots(settings)?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
            let chain = chain.map_err(|error| invalid("the authorities", &error))?;
            Ok(Some(Arc::new(AnyName {
                chain: Some(chain),
                provider: Arc::clone(provider),
            })))
        }
    }
}

fn roots(settings: &TlsSettings) -> Result<RootCertStore> {
    let trusted = match &settings.authorities {
        Some(Pem::Path(path)) if path.is_dir() => found(None, Some(path)),
        Some(pem) => certificates(pem)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    // A store of the system may hold what is too old to be read; the others of it still count.
    roots.add_parsable_certificates(trusted);
    match roots.is_empty() {
        true => Err(invalid(&authorities_name(settings), &"there is no certificate in it")),
        false => Ok(roots),
    }
}

fn found(file: Option<&Path>, folder: Option<&Path>) -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_certs_from_paths(file, folder).certs
}

fn authorities_name(settings: &TlsSettings) -> String {
    match &settings.authorities {
        Some(pem) => name(pem),
        None => "the system's store of authorities".to_owned(),
    }
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(pem)?;
    let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(invalid(&name(pem), &"there is no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(invalid(&name(pem), &error)),
    }
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>> {
    // The error's text never holds the key.
    let key = PrivateKeyDer::from_pem_slice(&read(pem)?);
    key.map_err(|_| invalid(&name(pem), &"there is no private key in it that can be used"))
}

fn read(pem: &Pem) -> Result<Vec<u8>> {
    match pem {
        Pem::Text(text) => Ok(text.clone().into_bytes()),
        Pem::Path(path) => std::fs::read(path).map_err(Error::io("read", path)),
    }
}

fn name(pem: &Pem) -> String {
    match pem {
        Pem::Text(_) => "the PEM text of the settings".to_owned(),
        Pem::Path(path) => path.display().to_string(),
    }
}

fn invalid(what: &str, problem: &dyn std::fmt::Display) -> Error {
    Error::Invalid(format!("{what}: {problem}"))
}

/// Accepts any name in a certificate; without a chain's verifier any certificate too. That whoever shows it has its
/// key is checked always.
#[derive(Debug)]
struct AnyName {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, when the chain was found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(authorities: Option<Pem>) -> TlsSettings {
        TlsSettings {
            authorities,
            identity: None,
            verify: true,
            verify_name: true,
        }
    }

    #[test]
    fn a_file_that_holds_no_certificate_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        let path = file.path().to_path_buf();
        let mut settings = settings(Some(Pem::Path(path.clone())));
        let error = client_config(&settings).expect_err("empty").to_string();
        assert!(
            error.contains(&path.display().to_string()) && error.contains("no certificate"),
            "{error}"
        );
        settings.authorities = Some(Pem::Path("/no/such/canary.pem".into()));
        let error = client_config(&settings).expect_err("missing").to_string();
        assert!(error.contains("/no/such/canary.pem"), "{error}");
    }

    #[test]
    fn a_key_that_is_none_is_refused_without_being_shown() {
        let key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\ncanary\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let error = private_key(&Pem::Text(key.into())).expect_err("no key").to_string();
        assert!(error.contains("private key") && !error.contains("canary"), "{error}");
    }

    #[test]
    fn without_verification_no_authorities_are_needed() {
        let mut settings = settings(Some(Pem::Text(String::new())));
        settings.verify = false;
        client_config(&settings).expect("nothing is read");
    }
}
