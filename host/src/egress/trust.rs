//! Owns whose certificates are trusted: the system's authorities, or those of a bundle, whose certificates count for
//! themselves too. Says in words why one is not. Leaves the connection to `hyper_upstream`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::BoxError;

/// The variable that names the bundle.
pub(crate) const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// Why the trusted certificates could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is not readable, or holds something else than certificates.
    #[error(
        "the trusted certificates can't be read: `{CA_BUNDLE}` must name a file of certificates in PEM; path=`{}`",
        path.display()
    )]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: BoxError,
    },
}

/// Why a server's certificate is not trusted, in words for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// It is for other names.
    #[error("it is not for the name `{wanted}`, but for {presented}")]
    Name {
        /// The name that was connected to.
        wanted: String,
        /// Those that it is for.
        presented: String,
    },
    /// No authority that is trusted has signed it.
    #[error("no authority that is trusted has signed it")]
    Unknown,
    /// It is an authority's own, as `openssl req -x509` makes them, and nobody has named it.
    #[error("it is an authority's own certificate, which is not named as trusted")]
    Authority,
    /// There is none.
    #[error("the server has shown none")]
    None,
    /// It was withdrawn, is damaged or of a kind that is not supported.
    #[error("{0}")]
    Other(&'static str),
}

impl Distrust {
    pub(super) fn of(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYet,
            CertificateError::NotValidForNameContext { expected, presented } => {
                Self::Name { wanted: expected.to_str().into_owned(), presented: names(presented) }
            }
            CertificateError::UnknownIssuer => Self::Unknown,
            CertificateError::Revoked => Self::Other("it was withdrawn by who signed it"),
            CertificateError::BadEncoding => Self::Other("it can't be read"),
            CertificateError::BadSignature => Self::Other("its signature is wrong"),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::Other("it is not meant for servers")
            }
            error if is_authoritys(error) => Self::Authority,
            _ => Self::Other("it is of a kind that is not supported"),
        }
    }
}

/// The names in rustls' form (`DnsName("a")`), as people write them.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| {
        let inner = name.split_once('(').map_or(&**name, |(_, inner)| inner);
        format!("`{}`", inner.trim_end_matches(')').trim_matches('"'))
    };
    match presented {
        [] => "none".to_owned(),
        names => names.iter().map(plain).collect::<Vec<_>>().join(", "),
    }
}

/// Whether a certificate is good but for being an authority's own. Its time was looked at before that.
fn is_authoritys(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else {
        return false;
    };
    let webpki = other.0.downcast_ref::<webpki::Error>();
    matches!(webpki, Some(webpki::Error::CaUsedAsEndEntity))
}

/// TLS with servers that are trusted: by the system's authorities, or by the certificates of a bundle.
pub(crate) fn client_tls(ca_bundle: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(ca_bundle, Arc::clone(&provider))?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// What verifies servers: against the system's authorities, or those of a bundle (the file that `AWS_CA_BUNDLE` names)
/// in their stead, as the AWS CLI does.
pub(super) fn verifier(
    ca_bundle: Option<&Path>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
    let (roots, named) = match ca_bundle {
        Some(path) => read_bundle(path)?,
        None => (native_roots(), Vec::new()),
    };
    if roots.is_empty() {
        return Ok(Arc::new(Nobody(provider)));
    }
    let web = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .expect("there are roots, and no revocation lists that could be wrong");
    Ok(Arc::new(Verifier { web, named }))
}

/// The rules of the web, and certificates that are trusted by name. The rules refuse a server that shows an
/// authority's certificate, which is what `openssl req -x509` makes, even if that very one is an anchor of trust; OpenSSL, and
/// with it the AWS CLI, takes it.
#[derive(Debug)]
struct Verifier {
    web: Arc<WebPkiServerVerifier>,
    /// The bundle's certificates, byte for byte.
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.web.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(rustls::Error::InvalidCertificate(error))
                if is_authoritys(&error) && self.named.iter().any(|named| named == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.web.supported_verify_schemes()
    }
}

/// A system without certificates trusts nobody. Plain HTTP needs none, so that is no error at the start.
struct Nobody(Arc<CryptoProvider>);

impl fmt::Debug for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nobody").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Nobody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn read_bundle(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TrustError> {
    let refuse = |source| TrustError::Bundle { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(|error| refuse(Box::new(error)))?;
    let mut roots = RootCertStore::empty();
    let mut named = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        // What the reader says of it is for programmers.
        let certificate =
            certificate.map_err(|_| refuse("the file is not in PEM, or a part of it is missing".into()))?;
        roots.add(certificate.clone()).map_err(|_| refuse("a certificate in the file can't be read".into()))?;
        named.push(certificate);
    }
    if roots.is_empty() {
        return Err(refuse("the file holds no certificate".into()));
    }
    Ok((roots, named))
}

fn native_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "some of the system's certificates can't be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("the system has no trusted certificates: https will not work");
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_people_write_them() {
        let presented = ["DnsName(\"a.example\")", "IpAddress(127.0.0.1)"].map(str::to_owned);
        assert_eq!(names(&presented), "`a.example`, `127.0.0.1`");
        assert_eq!(names(&[]), "none");
    }

    #[test]
    fn why_a_certificate_is_not_trusted_is_said_in_words() {
        for (error, words) in [
            (CertificateError::Expired, "it has expired"),
            (CertificateError::NotValidYet, "it is not valid yet"),
            (CertificateError::UnknownIssuer, "no authority that is trusted has signed it"),
            (CertificateError::BadEncoding, "it can't be read"),
            (CertificateError::ApplicationVerificationFailure, "it is of a kind that is not supported"),
        ] {
            assert_eq!(Distrust::of(&error).to_string(), words);
        }
    }
}
