//! Requests through a proxy: which variables count, what the proxy sees, and what is said where it does not let them
//! through. That TLS goes through a tunnel is the host's own tests' to show.

use s3_connector_tests::process::Invocation;
use s3_connector_tests::proxy::Proxy;

use crate::sandbox::{Sandbox, keys, numbered};

const USER: &str = "user:pass-of-a-proxy";

fn through(invocation: Invocation, variable: &str, proxy: &Proxy, user: &str) -> Invocation {
    invocation.env(variable, format!("http://{user}{}", proxy.address()))
}

#[tokio::test]
async fn plain_requests_go_through_the_proxy_that_a_variable_names() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let endpoint = sandbox.server.endpoint();
    for (variable, user) in [("HTTP_PROXY", ""), ("http_proxy", "user:pass-of-a-proxy@")] {
        let wanted = (!user.is_empty()).then_some(USER);
        let proxy = Proxy::start(wanted).await.unwrap();
        let source = sandbox.source().args(&["--until-caught-up"]);
        let read = through(source, variable, &proxy, user).run().await.well();
        assert_eq!(keys(&read.records()), numbered(0..3));
        let passed = proxy.passed();
        let is_whole = |asked: &String| asked.contains(&format!(" {endpoint}/photos"));
        assert!(passed.iter().all(is_whole), "{passed:?}");
        // What the server has seen came through the proxy, all of it.
        assert_eq!(passed.len(), sandbox.server.requests().len());
        sandbox.server.clear_requests();
    }
}

#[tokio::test]
async fn hosts_that_need_no_proxy_are_reached_without_it() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(1);
    let proxy = Proxy::start(None).await.unwrap();
    for bypass in ["127.0.0.1", "*", "10.0.0.0/8, 127.0.0.0/8"] {
        let source = sandbox.source().args(&["--until-caught-up"]);
        let source = through(source, "HTTP_PROXY", &proxy, "").env("NO_PROXY", bypass);
        assert_eq!(source.run().await.well().records().len(), 1, "{bypass}");
    }
    assert_eq!(proxy.passed(), [""; 0]);
}

#[tokio::test]
async fn a_proxy_that_wants_another_password_is_named_without_it() {
    let sandbox = Sandbox::new().await;
    let proxy = Proxy::start(Some(USER)).await.unwrap();
    let address = proxy.address();
    let source = sandbox.source().args(&["--until-caught-up"]);
    let ended = through(source, "HTTP_PROXY", &proxy, "user:wrong-pass@").run().await;
    let ended = ended.with_code(1);
    let expected = format!("the proxy `http://{address}` makes no connection: proxy authorization required");
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    assert!(!ended.stderr.contains("wrong-pass"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_check_shows_the_proxy() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(1);
    let proxy = Proxy::start(Some(USER)).await.unwrap();
    let check = || sandbox.command(&["check", "--set", "aws.bucket=photos"]);
    let address = proxy.address();
    let good = through(check(), "HTTP_PROXY", &proxy, "user:pass-of-a-proxy@");
    let text = good.run().await.well().printed();
    assert!(text.contains(&format!("through the proxy http://{address}: ")), "{text}");
    assert!(!text.contains("pass-of-a-proxy"), "{text}");
    let wrong = check().env("HTTP_PROXY", "socks5://user:pass-of-a-proxy@p");
    let text = wrong.run().await.with_code(1).printed();
    assert!(text.starts_with("failed   proxy") && text.contains("`HTTP_PROXY`"), "{text}");
    assert!(!text.contains("pass-of-a-proxy"), "{text}");
}

#[tokio::test]
async fn a_bundle_that_is_not_there_is_not_the_components_fault() {
    let sandbox = Sandbox::new().await;
    let check = sandbox.command(&["check", "--set", "aws.bucket=photos"]);
    let ended = check.env("AWS_CA_BUNDLE", "/nowhere.pem").run().await;
    let text = ended.with_code(1).printed();
    assert!(text.starts_with("failed   certificates"), "{text}");
    assert!(text.contains("AWS_CA_BUNDLE") && !text.contains("--component"), "{text}");
}
