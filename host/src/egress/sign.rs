//! Owns Signature Version 4 for S3, over the `aws-sigv4` crate. Leaves to others what may be signed (`policy`),
//! with which keys (`credentials`) and at what time: the time is an argument, so a signature is a pure function.
//!
//! S3 differs from other AWS services in three ways
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>): the path is escaped once,
//! it is never normalised, and the body's hash is a header.

use std::fmt::Write as _;
use std::time::SystemTime;

use aws_credential_types::Credentials as Keys;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use sha2::{Digest as _, Sha256};

/// The headers that signing sets; whatever stood there before is replaced.
const SIGNATURE_HEADERS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::HOST,
    HeaderName::from_static("x-amz-content-sha256"),
    HeaderName::from_static("x-amz-date"),
    HeaderName::from_static("x-amz-security-token"),
];

/// The SHA-256 of nothing.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Why a request could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address has no host, or a header's value is not text.
    #[error("the request can't be signed; part=`{part}`")]
    Request {
        /// The part that is at fault.
        part: &'static str,
    },
    /// The signer refused; with session tokens that no header can carry, for one.
    #[error("the signature can't be computed")]
    Signature(#[source] aws_sigv4::http_request::SigningError),
}

/// The SHA-256 of a request's body in lower-case hexadecimal, as `x-amz-content-sha256` carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadHash(String);

impl PayloadHash {
    /// What stands for the hash of a body that is not signed
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
    #[must_use]
    pub fn unsigned() -> Self {
        Self("UNSIGNED-PAYLOAD".to_owned())
    }

    /// Hashes a body: at 1.4 GB/s, so hash large ones where blocking is fine.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        if body.is_empty() {
            return Self(EMPTY_SHA256.to_owned());
        }
        let digest = Sha256::digest(body);
        let mut text = String::with_capacity(64);
        for byte in digest {
            write!(text, "{byte:02x}").expect("a string takes all");
        }
        Self(text)
    }
}

#[cfg(test)]
impl PayloadHash {
    /// Whether it reads like this.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0 == text
    }
}

/// Signs for one region.
#[derive(Debug, Clone)]
pub struct Signer {
    region: String,
}

impl Signer {
    /// A signer for S3 in this region.
    #[must_use]
    pub fn new(region: impl Into<String>) -> Self {
        Self { region: region.into() }
    }

    /// The region that signatures are for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Signs a request in place: sets `host`, `x-amz-date`, `x-amz-content-sha256`, `authorization` and, with
    /// temporary keys, `x-amz-security-token`. The path is signed exactly as `uri` spells it, so `uri` must
    /// be in S3's own escapes, as `policy` writes it. Without keys it sets `host` alone.
    ///
    /// # Errors
    ///
    /// If a part of the request can't take part in a signature.
    pub fn sign(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
        payload: &PayloadHash,
        keys: Option<&Keys>,
        time: SystemTime,
    ) -> Result<(), Error> {
        // 1. Nothing of an earlier attempt may take part.
        for name in &SIGNATURE_HEADERS {
            headers.remove(name);
        }
        headers.insert(header::HOST, host(uri)?);
        let Some(keys) = keys else {
            return Ok(());
        };

        // 2. All headers are signed, save those the crate knows to change on their way (`user-agent`).
        let mut signable = Vec::with_capacity(headers.len());
        for (name, value) in headers.iter() {
            let value = std::str::from_utf8(value.as_bytes()).map_err(|_| Error::Request { part: "header" })?;
            signable.push((name.as_str(), value));
        }
        let request = SignableRequest::new(
            method.as_str(),
            uri.to_string(),
            signable.into_iter(),
            SignableBody::Precomputed(payload.0.clone()),
        )
        .map_err(Error::Signature)?;

        // 3. The crate's types say what is missing at run time; here nothing is.
        let identity = keys.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(time)
            .settings(settings())
            .build()
            .expect("every parameter is set above")
            .into();
        // The crate's trace holds the id of the key.
        let silent = tracing::Dispatch::none();
        let output = tracing::dispatcher::with_default(&silent, || sign(request, &params)).map_err(Error::Signature)?;

        // 4. The outcome replaces what step 1 removed.
        let (instructions, _signature) = output.into_parts();
        let (signed, _query) = instructions.into_parts();
        for signed in signed {
            let mut value = HeaderValue::from_str(signed.value()).map_err(|_| Error::Request { part: "signature" })?;
            // Keeps them out of every `Debug` of a header map.
            value.set_sensitive(matches!(signed.name(), "authorization" | "x-amz-security-token"));
            headers.insert(HeaderName::from_static(signed.name()), value);
        }
        Ok(())
    }
}

fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

/// The `Host` that is signed and sent: without the scheme's own port, which servers leave out when they verify.
fn host(uri: &Uri) -> Result<HeaderValue, Error> {
    let refuse = || Error::Request { part: "host" };
    let host = uri.host().ok_or_else(refuse)?;
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let value = match uri.port_u16() {
        Some(port) if port != default => HeaderValue::try_from(format!("{host}:{port}")),
        _ => HeaderValue::try_from(host),
    };
    value.map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// 2013-05-24T00:00:00Z.
    fn time() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_369_353_600)
    }

    fn keys(token: Option<&str>) -> Keys {
        Keys::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            token.map(str::to_owned),
            None,
            "test",
        )
    }

    struct Vector {
        method: Method,
        uri: &'static str,
        headers: &'static [(&'static str, &'static str)],
        body: &'static str,
        token: Option<&'static str>,
        signed_headers: &'static str,
        signature: &'static str,
    }

    impl Vector {
        fn sign(&self) -> HeaderMap {
            let mut headers = HeaderMap::new();
            for (name, value) in self.headers {
                headers.insert(*name, HeaderValue::from_str(value).unwrap());
            }
            let payload = PayloadHash::of(self.body.as_bytes());
            Signer::new("us-east-1")
                .sign(&self.method, &self.uri.parse().unwrap(), &mut headers, &payload, Some(&keys(self.token)), time())
                .unwrap();
            headers
        }

        fn check(&self) {
            let authorization = format!(
                "AWS4-HMAC-SHA256 \
                 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders={}, Signature={}",
                self.signed_headers, self.signature
            );
            let headers = self.sign();
            assert_eq!(headers["authorization"], authorization, "{}", self.uri);
            assert_eq!(headers["x-amz-date"], "20130524T000000Z");
        }
    }

    /// The examples of <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
    #[test]
    fn the_published_examples_come_out() {
        Vector {
            method: Method::GET,
            uri: "https://examplebucket.s3.amazonaws.com/test.txt",
            headers: &[("range", "bytes=0-9")],
            body: "",
            token: None,
            signed_headers: "host;range;x-amz-content-sha256;x-amz-date",
            signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        }
        .check();
        Vector {
            method: Method::PUT,
            uri: "https://examplebucket.s3.amazonaws.com/test%24file.text",
            headers: &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            body: "Welcome to Amazon S3.",
            token: None,
            signed_headers: "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        }
        .check();
        Vector {
            method: Method::GET,
            uri: "https://examplebucket.s3.amazonaws.com/?lifecycle",
            headers: &[],
            body: "",
            token: None,
            signed_headers: "host;x-amz-content-sha256;x-amz-date",
            signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        }
        .check();
        Vector {
            method: Method::GET,
            uri: "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
            headers: &[],
            body: "",
            token: None,
            signed_headers: "host;x-amz-content-sha256;x-amz-date",
            signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        }
        .check();
    }

    /// Signatures that botocore, the library of the aws CLI, computes for the same requests.
    #[test]
    fn odd_keys_and_queries_are_signed_as_botocore_signs_them() {
        const HOST_DATE: &str = "host;x-amz-content-sha256;x-amz-date";
        let get = |uri, signature| Vector {
            method: Method::GET,
            uri,
            headers: &[],
            body: "",
            token: None,
            signed_headers: HOST_DATE,
            signature,
        };
        get(
            "https://examplebucket.s3.amazonaws.com/a%20b%2Bc%25d",
            "6c13fde7635f1cbd883832935808e4e9e87f09e2230b598b713b459f26443a5f",
        )
        .check();
        get(
            "https://examplebucket.s3.amazonaws.com/%C3%A9%E2%82%AC/%01%7F",
            "944294ba60c11301ece5d594ecb37ae30a5afd8721deb468bad6d9fe7691fb01",
        )
        .check();
        get(
            "https://examplebucket.s3.amazonaws.com//leading//",
            "cb99a76f2c6e7a4c45be17279d7deaca6bfe2632f61c04f2333a64b5f3c8ba43",
        )
        .check();
        get(
            "https://examplebucket.s3.amazonaws.com/../x/./..",
            "043ff953a8d821744a3b60aaf788d12d674b547635b66561c6f327d4202879df",
        )
        .check();
        get(
            "https://examplebucket.s3.amazonaws.com/bucket/a%2Ab%28c%29%27",
            "5ed795279fe47e5c833305f776bc65aa66115cbca87f917bf2d5bf89b5087c72",
        )
        .check();
        get(
            "http://127.0.0.1:9000/bucket?list-type=2&prefix=a%2Fb%20c%2B%25&encoding-type=url\
             &start-after=%C3%A9&delimiter=%2F",
            "ef4fa45d38412dcc46f0d5f274dbb81528b00bba8058f78d6b267b1d6e81f16b",
        )
        .check();
    }

    /// As above.
    #[test]
    fn tokens_bodies_and_metadata_are_signed_as_botocore_signs_them() {
        Vector {
            method: Method::GET,
            uri: "https://examplebucket.s3.amazonaws.com/test.txt",
            headers: &[("range", "bytes=0-9")],
            body: "",
            token: Some(
                "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFq\
                 wAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGd",
            ),
            signed_headers: "host;range;x-amz-content-sha256;x-amz-date;x-amz-security-token",
            signature: "212945307d2f9ab3cabd3e077bade347abc0279057ce1aed4e0e1e28e546081f",
        }
        .check();
        Vector {
            method: Method::PUT,
            uri: "http://127.0.0.1:9000/bucket/k?partNumber=1&uploadId=a%2Bb%2F%3D%3D",
            headers: &[("content-length", "5"), ("content-type", "text/plain")],
            body: "hello",
            token: None,
            signed_headers: "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
            signature: "6f69138760535bbcf630ed96b70d34b90d5a9575a991218455f1a5a10f1b0efc",
        }
        .check();
        Vector {
            method: Method::PUT,
            uri: "http://127.0.0.1:9000/bucket/k",
            headers: &[("content-length", "5"), ("if-none-match", "*"), ("x-amz-meta-name", "a  b")],
            body: "hello",
            token: None,
            signed_headers: "content-length;host;if-none-match;x-amz-content-sha256;x-amz-date;\
                             x-amz-meta-name",
            signature: "65db784f5b02da8b28bf2e8454bf495e5e77924bc62b9c8da87700104e86e2e8",
        }
        .check();
    }

    #[test]
    fn a_session_token_is_sent_and_hidden() {
        let vector = Vector {
            method: Method::GET,
            uri: "https://examplebucket.s3.amazonaws.com/test.txt",
            headers: &[],
            body: "",
            token: Some("a-token"),
            signed_headers: "",
            signature: "",
        };
        let headers = vector.sign();
        assert_eq!(headers["x-amz-security-token"], "a-token");
        let debug = format!("{headers:?}");
        assert!(!debug.contains("a-token") && !debug.contains("Signature="));
    }

    #[test]
    fn what_an_earlier_attempt_left_takes_no_part() {
        let vector = Vector {
            method: Method::GET,
            uri: "https://examplebucket.s3.amazonaws.com/test.txt",
            headers: &[
                ("range", "bytes=0-9"),
                ("host", "elsewhere"),
                ("x-amz-date", "19700101T000000Z"),
                ("x-amz-security-token", "old"),
                ("x-amz-content-sha256", "old"),
                ("authorization", "old"),
            ],
            body: "",
            token: None,
            signed_headers: "host;range;x-amz-content-sha256;x-amz-date",
            signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        };
        vector.check();
        let headers = vector.sign();
        assert_eq!(headers["host"], "examplebucket.s3.amazonaws.com");
        assert!(!headers.contains_key("x-amz-security-token"));
        assert_eq!(headers["x-amz-content-sha256"], EMPTY_SHA256);
    }

    #[test]
    fn the_host_is_without_the_scheme_s_own_port() {
        for (uri, wanted) in [
            ("http://h:80/", "h"),
            ("https://h:443/", "h"),
            ("http://h:443/", "h:443"),
            ("http://h:9000/", "h:9000"),
            ("http://[::1]:9000/", "[::1]:9000"),
        ] {
            assert_eq!(host(&uri.parse().unwrap()).unwrap(), wanted);
        }
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_an_error() {
        let outcome = Signer::new("us-east-1").sign(
            &Method::GET,
            &Uri::from_static("http://h/b/k"),
            &mut HeaderMap::new(),
            &PayloadHash::of(b""),
            Some(&keys(Some("a\nb"))),
            time(),
        );
        assert!(outcome.is_err());
    }

    #[test]
    fn the_hash_of_a_body_is_its_sha_256() {
        assert_eq!(PayloadHash::of(b"").0, EMPTY_SHA256);
        assert_eq!(
            PayloadHash::of(b"Welcome to Amazon S3.").0,
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
        );
    }
}
