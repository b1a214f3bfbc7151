//! Components in registries: published, fetched, checked, run by their digest, and refused. The registry is a small one of our own;
//! `make registry` does the first of these on one that is not.

mod server;

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use s3_connector_host::EMBEDDED;
use s3_connector_host::registry::Digest;
use s3_connector_tests::hostile;
use s3_connector_tests::process::Invocation;
use s3_connector_tests::proxy::Proxy;
use serde_json::{Value, json};

use self::server::{Registry, TOKEN, manifest_of};
use crate::sandbox::Sandbox;

const USER: &str = "robot";
const PASSWORD: &str = "s3cr3t-of-the-robot";

/// A component of eight bytes, which asks for nothing and offers nothing.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

/// The command, with folders of its own for what it keeps and for credentials.
fn command(sandbox: &Sandbox, arguments: &[&str]) -> Invocation {
    let docker = sandbox.path("docker");
    let command = sandbox.command(arguments).env("XDG_CACHE_HOME", sandbox.path("cache"));
    let command = command.env("DOCKER_CONFIG", docker).env("HOME", sandbox.path("home"));
    command.env("XDG_RUNTIME_DIR", sandbox.path("run")).secret(PASSWORD).secret(TOKEN)
}

/// Leaves credentials as `docker login` does.
fn log_in(sandbox: &Sandbox, registry: &Registry, auth: &Value) {
    std::fs::create_dir_all(sandbox.path("docker")).unwrap();
    let config = json!({ "auths": { registry.address.to_string(): auth } });
    sandbox.file("docker/config.json", config.to_string());
}

fn password(password: &str) -> Value {
    json!({ "auth": BASE64_STANDARD.encode(format!("{USER}:{password}")) })
}

/// A small component that can be a connector.
fn plain() -> String {
    hostile::file("plain").display().to_string()
}

#[tokio::test]
async fn a_component_is_published_fetched_and_run_by_its_digest() {
    let (sandbox, registry) = (Sandbox::new().await, Registry::start().await);
    sandbox.fill(2);
    let tagged = registry.name("team/s3:0.1.0");
    let pushed = command(&sandbox, &["push", &tagged]).run().await.well().saying(&["the tag `0.1.0`"]).printed();
    let manifest = registry.state().manifests["0.1.0"].clone();
    let pinned = format!("oci://{}@{}", registry.name("team/s3"), Digest::of(&manifest));
    assert_eq!(pushed, format!("{pinned}\n"));
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["layers"][0]["digest"], Digest::of(EMBEDDED).to_string());
    assert_eq!(manifest["annotations"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    registry.asked();

    // Once more: the same bytes, of which none are sent but the manifest's.
    let again = command(&sandbox, &["push", &tagged]).run().await.well().printed();
    assert_eq!(again, pushed);
    assert_eq!(registry.asked().iter().filter(|asked| !asked.starts_with("HEAD")).count(), 1, "the manifest");

    let output = sandbox.text_path("s3_connector.wasm");
    let pulled = command(&sandbox, &["pull", &tagged, "--output", &output]).run().await.well();
    assert_eq!(pulled.printed(), pushed, "the tag is looked up");
    assert!(std::fs::read(&output).unwrap() == EMBEDDED);
    let piped = command(&sandbox, &["pull", &tagged, "--output", "-"]).run().await.well().saying(&[&pinned]);
    assert!(piped.stdout == EMBEDDED, "nothing is mixed with it");
    let from_file = ["push", "--component", &output, &registry.name("team/s3:file")];
    assert_eq!(command(&sandbox, &from_file).run().await.well().printed(), pushed, "it is known by its bytes");
    let failed = command(&sandbox, &["pull", &tagged, "--output", "/dev/full"]).run().await.with_code(1);
    let _ = failed.saying(&["/dev/full can't be written"]);

    // What is compiled has a folder of its own, from which wasmtime removes what it does not know.
    let kept = std::fs::read_dir(sandbox.path("cache/s3-connector")).unwrap();
    let mut kept: Vec<_> = kept.map(|entry| entry.unwrap().file_name()).collect();
    kept.sort();
    assert_eq!(kept, ["blobs", "compiled"]);

    // It is kept: nobody is asked.
    let address = registry.address;
    drop(registry);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let source =
        command(&sandbox, &["source", "--component", &pinned, "--until-caught-up"]).set("aws.bucket", "photos");
    assert_eq!(source.run().await.well().records().len(), 2);
}

#[tokio::test]
async fn a_component_is_fetched_when_it_is_first_run_and_its_time_is_that_of_the_build() {
    let (sandbox, registry) = (Sandbox::new().await, Registry::start().await);
    registry.state().absolute = true;
    let push = ["push", "--component", &plain(), &registry.name("team/s3")];
    let pushed = command(&sandbox, &push).env("SOURCE_DATE_EPOCH", "86400").run().await.well().printed();
    assert_ne!(command(&sandbox, &push).run().await.well().printed(), pushed, "the time counts");
    let pinned = pushed.trim_end();
    let manifest: Value = {
        let state = registry.state();
        serde_json::from_slice(&state.manifests[pinned.split_once('@').unwrap().1]).unwrap()
    };
    assert_eq!(manifest.get("annotations"), None, "nothing is known of it");
    let config: Value =
        serde_json::from_slice(&registry.state().blobs[manifest["config"]["digest"].as_str().unwrap()]).unwrap();
    assert_eq!((&config["created"], &config["os"]), (&json!("1970-01-02T00:00:00Z"), &json!("wasip2")));
    let exports = config["component"]["exports"].as_array().unwrap();
    assert!(exports.contains(&json!("opencdc:connector/source@0.1.0")), "{exports:?}");

    registry.asked();
    let spec = ["spec", "--component", pinned];
    let first = command(&sandbox, &spec).run().await.well().printed();
    assert!(first.contains("Attacks its host"), "{first}");
    assert_eq!(registry.asked().len(), 2, "manifest and component");
    assert_eq!(command(&sandbox, &spec).run().await.well().printed(), first);
    assert_eq!(registry.asked(), [""; 0], "nothing is asked for twice");

    // What was kept is looked at again: a changed file is as good as none.
    let blobs = sandbox.path("cache/s3-connector/blobs/sha256");
    for kept in std::fs::read_dir(&blobs).unwrap() {
        std::fs::write(kept.unwrap().path(), EMPTY).unwrap();
    }
    let mended = command(&sandbox, &spec).run().await.well().saying(&["has changed, so it is fetched again"]);
    assert_eq!(mended.printed(), first);
    assert_eq!(registry.asked().len(), 2);
}

#[tokio::test]
async fn a_tag_is_looked_up_and_printed_and_never_run() {
    let (sandbox, registry) = (Sandbox::new().await, Registry::start().await);
    let digest = registry.put_component("latest", EMPTY);
    let tagged = format!("oci://{}", registry.name("team/s3:latest"));
    let pinned = format!("oci://{}@{digest}", registry.name("team/s3"));
    let ended = command(&sandbox, &["spec", "--component", &tagged]).run().await.with_code(2);
    let _ = ended.saying(&[&tagged, "can be moved", &format!("now `{pinned}`")]);
    assert_eq!(registry.asked(), ["GET /v2/team/s3/manifests/latest"]);

    for (reference, why) in [
        (registry.name("team/s3"), "a tag or a digest must be named"),
        (registry.name("team/s3:none"), "no such component (`MANIFEST_UNKNOWN: manifest unknown`)"),
        (registry.name("team/other:1"), "NAME_UNKNOWN"),
        ("s3_connector.wasm".to_owned(), "the host or the name is missing"),
        (registry.name("team/S3:1"), "lower-case"),
        (registry.name("team/s3@sha256:12"), "a digest is"),
    ] {
        let _ = command(&sandbox, &["pull", &reference]).run().await.with_code(2).saying(&[why]);
    }
    let bare = command(&sandbox, &["spec", "--component", &registry.name("team/s3:latest")]).run().await.with_code(2);
    let _ = bare.saying(&["no such file", &tagged]);
    let both = command(&sandbox, &["pull", "--component", "x.wasm", &tagged]).run().await.with_code(2);
    let _ = both.saying(&["leave out --component"]);
}

#[tokio::test]
async fn what_has_another_digest_than_its_name_says_is_refused() {
    let (sandbox, registry) = (Sandbox::new().await, Registry::start().await);
    let digest = registry.put_component("1", EMBEDDED);
    let pinned = registry.name(&format!("team/s3@{digest}"));

    let other = manifest_of(&Digest::of(EMPTY).to_string(), EMPTY.len());
    let held = registry.state().manifests.insert(digest.to_string(), other.into()).unwrap();
    let _ = command(&sandbox, &["pull", &pinned])
        .run()
        .await
        .with_code(1)
        .saying(&["the manifest that the registry sends is another"]);

    registry.state().manifests.insert(digest.to_string(), held);
    let layer = Digest::of(EMBEDDED).to_string();
    let mut changed = EMBEDDED.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    registry.state().blobs.insert(layer.clone(), changed.into());
    let _ = command(&sandbox, &["pull", &pinned])
        .run()
        .await
        .with_code(1)
        .saying(&["the component that the registry sends is another"]);

    // A byte more than the manifest says is too much, whatever the digest.
    registry.state().blobs.insert(layer.clone(), [EMBEDDED, b"x"].concat().into());
    let larger = format!("larger than {} bytes", EMBEDDED.len());
    let _ = command(&sandbox, &["pull", &pinned]).run().await.with_code(1).saying(&[&larger]);
    registry.state().manifests.insert("large".to_owned(), vec![b' '; (4 << 20) + 1].into());
    let _ = command(&sandbox, &["pull", &registry.name("team/s3:large")])
        .run()
        .await
        .with_code(1)
        .saying(&["larger than 4194304 bytes"]);

    let kept = sandbox.path("cache/s3-connector/blobs/sha256");
    let kept: Vec<_> = std::fs::read_dir(kept).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(kept, [digest.hex().as_str()], "only what is right is kept");
}

#[tokio::test]
async fn what_is_no_connector_is_refused_before_it_runs_and_is_not_published() {
    let (sandbox, registry) = (Sandbox::new().await, Registry::start().await);
    let image = json!({"schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "", "size": 0}});
    registry.put("image", image.to_string());
    registry.put("list", json!({"schemaVersion": 2, "manifests": [{"digest": "sha256:00"}]}).to_string());
    let forged = image.to_string().replace("image.config", "image\\nerror: all is well");
    registry.put("forged", forged);
    registry.put_component("empty", EMPTY);
    registry.put_component("module", &b"\0asm\x01\0\0\0"[..]);
    registry.put_component("text", "#!/bin/sh");
    for (tag, why) in [
        ("image", "its config is `application/vnd.oci.image.config.v1+json`"),
        ("list", "a list of artifacts for several platforms"),
        ("forged", "image\\nerror: all is well"),
        ("empty", "which this one lacks; it exports nothing"),
        ("module", "it is a module of WebAssembly"),
        ("text", "it is not WebAssembly"),
    ] {
        let output = sandbox.text_path("output.wasm");
        let pull = ["pull", &registry.name(&format!("team/s3:{tag}")), "--output", &output];
        let ended = command(&sandbox, &pull).run().await.with_code(2).saying(&[why, "oci://"]);
        assert!(ended.stdout.is_empty() && !sandbox.path("output.wasm").exists(), "{tag}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    let file = sandbox.file("empty.wasm", EMPTY);
    registry.asked();
    let push = command(&sandbox, &["push", "--component", &file, &registry.name("team/s3:1")]);
    let _ = push.run().await.with_code(2).saying(&["which this one lacks"]);
    assert_eq!(registry.asked(), [""; 0], "the registry hears nothing of it");
}

#[tokio::test]
async fn a_registry_gets_the_credentials_that_docker_login_has_left_and_nobody_else_does() {
    let (sandbox, registry) = (Sandbox::new().await, Registry::start().await);
    registry.state().user = Some(format!("{USER}:{PASSWORD}"));
    let name = registry.name("team/s3:1");
    let push = ["-vv", "push", "--component", &plain(), &name];
    let _ = command(&sandbox, &push)
        .run()
        .await
        .with_code(1)
        .saying(&["there are no credentials for it: `docker login` leaves some"]);
    log_in(&sandbox, &registry, &password("wrong"));
    let _ = command(&sandbox, &push).run().await.with_code(1).saying(&["incorrect username", "are not enough"]);

    log_in(&sandbox, &registry, &password(PASSWORD));
    registry.asked();
    let pushed = command(&sandbox, &push).run().await.well().printed();
    let scope = "scope=repository%3Ateam%2Fs3%3Apull%2Cpush&service=registry";
    assert!(registry.asked().contains(&format!("GET /token?{scope}")));

    // Blobs of large registries are elsewhere: the address is all that is needed there.
    let store = Registry::start().await;
    let blobs = registry.state().blobs.clone();
    store.state().blobs = blobs.into_iter().filter(|(_, blob)| blob.starts_with(b"\0asm")).collect();
    registry.state().elsewhere = Some(format!("http://{}/elsewhere?signature=x", store.address));
    assert_eq!(command(&sandbox, &["-vv", "pull", &name]).run().await.well().printed(), pushed);
    assert_eq!(store.state().asked, [("GET /elsewhere?signature=x".to_owned(), None)]);

    // Neither does a proxy: this machine is this one, and not the proxy's.
    let proxy = Proxy::start(None).await.unwrap();
    let proxied = command(&sandbox, &["-vv", "pull", &name]).env("HTTP_PROXY", format!("http://{}", proxy.address()));
    let proxied = proxied.env("XDG_CACHE_HOME", sandbox.path("proxied"));
    assert_eq!(proxied.run().await.well().printed(), pushed);
    assert_eq!(proxy.passed(), [""; 0]);

    // Nor does the place of uploads get any. That of tokens does.
    let tokens = Registry::start().await;
    tokens.state().user = Some(format!("{USER}:{PASSWORD}"));
    store.state().asked.clear();
    (registry.state().realm, registry.state().uploads_to) =
        (Some(format!("http://{}/token", tokens.address)), Some(format!("http://{}/v2/team/s3", store.address)));
    registry.state().blobs.clear();
    assert_eq!(command(&sandbox, &push).run().await.well().printed(), pushed);
    let uploaded = store.state().asked.clone();
    assert!(
        uploaded.len() == 2 && uploaded.iter().all(|(what, who)| what.starts_with("PUT") && who.is_none()),
        "{uploaded:?}"
    );
    assert!(tokens.state().asked.iter().any(|(_, who)| who.as_ref().is_some_and(|who| who.starts_with("Basic"))));
    let blobs = std::mem::take(&mut store.state().blobs);
    registry.state().blobs = blobs;
    (registry.state().realm, registry.state().uploads_to) = (None, None);

    // The same by user and password with each request, and by what stands in the place of a password.
    (registry.state().basic, registry.state().elsewhere) = (true, None);
    let pull = |cache: &str| command(&sandbox, &["-vv", "pull", &name]).env("XDG_CACHE_HOME", sandbox.path(cache));
    assert_eq!(pull("second").run().await.well().printed(), pushed);
    registry.state().basic = false;
    registry.state().identity = Some("identity-of-the-robot".to_owned());
    log_in(&sandbox, &registry, &json!({"auth": "", "identitytoken": "identity-of-the-robot"}));
    let third = pull("third").secret("identity-of-the-robot");
    assert_eq!(third.run().await.well().printed(), pushed);
}

#[tokio::test]
async fn a_program_that_keeps_credentials_is_asked_for_them() {
    let (sandbox, registry) = (Sandbox::new().await, Registry::start().await);
    registry.state().user = Some(format!("{USER}:{PASSWORD}"));
    registry.put_component("1", EMPTY);
    let config = json!({"credHelpers": {registry.address.to_string(): "kept"}});
    std::fs::create_dir_all(sandbox.path("docker")).unwrap();
    sandbox.file("docker/config.json", config.to_string());
    let pull = || {
        let path = format!("{}:{}", sandbox.path("").display(), std::env::var("PATH").unwrap());
        command(&sandbox, &["pull", &registry.name("team/s3:1")]).env("PATH", path)
    };
    let helper = |script: &str| {
        let file = sandbox.file("docker-credential-kept", format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let _ = pull().run().await.with_code(1).saying(&["credentials", "can't be read: the program that it names"]);
    let secret = json!({"ServerURL": "", "Username": USER, "Secret": PASSWORD});
    helper(&format!("[ \"$1\" = get ] && [ \"$(cat)\" = {} ] && echo '{secret}'", registry.address));
    let _ = pull().run().await.with_code(2).saying(&["which this one lacks"]);
    helper("cat > /dev/null; echo 'credentials not found in native keychain'; exit 1");
    let _ = pull().run().await.with_code(1).saying(&["there are no credentials for it"]);
    helper(&format!("cat > /dev/null; echo {PASSWORD}; exit 1"));
    let _ = pull().run().await.with_code(1).saying(&["`docker-credential-kept` failed"]);
}

#[tokio::test]
async fn a_registry_that_can_not_answer_is_tried_again_and_then_told_of() {
    let (sandbox, registry) = (Sandbox::new().await, Registry::start().await);
    registry.put_component("1", EMPTY);
    let pull = || command(&sandbox, &["-v", "pull", &registry.name("team/s3:1")]);
    registry.state().failures = [503, 429, 500].into();
    let _ = pull().run().await.with_code(2).saying(&["trying again in", "status=`429`", "which this one lacks"]);
    registry.state().failures = [503; 4].into();
    registry.asked();
    let _ = pull().run().await.with_code(1).saying(&["the registry can't answer now", "status=`503`"]);
    assert_eq!(registry.asked().len(), 4);

    let address = registry.address;
    drop(registry);
    let gone = command(&sandbox, &["pull", &format!("{address}/team/s3:1")]).run().await.with_code(1);
    let _ = gone.saying(&["the registry can't be reached: the connection was refused"]);
}

#[tokio::test]
async fn nothing_goes_to_another_machine_without_tls_unless_that_is_asked_for() {
    let (sandbox, registry) = (Sandbox::new().await, Registry::start().await);
    registry.put_component("1", EMPTY);
    log_in(&sandbox, &registry, &password(PASSWORD));
    let pull = |more: &[&str]| command(&sandbox, &["pull", &registry.name("team/s3:1")]).args(more);

    registry.state().elsewhere = Some("http://blobs.invalid/x".to_owned());
    let refused = ["a place without TLS", "place=`blobs.invalid`"];
    let _ = pull(&[]).run().await.with_code(1).saying(&refused);
    let _ = pull(&["--plain-http"]).run().await.with_code(1).saying(&["the host's name can't be resolved"]);
    let named = format!("http://localhost:1@blobs.invalid:{}/x", registry.address.port());
    registry.state().elsewhere = Some(named);
    let _ = pull(&[]).run().await.with_code(1).saying(&["a place with a user's name"]);
    registry.state().elsewhere = Some("file:///etc/passwd".to_owned());
    let _ = pull(&["--plain-http"]).run().await.with_code(1).saying(&["no address"]);
    let itself = format!("http://{}/v2/team/s3/blobs/x", registry.address);
    registry.state().elsewhere = Some(itself);
    let _ = pull(&[]).run().await.with_code(1).saying(&["from place to place more than 5 times"]);

    registry.state().user = Some(format!("{USER}:{PASSWORD}"));
    registry.state().realm = Some("http://tokens.invalid/".to_owned());
    let _ = pull(&[]).run().await.with_code(1).saying(&["a place without TLS", "place=`tokens.invalid`"]);
    // Another machine is spoken to with TLS, by itself.
    let proxy = Proxy::start(None).await.unwrap();
    let other = command(&sandbox, &["pull", "registry.invalid/team/s3:1"]);
    let other = other.env("HTTPS_PROXY", format!("http://{}", proxy.address()));
    let _ = other.run().await.with_code(1).saying(&["registry.invalid"]);
    assert!(
        proxy.passed().iter().all(|asked| asked.starts_with("CONNECT registry.invalid:443")),
        "{:?}",
        proxy.passed()
    );
    assert!(!proxy.passed().is_empty());
}
