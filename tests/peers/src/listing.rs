//! Owns a listing of all versions, page after page. Leaves connections to `floor`.

use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::floor::{Connection, send};
use crate::{Done, Failure};

/// Lists a bucket. Its entries count as objects.
pub(crate) async fn versions(address: &str, bucket: &str) -> Result<Done, Failure> {
    let (mut connection, mut done, mut from): (Connection, _, _) = (None, Done::default(), String::new());
    loop {
        let response = send(address, &format!("/{bucket}?versions{from}"), &mut connection).await?;
        let page = response.into_body().collect().await?.to_bytes();
        let page = std::str::from_utf8(&page)?;
        done.objects += page.matches("<VersionId>").count() as u64;
        done.bytes += page.len() as u64;
        let text = |name: &str| {
            let (_, rest) = page.split_once(&format!("<{name}>"))?;
            Some(rest.split_once('<')?.0.to_owned())
        };
        if text("IsTruncated").as_deref() != Some("true") {
            return Ok(done);
        }
        let key = text("NextKeyMarker").ok_or("a page that is not the last one names no next one")?;
        let id = text("NextVersionIdMarker").ok_or("a page that is not the last one names no next version")?;
        from = format!(
            "&key-marker={}&version-id-marker={}",
            utf8_percent_encode(&key, NON_ALPHANUMERIC),
            utf8_percent_encode(&id, NON_ALPHANUMERIC)
        );
    }
}
