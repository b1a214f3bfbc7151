//! Owns what settings take and refuse, and that what the specification exports agrees with it.

use super::*;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let base = [("aws.region", "us-east-1"), ("aws.bucket", "b1x"), ("format", "json")];
    base.iter().chain(pairs).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn source(pairs: &[(&str, &str)]) -> Result<SourceConfig> {
    let mut settings = settings(pairs);
    settings.remove("format");
    SourceConfig::parse(&settings)
}

#[test]
fn defaults_are_those_of_the_specification() {
    let config = source(&[]).expect("parses");
    assert_eq!(config.polling_period, Duration::from_secs(1));
    assert_eq!(config.lookback, Duration::from_secs(300));
    assert_eq!(config.concurrency, 64);
    assert_eq!((config.start, config.before), (Start::Snapshot, false));
    assert!(config.keys.is_all());
    assert_eq!(config.bucket.endpoint.authority, "b1x.s3.us-east-1.amazonaws.com");
    let config = DestinationConfig::parse(&settings(&[])).expect("parses");
    assert_eq!((config.buffers.records_max, config.buffers.bytes_max), (1000, 16 << 20));
    assert_eq!(config.buffers.delay, Duration::from_secs(5));
    assert_eq!((config.naming, config.manifest), (Naming::Digest, false));
}

#[test]
fn every_problem_is_named_at_once() {
    let error = source(&[("pollingPeriod", "0"), ("aws.buckett", "x"), ("concurrency", "many")]);
    let message = error.expect_err("must be refused").message;
    for part in ["`pollingPeriod` is `0`", "did you mean `aws.bucket`", "`concurrency` is `many`"] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn each_setting_is_checked() {
    for (name, value, expected) in [
        ("pollingPeriod", "-1s", "greater than 0"),
        ("pollingPeriod", "soon", "a duration"),
        ("concurrency", "0", "from 1 to 512"),
        ("aws.forcePathStyle", "perhaps", "true or false"),
        ("aws.endpoint", "minio:9000", "http"),
        ("aws.bucket", "a/b", "bucket"),
        ("aws.region", "us east", "region"),
        ("start", "yesterday", "snapshot, now, or a time"),
        ("before", "perhaps", "true or false"),
        ("keys.include", "a, b[c", "`[` at character 5"),
        ("keys.exclude", "{a", "`{` at character 1"),
        ("wholly.else", "x", "known are"),
    ] {
        let message = source(&[(name, value)]).expect_err(name).message;
        assert!(message.contains(name) && message.contains(expected), "{name}={value}: {message}");
    }
    for (name, value) in [
        ("bufferSize", "0"),
        ("bufferSize", "100001"),
        ("bufferBytes", "0"),
        ("bufferBytes", "1TiB"),
        ("bufferDelay", "x"),
        ("format", "orc"),
    ] {
        let message = DestinationConfig::parse(&settings(&[(name, value)])).expect_err(name).message;
        assert!(message.contains(name), "{name}={value}: {message}");
    }
}

#[test]
fn bounds_are_told_whatever_else_is_checked() {
    let setting = Setting { secret: true, ..Setting::required("pin", &Int { min: 3, max: 9 }, "A number.") };
    for value in ["2", "10", "-1", "99999999999"] {
        let problem = setting.check(Some(value)).expect_err(value);
        assert!(problem.ends_with("must be a whole number from 3 to 9"), "{problem}");
    }
    for value in ["3", "9"] {
        assert_eq!(setting.check(Some(value)), Ok(Some(value.to_owned())));
    }
    let (low, high) = (Validation::GreaterThan(2.0), Validation::LessThan(10.0));
    assert_eq!(setting.parameter().validations, [Validation::Required, low, high]);
}

#[test]
fn a_refused_secret_is_not_shown() {
    let setting = Setting { secret: true, ..Setting::required("pin", &Int { min: 3, max: 9 }, "A number.") };
    let problem = setting.check(Some("12345")).expect_err("is out of range");
    assert_eq!(problem, "setting `pin` must be a whole number from 3 to 9");
}

#[test]
fn a_missing_setting_says_how_to_give_it() {
    let error = SourceConfig::parse(&Settings::new()).expect_err("must be refused");
    assert!(error.message.contains("`aws.region` is required; set it or AWS_REGION"), "{error}");
    assert!(error.message.contains("`aws.bucket` is required"), "{error}");
    let error = DestinationConfig::parse(&Settings::new()).expect_err("must be refused");
    assert!(error.message.contains("`format` is required; it is one of json, parquet"), "{error}");
}

#[test]
fn a_bucket_is_read_from_among_other_settings() {
    let mut settings = settings(&[("aws.forcePathStyle", "t"), ("prefix", " a "), ("no.such.setting", "x")]);
    let bucket = BucketConfig::parse(&settings).expect("parses");
    assert_eq!((bucket.bucket.as_str(), bucket.prefix.as_str()), ("b1x", " a "));
    assert!(bucket.endpoint.path_style);
    settings.insert("aws.forcePathStyle".to_owned(), "tea".to_owned());
    settings.remove("aws.region");
    let message = BucketConfig::parse(&settings).expect_err("must be refused").message;
    assert!(message.contains("`aws.forcePathStyle` is `tea`") && message.contains("`aws.region`"), "{message}");
}

#[test]
fn a_beginning_is_a_word_or_a_time() {
    let start = |value| source(&[("start", value)]).expect(value).start;
    assert_eq!((start("snapshot"), start(" now ")), (Start::Snapshot, Start::Now));
    let time = crate::time::Timestamp(1_769_846_400_500);
    assert_eq!(start("2026-01-31T09:00:00.5+01:00"), Start::Time(time));
}

#[test]
fn keys_are_included_and_excluded() {
    let keys = source(&[("keys.include", "a/**, *.txt"), ("keys.exclude", "**/_*")]).expect("parses").keys;
    assert!(keys.takes("a/b/c") && keys.takes("b.txt"));
    assert!(!keys.takes("a/b/_c") && !keys.takes("_b.txt") && !keys.takes("b/c"));
}

#[test]
fn what_makes_no_sense_without_signatures_is_named() {
    for (name, value) in [
        ("aws.accessKeyId", "AKIA"),
        ("aws.secretAccessKey", "s3cr3t"),
        ("aws.sessionToken", "s3cr3t"),
        ("aws.profile", "work"),
        ("aws.roleArn", ROLE),
        ("aws.roleExternalId", "s3cr3t"),
        ("aws.roleSessionName", "me"),
        ("requesterPays", "true"),
    ] {
        let message = source(&[("aws.anonymous", "true"), (name, value)]).expect_err(name).message;
        assert!(message.contains("`aws.anonymous`") && message.contains(&format!("`{name}`")), "{message}");
        assert!(!message.contains("s3cr3t"), "{message}");
        let role = ("aws.roleArn", ROLE);
        assert!(source(&[("aws.anonymous", "false"), role, (name, value)]).is_ok(), "{name}");
    }
    let access = |pairs: &[(&str, &str)]| source(pairs).expect("parses").bucket.access;
    assert_eq!(access(&[]), Access::default());
    assert!(access(&[("aws.anonymous", "true")]).anonymous);
    assert!(access(&[("requesterPays", "true")]).requester_pays);
}

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

#[test]
fn what_goes_with_a_role_needs_one_and_a_profile_needs_no_keys() {
    for (name, value) in [("aws.roleExternalId", "s3cr3t"), ("aws.roleSessionName", "me")] {
        let message = source(&[(name, value)]).expect_err(name).message;
        assert!(message.contains("`aws.roleArn`") && message.contains(&format!("`{name}`")), "{message}");
        assert!(!message.contains("s3cr3t"), "{message}");
        assert!(source(&[(name, value), ("aws.roleArn", ROLE), ("aws.profile", "work")]).is_ok(), "{name}");
    }
    for name in ["aws.accessKeyId", "aws.secretAccessKey", "aws.sessionToken"] {
        let message = source(&[("aws.profile", "work"), (name, "s3cr3t")]).expect_err(name).message;
        assert!(message.contains("`aws.profile`") && message.contains(&format!("`{name}`")), "{message}");
    }
}

#[test]
fn an_access_point_goes_with_its_region_and_by_host() {
    let arn = ("aws.bucket", "arn:aws:s3:us-east-1:123456789012:accesspoint/reader");
    let bucket = source(&[arn]).expect("parses").bucket;
    assert_eq!(bucket.endpoint.authority, "reader-123456789012.s3-accesspoint.us-east-1.amazonaws.com");
    assert_eq!(bucket.endpoint.display, "https://s3-accesspoint.us-east-1.amazonaws.com");
    assert!(source(&[arn, ("aws.forcePathStyle", "false")]).is_ok());
    assert!(source(&[arn, ("aws.endpoint", "http://localhost:9000")]).is_ok());
    for (more, part) in [
        (("aws.region", "eu-west-1"), "`aws.region` is `eu-west-1`: set it to `us-east-1`"),
        (("aws.forcePathStyle", "true"), "`aws.forcePathStyle` is true"),
        (("aws.endpoint", "http://127.0.0.1:9000"), "`aws.endpoint` is at the address `127.0.0.1`"),
        (("aws.endpoint", "https://[::1]/s3"), "`aws.endpoint` is at the address `::1`"),
        (("aws.bucket", "arn:aws-cn:s3:us-east-1:123456789012:accesspoint/reader"), "partition `aws-cn`"),
    ] {
        let message = source(&[arn, more]).expect_err("must be refused").message;
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn signs_of_csv_are_different_ones() {
    let csv = ("decode", "csv");
    assert!(source(&[csv, ("csv.delimiter", ";"), ("csv.comment", "#")]).is_ok());
    for (name, value, other) in [
        ("csv.delimiter", "\"", "csv.quote"),
        ("csv.comment", ",", "csv.delimiter"),
        ("csv.comment", "\"", "csv.quote"),
    ] {
        let message = source(&[csv, (name, value)]).expect_err("one sign means one thing").message;
        assert!(message.contains(name) && message.contains(other), "{message}");
    }
}

#[test]
fn a_prefix_keeps_its_spaces() {
    assert_eq!(source(&[("prefix", " a b ")]).expect("parses").bucket.prefix, " a b ");
}

#[test]
fn a_prefix_that_is_a_path_or_a_glob_is_doubted() {
    for (prefix, meant) in [("/2024/", "`2024/`"), ("2024/*.txt", "`2024/`"), ("/a/b?", "`a/b`"), ("*", "``")] {
        let doubt = doubt_prefix(prefix).expect(prefix);
        assert!(doubt.ends_with(&format!("{meant} was probably meant")), "{doubt}");
    }
    for prefix in ["", "2024/", "a b", "[x]"] {
        assert_eq!(doubt_prefix(prefix), None, "{prefix}");
    }
}

#[test]
fn descriptions_and_names_are_there_and_unique() {
    for parameters in [source_parameters().collect::<Vec<_>>(), destination_parameters().collect()] {
        let mut names: Vec<_> = parameters.iter().map(|p| p.name).collect();
        assert!(parameters.iter().all(|p| p.description.ends_with('.')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), parameters.len());
    }
}

/// Whether an engine that goes by the specification alone takes a value.
fn engine_takes(parameter: &Parameter, text: &str) -> bool {
    let number = text.parse::<i64>().ok().map(|number| number as f64);
    let is_typed = match parameter.kind {
        // An engine's own check of Go's syntax is no stricter than the patterns.
        ParameterType::String | ParameterType::Duration => true,
        ParameterType::Int => number.is_some(),
        ParameterType::Bool => setting::BOOLS.iter().any(|(_, spellings)| spellings.contains(&text)),
    };
    is_typed
        && parameter.validations.iter().all(|validation| match validation {
            Validation::Required => !text.is_empty(),
            Validation::GreaterThan(bound) => number.is_some_and(|number| number > *bound),
            Validation::LessThan(bound) => number.is_some_and(|number| number < *bound),
            Validation::Inclusion(choices) => choices.contains(&text),
            Validation::Regex(pattern) => regex_lite::Regex::new(pattern).expect(pattern).is_match(text),
        })
}

/// Values that are taken, values that are refused, and values that only the parser refuses: for a bound that the contract
/// has no words for.
struct Examples {
    setting: &'static dyn Described,
    taken: &'static [&'static str],
    refused: &'static [&'static str],
    beyond: &'static [&'static str],
}

const DURATIONS: (&[&str], &[&str], &[&str]) = (
    &["1s", "1m30s", "1.5h", ".5s", "1.s", "+2s", "3000µs", "3000μs", "100ms", "1us", "1ns", "0h1s", "007s"],
    &[
        "0", "0s", "0.0s", "+0", "-1s", "1", "s", ".s", "1d", "1s2", "1..5s", "1.2.3s", "++1s", "1 s", "1S", "soon",
        "1s\n",
    ],
    &["9999999h", "0.1ns", "99999999999999999999999s"],
);

const EXAMPLES: &[Examples] = &[
    Examples { setting: &ACCESS_KEY_ID, taken: &["AKIA", "redacted"], refused: &[], beyond: &[] },
    Examples { setting: &SECRET_ACCESS_KEY, taken: &["s/+="], refused: &[], beyond: &[] },
    Examples { setting: &SESSION_TOKEN, taken: &["t=="], refused: &[], beyond: &[] },
    Examples { setting: &access::PROFILE, taken: &["work", "my work"], refused: &[], beyond: &[] },
    Examples {
        setting: &access::ROLE_ARN,
        taken: &[
            ROLE,
            "arn:aws-us-gov:iam::123456789012:role/path/to/reader",
            "arn:aws:iam:::role/S3Access",
            "arn:aws:iam::tenant:role/x",
        ],
        refused: &[
            "reader",
            "arn:aws:iam::123456789012:user/reader",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:s3::123456789012:role/reader",
            "arn:aws:iam:eu-west-1:123456789012:role/reader",
            "arn::iam::123456789012:role/reader",
            "arn:aws:iam::123456789012:role/rea der",
            "arn:aws:iam::12345678901é:role/reader",
            "arn:AWS:iam::123456789012:role/reader",
            "arn:a:iam:::role/x",
        ],
        beyond: &[],
    },
    Examples {
        setting: &access::ROLE_EXTERNAL_ID,
        taken: &["12345", "a_b+c=d,e.f@g:h/i-j"],
        refused: &["1", "a b", "a*b", "éé"],
        beyond: &[],
    },
    Examples {
        setting: &access::ROLE_SESSION_NAME,
        taken: &["me", "a_b+c=d,e.f@g-j"],
        refused: &["m", "a b", "a/b", "éé", "01234567890123456789012345678901234567890123456789012345678901234"],
        beyond: &[],
    },
    Examples { setting: &access::ANONYMOUS, taken: &["true", "0"], refused: &["yes", "nobody"], beyond: &[] },
    Examples { setting: &access::REQUESTER_PAYS, taken: &["true", "0"], refused: &["yes", "requester"], beyond: &[] },
    Examples {
        setting: &REGION,
        taken: &["us-east-1", "auto", "EU", "-"],
        refused: &[
            "us east",
            "../region",
            "us.east",
            "é",
            "0123456789012345678901234567890123456789012345678901234567890123",
        ],
        beyond: &[],
    },
    Examples {
        setting: &BUCKET,
        taken: &[
            "b1x",
            "my-bucket.logs_2",
            "Logs",
            "abc.",
            "a--",
            "reader-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias",
            "arn:aws:s3:us-east-1:123456789012:accesspoint/reader",
            "arn:aws:s3:us-east-1:123456789012:accesspoint:a-1",
            "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/reader",
        ],
        refused: &[
            "arn:aws:s3:::photos",
            "arn:aws:s3::123456789012:accesspoint/m.mrap",
            "arn:aws:s3:us-east-1:12345678901:accesspoint/reader",
            "arn:aws:s3:us-east-1:123456789012:accesspoint/re",
            "arn:aws:s3:us-east-1:123456789012:accesspoint/reader-",
            "arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/reader",
            "arn:aws:s3-outposts:us-east-1:123456789012:outpost/op-1/accesspoint/reader",
            "a/b",
            "...",
            "a b",
            "ab",
            "a..b",
            ".ab",
            "-ab",
            "_ab",
            "a?b",
            "a%2fb",
            "user@host",
            "abé",
            "abc\n",
        ],
        beyond: &[],
    },
    Examples {
        setting: &ENDPOINT,
        taken: &[
            "http://127.0.0.1:9000",
            "https://r2.dev/",
            "http://[::1]:9000",
            "http://[::1]/",
            "https://a_b-c",
            "http://h:0",
            "http://a/b",
            "https://gw.example.com/s3/v1.0/~x/",
        ],
        refused: &[
            "minio:9000",
            "ftp://minio",
            "http://",
            "http://a/../b",
            "http://a/.b",
            "http://a/b//",
            "http://a/b?c",
            "http://a/%2f",
            "http://u@h",
            "http://u:p@h",
            "http://h:port",
            "http://a b",
            "HTTP://h",
            "http://h:",
            "http://h:+80",
            "http://h:123456",
            "http://a:b:1",
            "http://[::1",
            "http://::1]",
            "http://[]",
            "http://h?",
            "http://h#",
            "http://h//",
            "http:///",
            "https:/h",
            " http://h",
        ],
        beyond: &["http://h:65536"],
    },
    Examples {
        setting: &FORCE_PATH_STYLE,
        taken: &["true", "false", "1", "0", "t", "F", "True", "FALSE"],
        refused: &["perhaps", "yes", "tRUE", "tea", "2"],
        beyond: &[],
    },
    Examples { setting: &PREFIX, taken: &["a/", " a b ", "*"], refused: &[], beyond: &[] },
    Examples { setting: &POLLING_PERIOD, taken: DURATIONS.0, refused: DURATIONS.1, beyond: DURATIONS.2 },
    Examples { setting: &LOOKBACK, taken: DURATIONS.0, refused: DURATIONS.1, beyond: DURATIONS.2 },
    Examples {
        setting: &CONCURRENCY,
        taken: &["1", "64", "512", "+5", "007"],
        refused: &["0", "513", "-1", "many", "1.5", "1e2", "99999999999999999999", " 1"],
        beyond: &[],
    },
    Examples {
        setting: &UNREADABLE,
        taken: &["stop", "skip"],
        refused: &["Stop", "perhaps", "stop,skip"],
        beyond: &[],
    },
    Examples {
        setting: &OBJECT_BYTES,
        taken: &["1", "4096", "2k", "2K", "16mib", "5mb", "1 GiB", "1  g", "7B", "7b", "007MiB", "999999GB"],
        refused: &[
            "0",
            "0MiB",
            "large",
            "MiB",
            "-1",
            "+1",
            "1.5MiB",
            "1TiB",
            "1Ki",
            "1 ",
            "1\tMiB",
            "1\u{212a}",
            "1iB",
            "1BB",
        ],
        beyond: &["99999999999999999999", "99999999999GiB"],
    },
    Examples {
        setting: &START,
        taken: &[
            "snapshot",
            "now",
            "2026-01-31T08:00:00Z",
            "2026-01-31T08:00:00.123456789+23:59",
            "2000-02-29T23:59:59-08:00",
            "1970-01-01T00:00:00Z",
        ],
        refused: &[
            "Snapshot",
            "now ",
            "2026-01-31",
            "2026-01-31T08:00:00",
            "2026-01-31 08:00:00Z",
            "2026-01-31T08:00Z",
            "2026-13-31T08:00:00Z",
            "2026-01-32T08:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T08:00:60Z",
            "2026-01-31T08:00:00.Z",
            "2026-01-31T08:00:00.1234567890Z",
            "2026-01-31T08:00:00+1:00",
            "2026-01-31T08:00:00+24:00",
            "1769846400",
        ],
        beyond: &["2025-02-29T08:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:01"],
    },
    Examples {
        setting: &KEYS_INCLUDE,
        taken: &["*.json", " a , b ", "2026/**, {a,b}/[!x]?", r"\\", r"\ "],
        refused: &[],
        beyond: &["a,", "a**", "{a", "a]", r"\"],
    },
    Examples { setting: &KEYS_EXCLUDE, taken: &["_temporary/**"], refused: &[], beyond: &["[a"] },
    Examples { setting: &BEFORE, taken: &["true", "0"], refused: &["yes", "before"], beyond: &[] },
    Examples { setting: &PAYLOAD, taken: &["auto", "stream", "raw"], refused: &["Raw", "body"], beyond: &[] },
    Examples {
        setting: &FORMAT,
        taken: &["json", "parquet", "csv", "avro", "raw"],
        refused: &["orc", "JSON", "json,parquet"],
        beyond: &[],
    },
    Examples { setting: &BUFFER_SIZE, taken: &["1", "1000", "100000"], refused: &["0", "100001", "many"], beyond: &[] },
    Examples {
        setting: &BUFFER_BYTES,
        taken: &["1B", "2k", "16mib", "5mb", "192MiB", "201326592"],
        refused: &["0", "1TiB", "much"],
        beyond: &["193MiB", "201326593", "1GB", "99999999999999999999"],
    },
    Examples {
        setting: &CHUNK_BYTES,
        taken: &["1", "2k", "16MiB", "16777216"],
        refused: &["0", "1TiB", "much"],
        beyond: &["17MiB", "16777217", "1GB"],
    },
    Examples { setting: &DELETES, taken: &["ignore", "propagate"], refused: &["keep", "Propagate"], beyond: &[] },
    Examples { setting: &BUFFER_DELAY, taken: DURATIONS.0, refused: DURATIONS.1, beyond: DURATIONS.2 },
    Examples {
        setting: &lake::PATH,
        taken: &["a", "year={now:%Y}/{meta.a}", "{field.a.b}{{}}"],
        refused: &[],
        beyond: &["{now}", "/a", "{x}"],
    },
    Examples { setting: &lake::MISSING, taken: &["none", "_null.1"], refused: &[], beyond: &["a/b", "..", "a b"] },
    Examples {
        setting: &lake::PARTITIONS_MAX,
        taken: &["1", "256", "1024"],
        refused: &["0", "1025", "many"],
        beyond: &[],
    },
    Examples {
        setting: &lake::OBJECT_NAMES,
        taken: &["digest", "time-digest"],
        refused: &["time", "Digest"],
        beyond: &[],
    },
    Examples {
        setting: &partition_columns::PATH_COLUMNS,
        taken: &["keep", "drop"],
        refused: &["Drop", "true"],
        beyond: &[],
    },
    Examples { setting: &lake::MANIFEST, taken: &["true", "false"], refused: &["yes"], beyond: &[] },
    Examples {
        setting: &rows::DECODE,
        taken: &["none", "auto", "lines", "json", "csv", "parquet", "avro"],
        refused: &["CSV", "orc", "csv,json"],
        beyond: &[],
    },
    Examples {
        setting: &rows::DECOMPRESS,
        taken: &["auto", "none", "gzip", "zstd", "snappy"],
        refused: &["gz", "GZIP"],
        beyond: &[],
    },
    Examples { setting: &rows::ON_BAD_ROW, taken: &["stop", "skip", "raw"], refused: &["ignore", "Skip"], beyond: &[] },
    Examples {
        setting: &rows::ENCODING,
        taken: &["utf-8", "UTF8", "utf-16le", "latin1", "shift_jis"],
        refused: &[],
        beyond: &["klingon", "utf-7"],
    },
    Examples { setting: &rows::CSV_DELIMITER, taken: &[",", ";", "|", "tab"], refused: &[], beyond: &["ab", "é"] },
    Examples { setting: &rows::CSV_QUOTE, taken: &["\"", "'"], refused: &[], beyond: &["\"\""] },
    Examples { setting: &rows::CSV_HEADER, taken: &["true", "false"], refused: &["yes"], beyond: &[] },
    Examples { setting: &rows::CSV_NAMES, taken: &["id", "id, name"], refused: &[], beyond: &["id,,name"] },
    Examples { setting: &rows::CSV_COMMENT, taken: &["#"], refused: &[], beyond: &["//"] },
    Examples { setting: &rows::CSV_NULL, taken: &["NULL", "\\N"], refused: &[], beyond: &[] },
    Examples { setting: &rows::CSV_EMPTY, taken: &["text", "null"], refused: &["NULL", "true"], beyond: &[] },
    Examples {
        setting: &rows::JSON_ROWS,
        taken: &["auto", "lines", "document", "array"],
        refused: &["list", "Lines"],
        beyond: &[],
    },
    Examples { setting: &rows::JSON_PATH, taken: &["items", "data.items"], refused: &[], beyond: &[] },
    Examples {
        setting: &compression::COMPRESSION,
        taken: &["none", "gzip", "zstd", "snappy"],
        refused: &["gz", "GZIP", "brotli"],
        beyond: &[],
    },
    Examples {
        setting: &storage::STORAGE_CLASS,
        taken: &["STANDARD_IA", "GLACIER", "IA2"],
        refused: &["standard", "STANDARD-IA", "_IA", "A B"],
        beyond: &[],
    },
    Examples {
        setting: &storage::SSE,
        taken: &["AES256", "aws:kms", "aws:kms:dsse"],
        refused: &["aes256", "kms", "aws:kms,AES256"],
        beyond: &[],
    },
    Examples {
        setting: &storage::KMS_KEY_ID,
        taken: &["alias/lake", "arn:aws:kms:eu-west-1:111122223333:key/mrk-0a_b"],
        refused: &["a b", "key\r\n", "é"],
        beyond: &[],
    },
    Examples {
        setting: &storage::TAGS,
        taken: &["team=data", "a=1, b=,c=x=y"],
        refused: &[],
        beyond: &["team", "=x", "a=1,a=2", "aws:a=1", "a=1,"],
    },
    Examples {
        setting: &storage::ACL,
        taken: &["private", "bucket-owner-full-control"],
        refused: &["public", "Private", "log-delivery-write"],
        beyond: &[],
    },
    Examples {
        setting: &table::COLUMNS,
        taken: &["opencdc", "payload"],
        refused: &["Payload", "payload.after"],
        beyond: &[],
    },
    Examples {
        setting: &table::COLUMNS_EXTRA,
        taken: &["_op", "_op, _position,_meta", "_meta.a,_meta.b c"],
        refused: &[],
        beyond: &["op", "_op,,_meta", "_meta.", "_op _meta"],
    },
    Examples {
        setting: &table::SCHEMA,
        taken: &[
            r#"{"type":"record","name":"r","fields":[{"name":"id","type":"long"}]}"#,
            "{\"properties\":\n{\"id\":{\"type\":\"integer\"}}}",
        ],
        refused: &[],
        beyond: &["id long", "{}", r#"{"type":"record","name":"r","fields":[]}"#],
    },
];

#[test]
fn an_engine_that_goes_by_the_specification_refuses_what_the_parser_refuses() {
    for Examples { setting, taken, refused, beyond } in EXAMPLES {
        let (name, parameter) = (setting.name(), setting.parameter());
        let is_taken = |text: &str| setting.check(Some(text)).is_ok();
        for text in *taken {
            assert!(is_taken(text) && engine_takes(&parameter, text), "{name}: {text:?} is good");
        }
        // Blanks around a value are cut off before it is parsed: an engine may refuse them.
        for text in *refused {
            assert!(text.trim() != *text || !is_taken(text), "{name}: {text:?} is no value");
            assert!(!engine_takes(&parameter, text), "{name}: {text:?} passes the specification");
        }
        for text in *beyond {
            assert!(!is_taken(text), "{name}: {text:?} is too much");
            assert!(engine_takes(&parameter, text), "{name}: {text:?} could be refused by the specification");
        }
        let default = parameter.default.filter(|default| !default.is_empty());
        assert!(default.is_none_or(|default| engine_takes(&parameter, default)), "the default of {name}");
    }
    let with_examples =
        |parameter: &Parameter| EXAMPLES.iter().any(|examples| examples.setting.name() == parameter.name);
    for parameter in source_parameters().chain(destination_parameters()) {
        assert!(with_examples(&parameter), "{} has no examples", parameter.name);
    }
}

/// Calls `visit` with every text of at most `length` of these characters.
fn every_text(alphabet: &str, length: usize, text: &mut String, visit: &mut impl FnMut(&str)) {
    visit(text);
    if length > 0 {
        for character in alphabet.chars() {
            text.push(character);
            every_text(alphabet, length - 1, text, visit);
            text.pop();
        }
    }
}

/// A setting, how its texts begin, the alphabet and length of the rest, and to which texts the rule applies.
type AgreementCase<'a> = (&'a dyn Described, &'a str, &'a str, usize, &'a dyn Fn(&str) -> bool);

#[test]
fn parsers_and_patterns_agree_on_every_short_text() {
    let whole: &dyn Fn(&str) -> bool = &|_| true;
    // A part of a nanosecond is nothing, which a pattern can't tell.
    let nanoseconds: &dyn Fn(&str) -> bool = &|text| !(text.contains('.') && text.contains("ns"));
    let cases: [AgreementCase<'_>; 6] = [
        (&LOOKBACK, "", "01.+-smnµ ", 5, nanoseconds),
        (&OBJECT_BYTES, "", "012KkMgiIbB .-", 4, whole),
        (&BUCKET, "", "aZ1.-_/é ", 5, whole),
        (&REGION, "", "aZ1.-_", 4, whole),
        (&ENDPOINT, "http://", "a1:[].-/@", 5, whole),
        (&START, "2026-01-31T08:00:00", "09.Z+:", 6, whole),
    ];
    for (setting, start, alphabet, length, applies) in cases {
        let parameter = setting.parameter();
        let patterns = parameter.validations.iter().filter_map(|validation| match validation {
            Validation::Regex(pattern) => Some(regex_lite::Regex::new(pattern).expect(pattern)),
            _ => None,
        });
        let patterns: Vec<_> = patterns.collect();
        every_text(alphabet, length, &mut start.to_owned(), &mut |text| {
            if !text.is_empty() && text.trim() == text && applies(text) {
                let matches = patterns.iter().all(|pattern| pattern.is_match(text));
                assert_eq!(setting.check(Some(text)).is_ok(), matches, "{}: {text:?}", parameter.name);
            }
        });
    }
}

#[test]
fn bounds_in_descriptions_are_those_of_the_limits() {
    let description = PAYLOAD.parameter().description;
    for bytes in [crate::limits::WHOLE_BODY_BYTES_MAX, crate::limits::RAW_BODY_BYTES_MAX] {
        let shown = size::display(bytes).replace("KiB", " KiB").replace("MiB", " MiB");
        assert!(description.contains(&shown), "{shown} in {description}");
    }
}

#[test]
fn labels_name_settings_that_are_there() {
    let parameters: Vec<_> = source_parameters().chain(destination_parameters()).collect();
    for (label, value) in LABELS.iter().filter(|(label, _)| !["auth", "auth.service"].contains(label)) {
        assert!(parameters.iter().any(|parameter| parameter.name == *value), "{label}={value}");
    }
    for parameter in &parameters {
        let is_key = parameter.labels.iter().any(|(label, _)| *label == "auth.role");
        assert!(is_key || !parameter.secret, "{}", parameter.name);
    }
}

#[test]
fn columns_make_sense_with_their_format_alone() {
    let parse = |pairs: &[(&str, &str)]| {
        let base = [("aws.region", "eu"), ("aws.bucket", "b1x")];
        let settings =
            base.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        DestinationConfig::parse(&settings).map_err(|error| error.message)
    };
    let payload = ("columns", "payload");
    assert_eq!(parse(&[("format", "csv")]).expect("parses").columns, None);
    let read = parse(&[("format", "parquet"), payload, ("columns.extra", "_meta.a, _op,_meta.a")]).expect("parses");
    let extra = Extra { op: true, position: false, meta: Some(vec!["a".to_owned()]) };
    assert_eq!(read.columns, Some(TableConfig { extra, ..TableConfig::default() }));
    let all = parse(&[("format", "json"), payload, ("columns.extra", "_meta.a,_meta,_meta.b")]).expect("parses");
    assert_eq!(all.columns.expect("payloads").extra.meta, Some(Vec::new()));
    assert!(parse(&[("format", "raw"), payload]).expect_err("raw").contains("`format: raw` there are no columns"));
    let alone = parse(&[("format", "json"), ("columns.extra", "_op")]).expect_err("no payloads");
    assert!(alone.contains("set `columns` to `payload`"), "{alone}");
}
