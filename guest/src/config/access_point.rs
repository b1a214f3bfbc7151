//! Owns access points of S3, which stand in the place of a bucket by their ARN: which there are, and how one is addressed. Leaves
//! their aliases to be what they look like, names of buckets, and all else of addresses to `endpoint`.
//!
//! [How ARNs of access points look](https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html).

use super::endpoint::{Url, partition};

/// An access point, by the parts of its ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessPoint<'a> {
    /// The partition of AWS.
    pub partition: &'a str,
    /// The region.
    pub region: &'a str,
    /// The account.
    pub account: &'a str,
    /// The name.
    pub name: &'a str,
}

/// The letters that an ARN begins with.
const SCHEME: &str = "arn:";

/// Whether a bucket's name is an ARN, right or wrong.
pub(super) fn is_arn(bucket: &str) -> bool {
    bucket.starts_with(SCHEME)
}

impl<'a> AccessPoint<'a> {
    /// The access point that a setting names in the place of a bucket; `None` for a bucket, and for what is neither.
    pub fn of(bucket: &'a str) -> Option<Self> {
        Self::parse(bucket).ok()
    }

    /// Parses an ARN.
    ///
    /// # Errors
    ///
    /// What is expected instead, to follow "must be".
    pub(super) fn parse(arn: &'a str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "the name of a bucket, or the ARN of an access point such as arn:aws:s3:eu-west-1:123456789012:accesspoint/reader";
        let parts: Vec<_> = arn.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, resource] = *parts else {
            return Err(EXPECTED);
        };
        match service {
            "s3" => {}
            "s3-object-lambda" => {
                return Err(
                    "no access point of Object Lambda, which answers with other bytes than those that are listed: name the \
                            access point below it",
                );
            }
            "s3-outposts" => {
                return Err("no bucket of Outposts, which has no versions and other addresses: name one of a region");
            }
            _ => return Err(EXPECTED),
        }
        let Some(name) = resource.strip_prefix("accesspoint").and_then(|rest| rest.strip_prefix(['/', ':'])) else {
            let is_bucket = region.is_empty() && account.is_empty();
            return Err(if is_bucket { "the name of the bucket alone, without arn:aws:s3:::" } else { EXPECTED });
        };
        if region.is_empty() {
            return Err(
                "an access point of one region: those of several need signatures (SigV4A) that are not made here",
            );
        }
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let may_have_hyphens = |text: &str| text.bytes().all(|b| is_plain(b) || b == b'-');
        let is_right =
            partition.strip_prefix("aws").is_some_and(|p| p.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
                && (1..=63).contains(&region.len())
                && may_have_hyphens(region)
                && account.len() == 12
                && account.bytes().all(|b| b.is_ascii_digit())
                && (3..=50).contains(&name.len())
                && may_have_hyphens(name)
                && !name.starts_with('-')
                && !name.ends_with('-');
        if is_right { Ok(Self { partition, region, account, name }) } else { Err(EXPECTED) }
    }

    /// What stands before the host of the service, in the place of a bucket.
    pub(super) fn label(&self) -> String {
        format!("{}-{}", self.name, self.account)
    }

    /// Whether the rest of the settings goes with it: the region, which an ARN names too, and how it is addressed.
    pub(super) fn contradiction(
        &self,
        set_region: &str,
        path_style: Option<bool>,
        url: Option<&Url>,
    ) -> Option<String> {
        let Self { partition: named, region, .. } = *self;
        if region != set_region {
            return Some(format!(
                "setting `aws.bucket` names an access point in region `{region}`, and `aws.region` is `{set_region}`: set it to \
                 `{region}`"
            ));
        }
        let partition = partition(region).name;
        if partition != named {
            return Some(format!(
                "setting `aws.bucket` names an access point of partition `{named}`, and its region is in `{partition}`"
            ));
        }
        if path_style == Some(true) {
            let message = "setting `aws.forcePathStyle` is true, and access points are addressed by their host name alone: leave \
                           it out";
            return Some(message.to_owned());
        }
        url?.address().map(|address| {
            format!(
                "setting `aws.endpoint` is at the address `{address}`, and access points are addressed by a host name of their \
                 own below the endpoint's: set it to a name, or leave it out for AWS"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:s3:eu-west-1:123456789012:accesspoint/reader";

    #[test]
    fn an_arn_is_taken_apart() {
        let point = AccessPoint::of(ARN).expect("it is one");
        assert_eq!(
            (point.partition, point.region, point.account, point.name),
            ("aws", "eu-west-1", "123456789012", "reader")
        );
        assert_eq!(point.label(), "reader-123456789012");
        assert_eq!(AccessPoint::of("arn:aws:s3:eu-west-1:123456789012:accesspoint:reader"), Some(point));
        assert_eq!(AccessPoint::of("reader-x7k-s3alias"), None);
    }

    #[test]
    fn what_can_not_be_used_is_refused_for_what_it_is() {
        for (arn, part) in [
            ("arn:aws:s3::123456789012:accesspoint/m.mrap", "SigV4A"),
            ("arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/reader", "Object Lambda"),
            ("arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/accesspoint/reader", "Outposts"),
            ("arn:aws:s3:::photos", "name of the bucket alone"),
            ("arn:aws:s3:eu-west-1:123456789012:bucket/photos", "accesspoint/reader"),
            ("arn:aws:s3:eu-west-1:1:accesspoint/reader", "accesspoint/reader"),
            ("arn:aws:s3:eu-west-1:123456789012:accesspoint/re", "accesspoint/reader"),
            ("arn:aws:s3:eu-west-1:123456789012:accesspoint/reader/object/a", "accesspoint/reader"),
            ("arn:aws:s3:eu-west-1:123456789012:accesspoint/-reader", "accesspoint/reader"),
            ("arn:aws:s3:eu.west:123456789012:accesspoint/reader", "accesspoint/reader"),
            ("arn:aws:sqs:eu-west-1:123456789012:reader", "accesspoint/reader"),
        ] {
            let expected = AccessPoint::parse(arn).expect_err(arn);
            assert!(expected.contains(part), "{arn}: {expected}");
        }
    }
}
