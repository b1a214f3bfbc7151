//! Assumes roles at an STS of its own. Leaves keeping and renewing keys to `tests`.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

/// Answers AssumeRole, and keeps what it was asked.
struct Sts {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Sts {
    /// Answers with keys that end at this time, or refuses.
    async fn start(end: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !is_whole(&request) {
                    let read = stream.read(&mut buffer).await.unwrap();
                    request.extend_from_slice(&buffer[..read]);
                    if read == 0 {
                        break;
                    }
                }
                kept.lock().unwrap().push(String::from_utf8(request).unwrap());
                let number = kept.lock().unwrap().len();
                let (status, body) = match end {
                    Some(end) => ("200 OK", granted(number, end)),
                    None => ("403 Forbidden", REFUSAL.to_owned()),
                };
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

const REFUSAL: &str = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                       <Code>AccessDenied</Code><Message>User: me is not authorized to perform: sts:AssumeRole</Message>\
                       </Error><RequestId>r-1</RequestId></ErrorResponse>";

fn granted(number: usize, end: &str) -> String {
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><AssumedRoleUser>\
         <AssumedRoleId>AROA:s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/reader/s</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>role-key-{number}</AccessKeyId><SecretAccessKey>s3cr3t</SecretAccessKey>\
         <SessionToken>t0ken</SessionToken><Expiration>{end}</Expiration></Credentials></AssumeRoleResult>\
         <ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></AssumeRoleResponse>"
    )
}

fn assuming(sts: &Sts, external_id: Option<&str>, session_name: Option<&str>) -> Credentials {
    let environment = Environment::of([("AWS_ENDPOINT_URL_STS", &*sts.url)]);
    let chain = ChainInput { environment, region: Some("eu-west-1".to_owned()), profile: None };
    let own = |text: Option<&str>| text.map(str::to_owned);
    let role = RoleInput { arn: ROLE.to_owned(), external_id: own(external_id), session_name: own(session_name) };
    Credentials::from_settings("base-key", "base-s3cr3t", None).assuming(role, chain)
}

#[tokio::test]
async fn a_role_is_assumed_with_the_keys_and_its_keys_sign() {
    let sts = Sts::start(Some("2099-01-01T00:00:00Z")).await;
    let credentials = assuming(&sts, Some("their-id"), Some("me"));
    let loaded = credentials.load().await.unwrap();
    assert_eq!(loaded.keys.access_key_id(), "role-key-1");
    assert_eq!(loaded.keys.session_token(), Some("t0ken"));
    let origin = format!("role {ROLE} (setting aws.roleArn), assumed with those from setting aws.accessKeyId");
    assert_eq!(&*loaded.origin, origin);
    // It's kept as long as it is good.
    assert_eq!(credentials.load().await.unwrap().keys.access_key_id(), "role-key-1");
    let asked = sts.asked();
    assert_eq!(asked.len(), 1);
    for part in [
        "Action=AssumeRole",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Freader",
        "ExternalId=their-id",
        "RoleSessionName=me",
        "Credential=base-key/",
        "/eu-west-1/sts/aws4_request",
    ] {
        assert!(asked[0].contains(part), "{part} in {asked:?}");
    }
    assert!(!asked[0].contains("s3cr3t"), "{asked:?}");
}

#[tokio::test]
async fn a_session_has_a_name_in_any_case_and_an_external_id_only_if_there_is_one() {
    let sts = Sts::start(Some("2099-01-01T00:00:00Z")).await;
    assuming(&sts, None, None).load().await.unwrap();
    let asked = sts.asked();
    assert!(asked[0].contains("RoleSessionName=s3-connector"), "{asked:?}");
    assert!(!asked[0].contains("ExternalId"), "{asked:?}");
}

#[tokio::test]
async fn keys_of_a_role_that_are_about_to_end_are_fetched_anew() {
    let sts = Sts::start(Some("2020-01-01T00:00:00Z")).await;
    let credentials = assuming(&sts, None, None);
    for number in 1..=3 {
        let loaded = credentials.load().await.unwrap();
        assert_eq!(loaded.keys.access_key_id(), format!("role-key-{number}"));
    }
    assert!(credentials.is_refreshable());
}

#[tokio::test]
async fn a_refusal_names_role_setting_and_keys_and_holds_no_secret() {
    let sts = Sts::start(None).await;
    let credentials = assuming(&sts, Some("their-id"), None);
    let error = credentials.load().await.unwrap_err();
    let text = crate::error::with_causes(&error);
    for part in [
        &format!("role `{ROLE}`, which setting `aws.roleArn` names, was not assumed"),
        "setting aws.accessKeyId",
        "AccessDenied: User: me is not authorized to perform: sts:AssumeRole",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    for text in [text, format!("{error:?}"), format!("{credentials:?}")] {
        for secret in ["s3cr3t", "their-id", "base-key"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn an_external_id_does_not_show() {
    let role = RoleInput { arn: ROLE.to_owned(), external_id: Some("their-id".to_owned()), session_name: None };
    assert!(!format!("{role:?}").contains("their-id"));
}
