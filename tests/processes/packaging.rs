//! What `packaging/` says to systemd, Kubernetes and builders of images, run as they would run it, as far as a machine without
//! them allows: arguments, paths, probes and times.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use s3_connector_tests::process::{Invocation, Running, Signal, binary};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::notify::Manager;
use crate::sandbox::Sandbox;

const UNIT: &str = include_str!("../../packaging/s3-connector@.service");
const KUBERNETES: &str = include_str!("../../packaging/kubernetes.yaml");
const CONTAINERFILE: &str = include_str!("../../packaging/Containerfile");

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a command may take after a signal, with the default of `--grace`.
const STOP_MAX: u64 = 27;

/// The values of a key in the unit, in order.
fn unit(key: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// A document of the manifests.
fn manifest(kind: &str) -> Value {
    let all: Vec<Value> = serde_saphyr::from_multiple(KUBERNETES).unwrap();
    all.into_iter().find(|document| document["kind"] == kind).unwrap()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// The pipelines of the manifest, which poll often and make small batches.
fn pipelines() -> String {
    let text = manifest("ConfigMap")["data"]["pipeline.yaml"].as_str().unwrap().to_owned();
    text.replace("aws.bucket: photos\n", "aws.bucket: photos\n          pollingPeriod: 20ms\n")
        .replace("format: parquet\n", "format: parquet\n          bufferDelay: 50ms\n")
}

/// A file of keys as the AWS CLI keeps them, with those of the server.
fn credentials() -> String {
    let text = manifest("Secret")["stringData"]["credentials"].as_str().unwrap().to_owned();
    assert!(text.contains("ACCESS_KEY") && text.contains("SECRET_KEY"));
    text.replace("= ACCESS_KEY", &format!("= {}", embedded_s3::ACCESS_KEY))
        .replace("= SECRET_KEY", &format!("= {}", embedded_s3::SECRET_KEY))
}

/// The command with what its manager gives it, and no keys beside.
fn command(sandbox: &Sandbox, arguments: &[String]) -> Invocation {
    Invocation::new(&[])
        .args(arguments)
        .secret(embedded_s3::SECRET_KEY)
        .env("AWS_REGION", embedded_s3::REGION_DEFAULT)
        .env("AWS_ENDPOINT_URL_S3", sandbox.server.endpoint())
}

/// Waits until the lake has an object.
async fn has_stored(sandbox: &Sandbox) {
    let stored = timeout(PATIENCE, async {
        while sandbox.stored().is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    stored.await.unwrap();
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        eprintln!("systemd-analyze is not here: the unit was not verified");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s3-connector@photos.service");
    assert!(UNIT.contains("ExecStart=/usr/bin/s3-connector run "));
    std::fs::write(&file, UNIT.replace("/usr/bin/s3-connector", &binary().display().to_string())).unwrap();
    let verify = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&file).output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), told)
    };
    let (is_fine, told) = verify(&["verify", "--man=no"]);
    assert!(is_fine && told.trim().is_empty(), "{}: {told}", String::from_utf8_lossy(&version.stdout));
    // In tenths: 1.4 with systemd 252.
    let (is_safe, told) = verify(&["security", "--offline=yes", "--threshold=20"]);
    assert!(is_safe, "{told}");
}

#[test]
fn the_unit_waits_longer_than_the_command_takes_and_does_not_repeat_what_cannot_heal() {
    let seconds = |key: &str| unit(key)[0].trim_end_matches('s').parse::<u64>().unwrap();
    assert!(seconds("TimeoutStopSec") > STOP_MAX && !unit("ExecStart")[0].contains("--grace"));
    assert_eq!((unit("RestartPreventExitStatus"), unit("Type")), (vec!["2"], vec!["notify"]));
    assert!(seconds("WatchdogSec") >= 30);
    assert!(unit("MemoryDenyWriteExecute").is_empty(), "no component could be loaded");
}

#[tokio::test]
async fn the_command_of_the_unit_runs_with_the_files_that_the_unit_names() {
    let sandbox = Sandbox::new().await;
    sandbox.put("a", "content");
    for folder in ["etc/s3-connector", "var", "credentials"] {
        std::fs::create_dir_all(sandbox.path(folder)).unwrap();
    }
    let _ = sandbox.file("etc/s3-connector/photos.yaml", pipelines());
    let _ = sandbox.file("credentials/aws", credentials());
    assert_eq!(unit("StateDirectory"), ["s3-connector/%i"]);
    let place = |text: &str| {
        text.replace("%S", &sandbox.text_path("var"))
            .replace("%d", &sandbox.text_path("credentials"))
            .replace("%i", "photos")
            .replace("/etc/", &format!("{}/", sandbox.text_path("etc")))
    };
    let [start] = unit("ExecStart")[..] else { panic!("one command") };
    let words: Vec<_> = start.split(' ').skip(1).map(place).collect();
    let mut command = command(&sandbox, &words);
    for (name, value) in unit("Environment")[0].split(' ').map(|word| word.split_once('=').unwrap()) {
        command = command.env(name, place(value));
    }
    let (mut manager, command) = Manager::of(&sandbox, command);
    let running = command.start();
    manager.hears("READY=1").await;
    has_stored(&sandbox).await;
    running.signal(Signal::Terminate).await;
    let _ = running.ended().await.well();
    assert!(sandbox.path("var/s3-connector/photos").is_dir());
}

/// Asks a probe; its status.
async fn probe(address: &str, path: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // As Kubernetes does: by the pod's address.
    let request = format!("GET {path} HTTP/1.1\r\nhost: 10.1.2.3:9464\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

async fn address(running: &mut Running) -> String {
    running.says("listening on http://").await;
    let said = running.said();
    let (_, after) = said.split_once("listening on http://").unwrap();
    // In JSON, something follows at once.
    let bound = after.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').next().unwrap();
    let (_, port) = bound.rsplit_once(':').unwrap();
    format!("127.0.0.1:{port}")
}

#[tokio::test]
async fn the_pod_runs_with_the_volumes_variables_and_probes_that_it_names() {
    let sandbox = Sandbox::new().await;
    sandbox.put("a", "content");
    let pod = manifest("StatefulSet")["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    // Each volume is a folder, and each path in it a path there.
    let mounts: BTreeMap<_, _> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| {
            let name = mount["name"].as_str().unwrap();
            std::fs::create_dir_all(sandbox.path(name)).unwrap();
            (mount["mountPath"].as_str().unwrap(), sandbox.text_path(name))
        })
        .collect();
    let place = |text: &str| match mounts.iter().find(|(path, _)| text.starts_with(&format!("{path}/"))) {
        Some((path, folder)) => text.replacen(path, folder, 1),
        None => {
            assert!(!text.starts_with('/'), "{text} is on no volume, and the root is read-only");
            text.to_owned()
        }
    };
    let _ = sandbox.file("pipelines/pipeline.yaml", pipelines());
    let _ = sandbox.file("aws/credentials", credentials());
    let port = container["ports"][0]["containerPort"].as_u64().unwrap();
    let listen = format!("0.0.0.0:{port}");
    let arguments = texts(&container["args"]);
    assert!(arguments.contains(&listen));
    // The port of the manifest may be taken here.
    let arguments: Vec<_> =
        arguments.iter().map(|text| if *text == listen { "0.0.0.0:0".to_owned() } else { place(text) }).collect();
    let mut command = command(&sandbox, &arguments);
    for variable in container["env"].as_array().unwrap() {
        let (name, value) = (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
        command = if name == "AWS_REGION" { command } else { command.env(name, place(value)) };
    }
    let mut running = command.start();
    let address = address(&mut running).await;
    has_stored(&sandbox).await;
    for kind in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let asked = &container[kind]["httpGet"];
        assert_eq!(asked["port"], container["ports"][0]["name"]);
        assert_eq!(probe(&address, asked["path"].as_str().unwrap()).await, 200, "{kind}");
    }
    running.signal(Signal::Terminate).await;
    assert_eq!(running.ended().await.code, Some(0));
    assert!(sandbox.path("state/state/photos-to-lake").is_dir());
}

#[test]
fn the_pod_is_nobody_in_particular_may_do_nothing_and_is_left_time_to_stop() {
    let set = manifest("StatefulSet")["spec"].clone();
    let pod = &set["template"]["spec"];
    let container = &pod["containers"][0];
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > STOP_MAX);
    assert!(texts(&container["args"]).windows(2).any(|pair| pair == ["--grace", "25s"]));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let is = |name: &str| container["securityContext"][name].clone();
    assert_eq!((is("readOnlyRootFilesystem"), is("allowPrivilegeEscalation")), (true.into(), false.into()));
    assert_eq!(texts(&is("capabilities")["drop"]), ["ALL"]);
    assert_eq!(set["template"]["metadata"]["labels"], set["selector"]["matchLabels"]);
    assert_eq!(manifest("Service")["spec"]["selector"], set["selector"]["matchLabels"]);
    let names = |list: &Value, name: &str| -> Vec<String> {
        let mut names: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item.pointer(name).unwrap().as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let mut volumes = names(&pod["volumes"], "/name");
    volumes.extend(names(&set["volumeClaimTemplates"], "/metadata/name"));
    volumes.sort();
    assert_eq!(names(&container["volumeMounts"], "/name"), volumes);
    assert_eq!(pod["volumes"][0]["configMap"]["name"], manifest("ConfigMap")["metadata"]["name"]);
    assert_eq!(pod["volumes"][1]["secret"]["secretName"], manifest("Secret")["metadata"]["name"]);
}

#[test]
fn the_image_runs_the_command_as_nobody_with_arguments_that_it_has() {
    let instruction = |name: &str| -> Vec<&str> {
        CONTAINERFILE.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect()
    };
    let user = manifest("StatefulSet")["spec"]["template"]["spec"]["securityContext"]["runAsUser"].clone();
    assert_eq!(instruction("USER"), [format!("{user}:{user}")]);
    assert!(instruction("HEALTHCHECK").is_empty());
    let list = |name: &str| texts(&serde_json::from_str(instruction(name)[0]).unwrap());
    assert_eq!(list("ENTRYPOINT"), ["/usr/bin/s3-connector"]);
    assert!(instruction("COPY").contains(&"bin/s3-connector /usr/bin/s3-connector"));
    let arguments = list("CMD");
    let volumes = list("VOLUME");
    assert!(arguments.windows(2).any(|pair| pair[0] == "--state" && volumes.contains(&pair[1])));
    // Without the file, the command says that there is none, and not that it has no such arguments.
    let output = Command::new(binary()).args(&arguments).current_dir("/").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!Path::new("/etc/s3-connector/pipeline.yaml").exists());
    assert!(output.status.code() == Some(2) && told.contains("/etc/s3-connector/pipeline.yaml"), "{told}");
}
