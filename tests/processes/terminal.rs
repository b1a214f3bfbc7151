//! What people type and see: buckets as arguments, hints, completions and manual pages. Leaves what a hint says to the command's own
//! tests, and records to the conformance cases.

use s3_connector_tests::process::Invocation;

use crate::sandbox::Sandbox;

#[tokio::test]
async fn a_bucket_with_a_prefix_is_an_argument() {
    let sandbox = Sandbox::new().await;
    for key in ["2023/a", "2024/a", "2024/b"] {
        sandbox.put(key, "text");
    }
    let source = sandbox.command(&["source", "s3://photos/2024/", "--until-caught-up"]);
    let printed = source.run().await.well();
    assert_eq!(printed.records().len(), 2);
    let destination = sandbox.command(&["destination", "s3://lake/in/", "--set", "format=json"]);
    let _ = destination.feed(&printed.stdout).await.well().saying(&["2 records were stored"]);
    let objects = sandbox.server.store().objects("lake").unwrap();
    assert!(objects.iter().all(|object| object.key.starts_with("in/")) && !objects.is_empty());
    let check = sandbox.command(&["check", "--destination", "s3://lake/in/", "--set", "format=json"]);
    assert!(check.run().await.well().printed().contains("\"in/_s3-connector-check\""));
    let policy = sandbox.command(&["policy", "--role", "source", "s3://photos/2024/"]).run().await.well();
    assert!(policy.printed().contains("photos/2024/*"), "{}", policy.printed());
}

#[tokio::test]
async fn what_is_said_twice_or_in_another_programs_words_is_answered_with_what_to_write() {
    let sandbox = Sandbox::new().await;
    let cases: &[(&[&str], &[&str])] = &[
        (&["source", "s3://photos", "--set", "aws.bucket=lake"], &["`aws.bucket` is given twice", "s3://photos"]),
        (&["source", "--set", "aws.bucket=s3://photos/a/"], &["--set aws.bucket=photos --set prefix=a/"]),
        (&["check", "s3://photos", "s3://lake"], &["one bucket at a time"]),
        (&["check", "s3://photos", "a.yaml"], &["one bucket at a time"]),
        (&["check", "s3://"], &["`s3://`", "the name of a bucket"]),
        (&["source", "s3://photos/*.jpg"], &["keys.include"]),
        (&["source", "--bucket", "photos"], &["write s3://photos, or --set aws.bucket=photos"]),
        (&["source", "s3://photos", "--profile", "dev"], &["AWS_PROFILE=dev s3-connector source"]),
        (&["source", "--set", "aws.bucket", "photos"], &["write --set aws.bucket=photos"]),
        (&["source", "--aws.secretAccessKey", "k3y"], &["AWS_SECRET_ACCESS_KEY"]),
    ];
    for (arguments, words) in cases {
        let ended = sandbox.command(arguments).run().await.with_code(2).saying(words);
        assert!(ended.stderr.starts_with("error: ") && !ended.stderr.contains("similar"), "{}", ended.stderr);
        assert!(ended.stdout.is_empty() && !ended.stderr.contains("k3y"));
    }
}

#[tokio::test]
async fn shells_complete_commands_and_options() {
    for (shell, words) in [
        ("bash", ["complete -F _s3__connector", "--until-caught-up"]),
        ("zsh", ["#compdef s3-connector", "--until-caught-up"]),
        ("fish", ["complete -c s3-connector", "-l until-caught-up"]),
    ] {
        let script = Invocation::new(&["completions", shell]).run().await.well();
        for word in words {
            assert!(script.printed().contains(word), "{shell}: {word}");
        }
        let words = script.printed();
        assert!(
            !words.split(|c: char| !c.is_alphanumeric()).any(|word| word == "compile"),
            "{shell}: a hidden command is no suggestion"
        );
    }
    // What bash makes of it, where there is one: an empty file would be understood as well, hence the word.
    let script = Invocation::new(&["completions", "bash"]).run().await.well();
    let sandbox = Sandbox::new().await;
    let file = sandbox.file("completions.bash", script.stdout);
    let complete = format!(
        "bash --norc -c 'source {file}; COMP_WORDS=(s3-connector sou); COMP_CWORD=1; _s3__connector s3-connector sou \
         s3-connector; echo ${{COMPREPLY[@]}}'"
    );
    let ended = Invocation::script(&format!("command -v bash > /dev/null || {{ echo source; exit; }}; {complete}"));
    assert_eq!(ended.run().await.well().printed().trim(), "source");
}

#[tokio::test]
async fn every_command_has_a_manual_page() {
    let sandbox = Sandbox::new().await;
    let _ = sandbox.command(&["man", "man/one"]).run().await.well();
    let mut pages = 0;
    for entry in std::fs::read_dir(sandbox.path("man/one")).unwrap() {
        let path = entry.unwrap().path();
        let page = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("s3-connector") && name.ends_with(".1"), "{name}");
        for part in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", "log\\-format", "Examples:"] {
            assert!(page.contains(part), "{name}: {part}");
        }
        pages += 1;
    }
    assert!(pages >= 9, "{pages} pages");
    assert!(!sandbox.path("man/one/s3-connector-compile.1").exists());
    assert!(!sandbox.path("man/one/s3-connector-help.1").exists());
    // Twice the same, and what is printed is the main page.
    let printed = sandbox.command(&["man"]).run().await.well();
    let written = std::fs::read(sandbox.path("man/one/s3-connector.1")).unwrap();
    assert_eq!(printed.printed(), String::from_utf8_lossy(&written));
}

#[tokio::test]
async fn records_are_printed_for_people_where_that_is_wanted() {
    let sandbox = Sandbox::new().await;
    sandbox.put("notes/a.txt", "first line\nsecond line\n");
    sandbox.server.store().put("photos", "notes/b.bin", vec![0_u8; 3 << 20]).unwrap();
    let pretty = sandbox.command(&["source", "s3://photos", "--until-caught-up", "--pretty"]);
    let printed = pretty.run().await.well().printed();
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 5, "{printed}");
    assert!(lines[0].ends_with("  snapshot        23 B  notes/a.txt"), "{printed}");
    assert_eq!(lines[1..3], ["    first line", "    second line"]);
    assert!(lines[3].ends_with("  snapshot    3.00 MiB  notes/b.bin"), "{printed}");
    assert!(lines[4].starts_with("    (binary"), "{printed}");
    // Where nobody asks, a file and a pipe have JSON.
    let plain = sandbox.command(&["source", "s3://photos", "--until-caught-up"]).run().await.well();
    assert_eq!(plain.records().len(), 2);
    let both = sandbox.command(&["source", "s3://photos", "--pretty", "--json"]).run().await.with_code(2);
    let _ = both.saying(&["--pretty", "--json"]);
}

#[tokio::test]
async fn a_terminal_has_records_for_people_unless_it_wants_json() {
    // `script` gives a command a terminal; without it there is none here.
    if Invocation::script("command -v script").run().await.code != Some(0) {
        return;
    }
    let sandbox = Sandbox::new().await;
    sandbox.put("a", "text");
    for (option, word) in [("", "snapshot         4 B  a"), ("--json", "\"operation\":\"snapshot\"")] {
        let line = format!("s3-connector source s3://photos --until-caught-up {option}");
        let script = format!("script --quiet --return --command '{line}' /dev/null < /dev/null");
        let ended = Invocation::script(&script).at(&sandbox.server).run().await.well();
        assert!(ended.printed().contains(word), "{option}: {}", ended.printed());
    }
}

#[tokio::test]
async fn a_bucket_is_listed_as_a_source_would_read_it() {
    let sandbox = Sandbox::new().await;
    for n in 0..1200 {
        sandbox.put(&format!("a/{n:04}.jpg"), "12345");
    }
    sandbox.put("a/notes.txt", "text");
    sandbox.put("b/0000.jpg", "elsewhere");
    let requests = sandbox.server.store().objects("lake").unwrap().len();
    let jpeg = sandbox.command(&["ls", "s3://photos/a/", "--set", "keys.include=*.jpg"]).run().await.well();
    let printed = jpeg.printed();
    assert_eq!(printed.lines().count(), 1200);
    assert!(printed.lines().all(|line| line.contains("         5 B  a/")), "{}", printed.lines().next().unwrap());
    let _ = jpeg.saying(&["1,200 objects, 5.86 KiB; left out: 1 by keys.include and keys.exclude in s3://photos/a/"]);
    assert_eq!(sandbox.server.store().objects("lake").unwrap().len(), requests, "nothing is written");

    let json = sandbox.command(&["ls", "s3://photos", "--json", "--limit", "1"]).run().await.well();
    let line: serde_json::Value = serde_json::from_str(&json.printed()).unwrap();
    assert_eq!((&line["key"], &line["size"]), (&"a/0000.jpg".into(), &5.into()));
    assert!(line["lastModified"].as_str().unwrap().ends_with('Z') && line["etag"].is_string(), "{line}");
    let _ = json.saying(&["there are more, --limit ended it"]);

    let none = sandbox.command(&["ls", "s3://photos/c/"]).run().await.well();
    assert_eq!(none.printed(), "");
    let _ = none.saying(&["no key begins with s3://photos/c/"]);
    let large = sandbox.command(&["ls", "s3://photos/a/n", "--set", "objectBytes=3B"]).run().await.well();
    let _ = large.saying(&["0 objects, 0 B; left out: 1 larger than objectBytes"]);
    let denied = sandbox.command(&["ls", "s3://photos"]).secret_key("wrong").run().await.with_code(1);
    let _ = denied.saying(&["error: ", "refused", "AWS_ACCESS_KEY_ID in the environment"]);
    let wrong = sandbox.command(&["ls", "s3://photos", "--set", "format=json"]).run().await.with_code(2);
    let _ = wrong.saying(&["`format`"]);
    // Its reader may end before it does.
    let head = Invocation::script("s3-connector ls s3://photos | head -n 1 | wc -l").at(&sandbox.server);
    assert_eq!(head.run().await.well().printed().trim(), "1");
}

#[tokio::test]
async fn a_dry_run_says_what_a_run_would_do_and_does_nothing() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(30);
    let yaml = "
version: 2.2
pipelines:
  - id: photos-to-lake
    status: running
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos, pollingPeriod: 10s, keys.exclude: '0000'}}
      - {id: out, type: destination, plugin: s3, settings: {aws.bucket: lake, prefix: in/, format: json, bufferSize: 10}}
  - id: photos-to-file
    status: running
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos}}
      - {id: out, type: destination, plugin: file, settings: {path: ./out.jsonl}}
";
    let file = sandbox.file("two.yaml", yaml);
    let dry = || sandbox.command(&["run", "--dry-run", "--state", "states", &file]);
    let printed = dry().run().await.well().printed();
    for words in [
        "pipeline `photos-to-lake`\n  reads    s3://photos/: 29 objects, ",
        "left out: 1 by keys.include and keys.exclude\n  state    none in states/photos-to-lake: it begins with all of them\n",
        "  writes   s3://lake/in/ as json\n",
        // Two listings, 29 objects, three batches of at most ten.
        "  costs    about 2 LIST, 29 GET, 3 PUT: less than $0.01 for what there is\n",
        "  costs    then 8,640 LIST: $0.04 per day, with pollingPeriod 10.0 s; more with old versions\n",
        "\npipeline `photos-to-file`\n  reads    s3://photos/: 30 objects, ",
        "  writes   ./out.jsonl\n",
    ] {
        assert!(printed.contains(words), "{words}\n{printed}");
    }
    assert!(sandbox.server.store().objects("lake").unwrap().is_empty());
    assert!(!sandbox.path("states").exists() && !sandbox.path("out.jsonl").exists());

    let _ = sandbox.command(&["run", "--until-caught-up", "--state", "states", &file]).run().await.well();
    let stored = sandbox.server.store().objects("lake").unwrap().len();
    let again = dry().args(&["--until-caught-up"]).run().await.well().printed();
    assert!(again.contains("states/photos-to-lake exists: it goes on where it was"), "{again}");
    assert!(again.contains("at most 2 LIST") && !again.contains("per day"), "{again}");
    assert_eq!(sandbox.server.store().objects("lake").unwrap().len(), stored);

    let wrong = sandbox.file("wrong.yaml", yaml.replace("format: json", "format: jsom"));
    let wrong = sandbox.command(&["run", "--dry-run", &wrong]).run().await.with_code(2);
    let _ = wrong.saying(&["pipeline `photos-to-lake`: connector `out`", "`format`"]);
}

#[tokio::test]
async fn a_command_ends_with_bytes_time_and_rate() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let lines = sandbox.source().args(&["--until-caught-up"]).run().await.well().stdout;
    let ended = sandbox.destination("json", 3).feed(&lines).await.well();
    let last = ended.stderr.lines().last().unwrap().to_owned();
    assert!(last.starts_with("3 records were stored; 36 B in ") && last.ends_with("B/s"), "{last}");
}
