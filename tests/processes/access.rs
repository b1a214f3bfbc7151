//! Whose keys sign: those of a profile, of a role, or nobody's; and what `check` and errors say of them.

use embedded_s3::{ACCESS_KEY, AccessKey, REGION_DEFAULT, SECRET_KEY};
use s3_connector_tests::process::Invocation;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::check::{field, report};
use crate::sandbox::Sandbox;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";
const ROLE_SECRET: &str = "secret-of-the-role-5e3f1a9b7c";
const ROLE_TOKEN: &str = "token-of-the-role-5e3f1a9b7c";

/// `check` of a source with these profiles in its files, and with keys in its variables that the store does not know.
fn check(sandbox: &Sandbox, arguments: &[&str]) -> Invocation {
    let endpoint = sandbox.server.endpoint();
    let config = format!(
        "[profile work]\nregion = {REGION_DEFAULT}\nendpoint_url = {endpoint}\n[profile keyless]\nregion = r\n"
    );
    let keys = format!("[work]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    Invocation::new(&["check", "--set", "aws.bucket=photos"])
        .args(arguments)
        .within(&sandbox.path(""))
        .env("AWS_CONFIG_FILE", sandbox.file("config", config))
        .env("AWS_SHARED_CREDENTIALS_FILE", sandbox.file("credentials", keys))
        .env("AWS_ACCESS_KEY_ID", "nobody")
        .secret_key("secret-of-nobody-5e3f1a9b7c")
}

#[tokio::test]
async fn a_profile_that_the_settings_name_supplies_keys_region_and_endpoint() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(1);
    let report = report(check(&sandbox, &["--set", "aws.profile=work"]), 0).await;
    let settings = field(&report, "settings", "found");
    for name in ["aws.region", "aws.endpoint"] {
        assert!(settings.contains(&format!("{name} from profile `work`")), "{settings}");
    }
    assert_eq!(field(&report, "credentials", "found"), "from profile work (setting aws.profile)");
    assert!(sandbox.server.requests().iter().all(|request| request.access_key.as_deref() == Some(ACCESS_KEY)));
}

#[tokio::test]
async fn a_profile_that_is_not_there_or_has_no_keys_is_named_with_its_setting() {
    let sandbox = Sandbox::new().await;
    let missing = report(check(&sandbox, &["--set", "aws.profile=nowhere"]), 2).await;
    let found = field(&missing, "settings", "found");
    let config = sandbox.text_path("config");
    assert!(found.contains("setting `aws.profile` is `nowhere`") && found.contains(&config), "{found}");
    let endpoint = format!("aws.endpoint={}", sandbox.server.endpoint());
    let keyless = check(&sandbox, &["--set", "aws.profile=keyless", "--set", &endpoint]);
    let report = report(keyless, 1).await;
    let found = field(&report, "credentials", "found");
    let expected = "profile `keyless`, which setting `aws.profile` names, gives no keys: it needs aws_access_key_id, ";
    assert!(found.starts_with(expected), "{found}");
    assert!(sandbox.server.requests().is_empty());
}

/// Answers AssumeRole at this URL, with keys or with a refusal.
async fn sts(is_granted: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).await.unwrap() > 2 {
                if let Some(text) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = text.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let body = String::from_utf8(body).unwrap();
            let is_asked_well =
                body.contains("ExternalId=of-the-partner") && body.contains("RoleSessionName=s3-connector");
            let (status, document) = match is_granted && is_asked_well {
                true => ("200 OK", granted()),
                false => ("403 Forbidden", REFUSAL.to_owned()),
            };
            let length = document.len();
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{document}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

const REFUSAL: &str = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                       <Code>AccessDenied</Code><Message>not authorized to perform: sts:AssumeRole</Message></Error>\
                       <RequestId>r-1</RequestId></ErrorResponse>";

fn granted() -> String {
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>role-key</AccessKeyId><SecretAccessKey>{ROLE_SECRET}</SecretAccessKey>\
         <SessionToken>{ROLE_TOKEN}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></AssumeRoleResponse>"
    )
}

const ASSUMING: [&str; 6] = [
    "--set",
    "aws.profile=work",
    "--set",
    "aws.roleArn=arn:aws:iam::123456789012:role/reader",
    "--set",
    "aws.roleExternalId=of-the-partner",
];

#[tokio::test]
async fn a_role_is_assumed_with_the_keys_that_there_are() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(1);
    sandbox.server.access().add_key(AccessKey::new("role-key", ROLE_SECRET).session_token(ROLE_TOKEN));
    let assuming = check(&sandbox, &ASSUMING).env("AWS_ENDPOINT_URL_STS", sts(true).await);
    let report = report(assuming.secret(ROLE_SECRET).secret(ROLE_TOKEN).secret("of-the-partner"), 0).await;
    let found = field(&report, "credentials", "found");
    let expected = format!(
        "from role {ROLE} (setting aws.roleArn), assumed with those from profile work (setting aws.profile), temporary"
    );
    assert!(found.starts_with(&expected), "{found}");
    assert!(sandbox.server.requests().iter().all(|request| request.access_key.as_deref() == Some("role-key")));
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_named_with_its_setting_and_nothing_is_sent() {
    let sandbox = Sandbox::new().await;
    let refused = check(&sandbox, &ASSUMING).env("AWS_ENDPOINT_URL_STS", sts(false).await);
    let report = report(refused.secret("of-the-partner"), 1).await;
    let found = field(&report, "credentials", "found");
    for part in
        [ROLE, "setting `aws.roleArn`", "profile work", "AccessDenied: not authorized to perform: sts:AssumeRole"]
    {
        assert!(found.contains(part), "{part} in {found}");
    }
    assert!(field(&report, "credentials", "advice").contains("aws.roleExternalId"));
    assert!(sandbox.server.requests().is_empty());
}

#[tokio::test]
async fn a_check_says_that_nothing_is_signed() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(1);
    sandbox.server.access().open_to_everybody();
    let report =
        report(sandbox.command(&["check", "--set", "aws.bucket=photos", "--set", "aws.anonymous=true"]), 0).await;
    assert_eq!(field(&report, "credentials", "found"), "none: requests are not signed");
    assert_eq!(field(&report, "bucket", "found"), "it is there, and open to requests without a signature");
    assert!(sandbox.server.requests().iter().all(|request| request.access_key.is_none()));
}
