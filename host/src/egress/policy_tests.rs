//! Asks a policy for what it must permit and for what a hostile guest would like. Leaves the table of operations
//! to its own tests.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use s3_connector::config::Writes;

use super::denial::{Denial, URI_BYTES_MAX};
use super::operation::S3Operation;
use super::policy::{Addressing, HEADERS_BYTES_MAX, HEADERS_COUNT_MAX, Permit, Policy, PolicyInput};
use crate::role::Role;

fn policy(role: Role, prefix: &str) -> Policy {
    let input = PolicyInput::from_endpoint(role, "http://127.0.0.1:9000", Addressing::Path, "bucket", prefix);
    Policy::new(input.unwrap()).unwrap()
}

fn virtual_policy() -> Policy {
    let input = PolicyInput::from_endpoint(
        Role::Source,
        "https://s3.eu-west-1.amazonaws.com",
        Addressing::VirtualHost,
        "bucket",
        "in/",
    );
    Policy::new(input.unwrap()).unwrap()
}

fn check(policy: &Policy, method: &str, uri: &str) -> Result<Permit, Denial> {
    let uri = uri.parse().expect(uri);
    policy.check(&method.parse().unwrap(), &uri, &HeaderMap::new())
}

fn check_header(name: &str, value: &[u8]) -> Result<Permit, Denial> {
    let mut headers = HeaderMap::new();
    let name: HeaderName = name.parse().unwrap();
    headers.insert(name, HeaderValue::from_bytes(value).unwrap());
    let uri = Uri::from_static("http://127.0.0.1:9000/bucket/key");
    policy(Role::Destination, "").check(&Method::PUT, &uri, &headers)
}

#[test]
fn a_source_reads_within_its_prefix() {
    let policy = policy(Role::Source, "in/");
    for (method, uri, operation) in [
        ("HEAD", "/bucket", S3Operation::HeadBucket),
        ("HEAD", "/bucket/", S3Operation::HeadBucket),
        ("GET", "/bucket?list-type=2&prefix=in%2F", S3Operation::ListObjectsV2),
        ("GET", "/bucket/?versions&prefix=in/a", S3Operation::ListObjectVersions),
        ("GET", "/bucket/in/a?versionId=null", S3Operation::GetObject),
        ("GET", "/bucket/in/", S3Operation::GetObject),
        ("HEAD", "/bucket/in/a", S3Operation::HeadObject),
        ("GET", "/bucket/in%2Fa", S3Operation::GetObject),
    ] {
        let permit = check(&policy, method, &format!("http://127.0.0.1:9000{uri}"));
        assert_eq!(permit.unwrap().operation, operation, "{uri}");
    }
}

#[test]
fn a_source_writes_nothing() {
    let policy = policy(Role::Source, "");
    for (method, query) in [
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "?uploads"),
        ("PUT", "?partNumber=1&uploadId=u"),
        ("POST", "?uploadId=u"),
        ("DELETE", "?uploadId=u"),
    ] {
        let uri = format!("http://127.0.0.1:9000/bucket/key{query}");
        assert!(check(&policy, method, &uri).is_err(), "{method} {query}");
    }
}

#[test]
fn a_destination_writes_within_its_prefix_alone() {
    let policy = policy(Role::Destination, "out/");
    for (method, query) in [("PUT", ""), ("GET", ""), ("HEAD", "")] {
        let inside = format!("http://127.0.0.1:9000/bucket/out/key{query}");
        assert!(check(&policy, method, &inside).is_ok(), "{inside}");
        for key in ["key", "ou", "outer/x", "OUT/x", "%2Fout/x", "/out/x", "./out/x"] {
            let outside = format!("http://127.0.0.1:9000/bucket/{key}{query}");
            assert!(matches!(check(&policy, method, &outside), Err(Denial::Prefix { .. })), "{outside}");
        }
    }
    let versions = "http://127.0.0.1:9000/bucket?versions&prefix=out/";
    assert!(check(&policy, "GET", versions).is_err());
}

#[test]
fn no_connector_deletes_an_object() {
    for role in [Role::Source, Role::Destination] {
        for query in ["", "?versionId=v"] {
            let uri = format!("http://127.0.0.1:9000/bucket/key{query}");
            let denial = check(&policy(role, ""), "DELETE", &uri);
            assert!(matches!(denial, Err(Denial::Role { .. })), "{denial:?}");
        }
    }
}

#[test]
fn a_path_of_the_endpoint_is_never_left() {
    for (addressing, root) in
        [(Addressing::Path, "gw.test/s3/v1/bucket"), (Addressing::VirtualHost, "bucket.gw.test/s3/v1")]
    {
        let input = PolicyInput::from_endpoint(Role::Source, "https://gw.test/s3/v1", addressing, "bucket", "");
        let policy = Policy::new(input.unwrap()).unwrap();
        let (host, path) = root.split_once('/').unwrap();
        for (rest, sent) in [
            ("/key", "/key"),
            ("/%6bey/../x", "/key/../x"),
            ("/?list-type=2", "/?list-type=2"),
            ("?versions", "?versions"),
        ] {
            let permit = check(&policy, "GET", &format!("https://{host}/{path}{rest}")).unwrap();
            assert_eq!(permit.uri.to_string(), format!("https://{host}/{path}{sent}"));
        }
        for outside in [
            "",
            "key",
            "s3",
            "s3/v1x/bucket/key",
            "s3/../s3/v1/bucket/key",
            "S3/v1/bucket/key",
            "s3//v1/bucket/key",
            "bucket/key",
        ] {
            assert!(check(&policy, "GET", &format!("https://{host}/{outside}")).is_err(), "{outside}");
        }
    }
}

#[test]
fn that_the_requester_pays_is_said_where_the_settings_say_so_and_in_no_other_words() {
    let policy = |requester_pays| {
        let address = "http://127.0.0.1:9000";
        let input = PolicyInput::from_endpoint(Role::Source, address, Addressing::Path, "bucket", "");
        Policy::new(PolicyInput { requester_pays, ..input.unwrap() }).unwrap()
    };
    let check = |policy: &Policy, path: &str, value| {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-request-payer", HeaderValue::from_static(value));
        let uri = format!("http://127.0.0.1:9000/bucket{path}").parse().unwrap();
        policy.check(&Method::GET, &uri, &headers)
    };
    for path in ["/key", "?list-type=2", "?versions", "?versioning"] {
        assert!(check(&policy(true), path, "requester").is_ok(), "{path}");
        let denial = check(&policy(false), path, "requester");
        assert!(matches!(denial, Err(Denial::Header { .. })), "{denial:?}");
        assert!(check(&policy(true), path, "owner").is_err(), "{path}");
    }
    // The host removes what a check stored under the same terms.
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-request-payer", HeaderValue::from_static("requester"));
    let uri = Uri::from_static("http://127.0.0.1:9000/bucket/mine");
    assert!(policy(true).removal_of("mine").check(&Method::DELETE, &uri, &headers).is_ok());
}

#[test]
fn a_removal_is_of_one_object_and_nothing_else() {
    for role in [Role::Source, Role::Destination] {
        let policy = policy(role, "out/").removal_of("out/mine");
        let check = |method, path| {
            let uri = format!("http://127.0.0.1:9000/bucket{path}");
            check(&policy, method, &uri)
        };
        for path in ["/out/mine", "/out/mine?versionId=v"] {
            let permit = check("DELETE", path).unwrap();
            assert_eq!(permit.operation, S3Operation::DeleteObject);
        }
        for path in ["/out/mine2", "/out/min", "/out/", "/out/mine/", "", "/", "/other"] {
            assert!(check("DELETE", path).is_err(), "{path}");
        }
        for (method, path) in [
            ("GET", "/out/mine"),
            ("HEAD", "/out/mine"),
            ("PUT", "/out/mine"),
            ("DELETE", "/out/mine?uploadId=u"),
            ("GET", "?list-type=2&prefix=out/mine"),
            ("HEAD", ""),
        ] {
            assert!(check(method, path).is_err(), "{method} {path}");
        }
    }
}

#[test]
fn another_address_is_refused() {
    let policy = policy(Role::Source, "");
    for uri in [
        "https://127.0.0.1:9000/bucket/key",
        "http://127.0.0.1:9001/bucket/key",
        "http://127.0.0.1/bucket/key",
        "http://127.0.0.1:9000@evil.example/bucket/key",
        "http://user@127.0.0.1:9000/bucket/key",
        "http://user:password@127.0.0.1:9000/bucket/key",
        "http://127.0.0.1.evil.example:9000/bucket/key",
        "http://localhost:9000/bucket/key",
        "http://[::1]:9000/bucket/key",
        "http://169.254.169.254/latest/meta-data",
        "/bucket/key",
    ] {
        assert_eq!(check(&policy, "GET", uri), Err(Denial::Address), "{uri}");
    }
}

#[test]
fn another_bucket_is_refused() {
    let policy = policy(Role::Source, "");
    for path in [
        "",
        "/",
        "//",
        "//bucket/key",
        "/other/key",
        "/bucket2/key",
        "/bucke/key",
        "/Bucket/key",
        "/bucket.evil/key",
        "/other/../bucket/key",
        "/./bucket/key",
        "/%2e%2e/bucket/key",
        "/bucket%00/key",
        "/bucket%252Fkey",
        "/%2Fbucket/key",
    ] {
        let uri = format!("http://127.0.0.1:9000{path}");
        assert_eq!(check(&policy, "GET", &uri), Err(Denial::Bucket), "{path}");
    }
}

#[test]
fn a_virtual_host_carries_the_bucket() {
    let policy = virtual_policy();
    let permit = check(&policy, "GET", "https://bucket.s3.eu-west-1.amazonaws.com/in/key");
    assert_eq!(permit.unwrap().uri, "https://bucket.s3.eu-west-1.amazonaws.com/in/key");
    for uri in
        ["https://BUCKET.s3.eu-west-1.amazonaws.com/in/key", "https://bucket.s3.eu-west-1.amazonaws.com:443/in/key"]
    {
        assert!(check(&policy, "GET", uri).is_ok(), "{uri}");
    }
    for uri in [
        "https://s3.eu-west-1.amazonaws.com/bucket/in/key",
        "https://other.s3.eu-west-1.amazonaws.com/in/key",
        "https://bucket.s3.us-east-1.amazonaws.com/in/key",
        "https://bucket.s3.eu-west-1.amazonaws.com:444/in/key",
        "https://bucket.s3.eu-west-1.amazonaws.com:/in/key",
        "https://bucket.s3.eu-west-1.amazonaws.com./in/key",
        "http://bucket.s3.eu-west-1.amazonaws.com/in/key",
    ] {
        assert_eq!(check(&policy, "GET", uri), Err(Denial::Address), "{uri}");
    }
    let list = check(&policy, "GET", "https://bucket.s3.eu-west-1.amazonaws.com?list-type=2&prefix=in/");
    assert_eq!(list.unwrap().uri, "https://bucket.s3.eu-west-1.amazonaws.com/?list-type=2&prefix=in%2F");
}

#[test]
fn a_listing_stays_in_the_prefix() {
    let policy = policy(Role::Source, "in/");
    for query in [
        "list-type=2",
        "list-type=2&prefix=",
        "list-type=2&prefix=in",
        "list-type=2&prefix=%69n",
        "list-type=2&prefix=%2569n/",
        "list-type=2&prefix=out/&start-after=in/",
        "versions",
        "versions&prefix=other",
    ] {
        let uri = format!("http://127.0.0.1:9000/bucket?{query}");
        assert!(matches!(check(&policy, "GET", &uri), Err(Denial::Prefix { .. })), "{query}");
    }
    for query in ["list-type=2&prefix=%69n%2f", "versions&prefix=in/&key-marker=in/a"] {
        let uri = format!("http://127.0.0.1:9000/bucket?{query}");
        assert!(check(&policy, "GET", &uri).is_ok(), "{query}");
    }
}

#[test]
fn escapes_are_decoded_once_and_written_as_s3_signs_them() {
    let policy = policy(Role::Source, "");
    for (path, sent) in [
        ("/bucket/a%20b", "/bucket/a%20b"),
        ("/bucket/a+b", "/bucket/a%2Bb"),
        ("/bucket/a%2bb", "/bucket/a%2Bb"),
        ("/bucket/%c3%a9", "/bucket/%C3%A9"),
        ("/bucket/%01%7f", "/bucket/%01%7F"),
        ("/bucket/%2541", "/bucket/%2541"),
        ("/bucket/%41~-._", "/bucket/A~-._"),
        ("/bucket//a//b/", "/bucket//a//b/"),
        ("/bucket/%2Fa", "/bucket//a"),
        ("/bucket/../x/./..", "/bucket/../x/./.."),
        ("/bucket/a:b@c,d;e=f&g!h'(i)*", "/bucket/a%3Ab%40c%2Cd%3Be%3Df%26g%21h%27%28i%29%2A"),
    ] {
        let permit = check(&policy, "GET", &format!("http://127.0.0.1:9000{path}")).unwrap();
        assert_eq!(permit.uri.path(), sent, "{path}");
    }
    for path in ["/bucket/%", "/bucket/%4", "/bucket/%zz", "/bucket/a%"] {
        let uri = format!("http://127.0.0.1:9000{path}");
        assert_eq!(check(&policy, "GET", &uri), Err(Denial::Path), "{path}");
    }
}

#[test]
fn an_escaped_prefix_is_compared_as_the_key_it_means() {
    let policy = policy(Role::Source, "in dir/é");
    for key in ["in%20dir/%C3%A9x", "in%20dir%2F%c3%a9"] {
        let uri = format!("http://127.0.0.1:9000/bucket/{key}");
        assert!(check(&policy, "GET", &uri).is_ok(), "{key}");
    }
    for key in ["in%2520dir/%C3%A9x", "in+dir/%C3%A9", "in%20dir/%C3", "in%20dir/e%CC%81"] {
        let uri = format!("http://127.0.0.1:9000/bucket/{key}");
        assert!(check(&policy, "GET", &uri).is_err(), "{key}");
    }
}

#[test]
fn an_endpoint_may_have_a_path_of_its_own() {
    let input = PolicyInput::from_endpoint(Role::Source, "http://proxy.example/s3/", Addressing::Path, "bucket", "");
    let policy = Policy::new(input.unwrap()).unwrap();
    assert!(check(&policy, "GET", "http://proxy.example/s3/bucket/key").is_ok());
    for path in ["/bucket/key", "/s3/other/key", "/S3/bucket/key", "/s3bucket/key"] {
        let uri = format!("http://proxy.example{path}");
        assert_eq!(check(&policy, "GET", &uri), Err(Denial::Bucket), "{path}");
    }
}

#[test]
fn settings_that_address_no_bucket_are_refused() {
    let of = |endpoint, addressing, bucket| {
        PolicyInput::from_endpoint(Role::Source, endpoint, addressing, bucket, "").and_then(Policy::new)
    };
    for bucket in ["", "..", ".", "a/b", "a b", "a%2Fb", "é"] {
        assert!(of("http://h", Addressing::Path, bucket).is_err(), "{bucket}");
    }
    for endpoint in ["h", "/h", "ftp://h", "http://u@h", "http://h:", "http://h?x", ""] {
        assert!(of(endpoint, Addressing::Path, "b").is_err(), "{endpoint}");
    }
    let mut input = PolicyInput::from_endpoint(Role::Source, "http://h", Addressing::Path, "b", "").unwrap();
    input.addressing = Addressing::VirtualHost;
    assert!(Policy::new(input).is_err(), "an authority without the bucket");
}

#[test]
fn headers_of_signing_access_and_copying_are_refused() {
    for name in [
        "authorization",
        "x-amz-date",
        "date",
        "x-amz-security-token",
        "x-amz-content-sha256",
        "x-amz-acl",
        "x-amz-storage-class",
        "x-amz-request-payer",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-customer-key",
        "x-amz-server-side-encryption-bucket-key-enabled",
        "x-amz-checksum-crc32c",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-expected-bucket-owner",
        "x-amz-meta-name",
        "x-amz-meta-opencdc",
        "cache-control",
        "content-encoding",
        "content-md5",
        "if-match",
        "range",
        "user-agent",
        "accept",
        "x-amz-grant-read",
        "x-amz-copy-source",
        "x-amz-copy-source-range",
        "x-amz-website-redirect-location",
        "x-amz-tagging",
        "x-amz-object-lock-mode",
        "x-amz-bypass-governance-retention",
        "x-amz-mfa",
        "x-amz-trailer",
        "x-amz-decoded-content-length",
        "x-amz-metadata-directive",
        "x-amz-meta",
        "x-amzn-trace-id",
        "x-http-method-override",
        "transfer-encoding",
        "connection",
        "expect",
        "te",
        "accept-encoding",
        "cookie",
        "proxy-authorization",
        "x-forwarded-host",
    ] {
        let wanted = Err(Denial::Header { name: name.to_owned() });
        assert_eq!(check_header(name, b"x"), wanted, "{name}");
    }
}

#[test]
fn headers_are_those_of_the_operation() {
    for name in ["content-type", "if-none-match", "content-length", "x-amz-meta-opencdc-batch"] {
        assert!(check_header(name, b"1").is_ok(), "{name}");
    }
    let policy = policy(Role::Destination, "");
    let uri = Uri::from_static("http://127.0.0.1:9000/bucket/key");
    let on = |method: Method, name: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static("1"));
        policy.check(&method, &uri, &headers)
    };
    assert!(on(Method::GET, "if-match").is_ok());
    for (range, is_permitted) in [
        ("bytes=0-99", true),
        ("bytes=0-", false),
        ("bytes=-5", false),
        ("bytes=0-1,3-4", false),
        ("items=0-1", false),
        ("bytes=0--1", false),
    ] {
        let headers = HeaderMap::from_iter([(http::header::RANGE, HeaderValue::from_static(range))]);
        assert_eq!(policy.check(&Method::GET, &uri, &headers).is_ok(), is_permitted, "{range}");
    }
    for (method, name) in [
        (Method::GET, "content-type"),
        (Method::GET, "if-none-match"),
        (Method::GET, "range"),
        (Method::HEAD, "if-match"),
        (Method::PUT, "if-match"),
    ] {
        assert!(on(method.clone(), name).is_err(), "{method} {name}");
    }
}

#[test]
fn a_value_that_servers_read_in_two_ways_is_refused_and_its_header_named() {
    for value in ["é".as_bytes(), b"\xff", b"\xa0a", b" a", b"a ", b"a  b", b"\ta", b"a\t", b"a\tb"] {
        let wanted = Err(Denial::HeaderValue { name: "x-amz-meta-opencdc-a".to_owned() });
        assert_eq!(check_header("x-amz-meta-opencdc-a", value), wanted, "{value:?}");
    }
    for value in ["", "a", "a b c", "~!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}"] {
        assert!(check_header("x-amz-meta-opencdc-a", value.as_bytes()).is_ok());
    }
}

#[test]
fn a_host_header_must_name_the_endpoint() {
    assert!(check_header("host", b"127.0.0.1:9000").is_ok());
    for host in ["127.0.0.1", "evil.example", "x@127.0.0.1:9000", "", "127.0.0.1:9000 "] {
        assert!(check_header("host", host.as_bytes()).is_err(), "{host}");
    }
}

#[test]
fn headers_are_few_small_and_single() {
    let policy = policy(Role::Destination, "");
    let uri = Uri::from_static("http://127.0.0.1:9000/bucket/key");
    let mut headers = HeaderMap::new();
    headers.append("if-match", HeaderValue::from_static("\"1\""));
    headers.append("if-match", HeaderValue::from_static("\"2\""));
    let denial = policy.check(&Method::GET, &uri, &headers).unwrap_err();
    assert!(matches!(denial, Denial::HeaderTwice { .. }));

    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&"x".repeat(HEADERS_BYTES_MAX)).unwrap();
    headers.insert("x-amz-meta-a", value);
    let denial = policy.check(&Method::GET, &uri, &headers).unwrap_err();
    assert!(matches!(denial, Denial::HeadersSize { count: 1, .. }));

    let mut headers = HeaderMap::new();
    for index in 0..=HEADERS_COUNT_MAX {
        let name = HeaderName::try_from(format!("x-amz-meta-{index}")).unwrap();
        headers.insert(name, HeaderValue::from_static(""));
    }
    assert!(policy.check(&Method::GET, &uri, &headers).is_err());
}

#[test]
fn an_address_of_any_length_is_not_read() {
    let uri = format!("http://127.0.0.1:9000/bucket/{}", "a".repeat(URI_BYTES_MAX));
    let denial = check(&policy(Role::Source, ""), "GET", &uri).unwrap_err();
    assert!(matches!(denial, Denial::Length { .. }));
}

#[test]
fn a_denial_never_repeats_what_the_guest_sent_as_a_value() {
    let policy = policy(Role::Source, "in/");
    for uri in [
        "http://127.0.0.1:9000/bucket/s3cr3t",
        "http://127.0.0.1:9000/bucket?list-type=2&prefix=s3cr3t",
        "http://127.0.0.1:9000/bucket?list-type=s3cr3t",
        "http://s3cr3t@127.0.0.1:9000/bucket",
        "http://127.0.0.1:9000/s3cr3t/key",
    ] {
        let denial = check(&policy, "GET", uri).unwrap_err();
        assert!(!format!("{denial} {denial:?}").contains("s3cr3t"), "{uri}");
    }
}

#[test]
fn a_destination_of_objects_writes_over_and_deletes_below_its_prefix_alone() {
    let policy = |deletes| {
        let input =
            PolicyInput::from_endpoint(Role::Destination, "http://127.0.0.1:9000", Addressing::Path, "bucket", "out/");
        Policy::new(PolicyInput { writes: Writes::Objects { deletes }, ..input.unwrap() }).unwrap()
    };
    let check = |deletes, method: &str, path: &str| {
        let uri = format!("http://127.0.0.1:9000/bucket/{path}").parse().unwrap();
        policy(deletes).check(&method.parse().unwrap(), &uri, &HeaderMap::new()).is_ok()
    };
    assert!(check(false, "PUT", "out/a") && check(true, "DELETE", "out/a"));
    assert!(!check(false, "DELETE", "out/a"), "unless the settings ask for it");
    for (method, path) in [
        ("PUT", "in/a"),
        ("DELETE", "in/a"),
        ("DELETE", "out/a?versionId=v"),
        ("GET", "out/a"),
        ("HEAD", "out/a"),
        ("DELETE", ""),
    ] {
        assert!(!check(true, method, path), "{method} {path}");
    }
}

#[test]
fn a_write_is_kept_as_the_settings_say_and_in_no_other_way() {
    let settings = [
        ("aws.bucket", "bucket"),
        ("aws.region", "us-east-1"),
        ("storageClass", "STANDARD_IA"),
        ("sse", "aws:kms"),
        ("acl", "private"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let storage = s3_connector::config::BucketConfig::parse(&settings).unwrap().storage;
    let asked = storage.headers();
    let writes = [("PUT", "/k"), ("POST", "/k?uploads")];
    let others = [("PUT", "/k?partNumber=1&uploadId=u"), ("POST", "/k?uploadId=u"), ("DELETE", "/k"), ("HEAD", "")];
    for writes_as in [Writes::Batches, Writes::Objects { deletes: true }] {
        let input = PolicyInput::from_endpoint(Role::Destination, "http://h:9000", Addressing::Path, "bucket", "");
        let plain = PolicyInput { writes: writes_as, ..input.unwrap() };
        let asking = Policy::new(PolicyInput { storage: storage.clone(), ..plain.clone() }).unwrap();
        let plain = Policy::new(plain).unwrap();
        let check = |policy: &Policy, (method, path): (&str, &str), headers: &[(&'static str, String)]| {
            let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
            let uri = format!("http://h:9000/bucket{path}").parse().unwrap();
            policy.check(&method.parse().unwrap(), &uri, &headers.collect())
        };
        for write in writes {
            check(&asking, write, &asked).unwrap();
            for index in 0..asked.len() {
                // Another value, none, and one that nobody has asked for.
                let mut other = asked.clone();
                other[index].1 = "public-read".to_owned();
                let denial = check(&asking, write, &other).unwrap_err();
                assert!(matches!(denial, Denial::Storage { name, .. } if name == asked[index].0), "{denial}");
                other.remove(index);
                check(&asking, write, &other).unwrap_err();
                let denial = check(&plain, write, &asked[index..=index]).unwrap_err();
                assert_eq!(denial, Denial::Header { name: asked[index].0.to_owned() });
            }
            for name in ["x-amz-tagging", "x-amz-grant-read", "x-amz-server-side-encryption-customer-key"] {
                let more = [&asked[..], &[(name, "a".to_owned())]].concat();
                assert_eq!(check(&asking, write, &more), Err(Denial::Header { name: name.to_owned() }));
            }
        }
        for request in others {
            for header in &asked {
                let denial = check(&asking, request, std::slice::from_ref(header));
                assert!(denial.is_err(), "{request:?} with {header:?}");
            }
        }
        check(&asking, others[0], &[]).unwrap();
    }
}
