//! Owns the reading of a signed request as a server has it: from what is on the wire, by AWS's own description
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>) and nothing of the host's.

use http::{HeaderMap, Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest as _, Sha256};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let short = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    let pad = |with: u8| (0..BLOCK).map(|at| short.get(at).copied().unwrap_or_default() ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([&pad(0x36), text].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The part of an `Authorization` after a name.
fn part<'a>(authorization: &'a str, name: &str) -> &'a str {
    let (_, rest) = authorization.split_once(name).expect("an Authorization has its parts");
    rest.split(',').next().unwrap_or_default()
}

/// Panics where a server would find another signature than the one that was sent. Gives the names of the headers it covers.
pub(super) fn verify(method: &Method, uri: &Uri, headers: &HeaderMap, secret: &str, region: &str) -> Vec<String> {
    let authorization = headers["authorization"].to_str().expect("it is text");
    let signed = part(authorization, "SignedHeaders=");
    let path = percent_decode_str(uri.path()).collect::<Vec<u8>>();
    let mut query: Vec<_> = uri
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let again = |text| percent_encode(&percent_decode_str(text).collect::<Vec<u8>>(), UNRESERVED).to_string();
            format!("{}={}", again(name), again(value))
        })
        .collect();
    query.sort();
    let mut canonical = format!("{method}\n{}\n{}\n", percent_encode(&path, PATH), query.join("&"));
    for name in signed.split(';') {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| value.to_str().expect("it is text").trim()).collect();
        canonical.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let payload = headers["x-amz-content-sha256"].to_str().expect("it is text");
    canonical.push_str(&format!("\n{signed}\n{payload}"));

    let time = headers["x-amz-date"].to_str().expect("it is text");
    let scope = format!("{}/{region}/s3/aws4_request", &time[..8]);
    let canonical = hexadecimal(&Sha256::digest(&canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let first = hmac(format!("AWS4{secret}").as_bytes(), &time.as_bytes()[..8]);
    let key = [region, "s3", "aws4_request"].iter().fold(first, |key, part| hmac(&key, part.as_bytes()));
    assert_eq!(part(authorization, "Signature="), hexadecimal(&hmac(&key, to_sign.as_bytes())), "{method} {uri}");
    signed.split(';').map(str::to_owned).collect()
}
