//! Owns what is said to those who type what other programs take: options of the AWS CLI, and settings as options. Leaves all other
//! mistakes to clap.

use std::borrow::Cow;
use std::ffi::OsString;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory as _, Error};
use s3_connector::config::{self, Parameter};

use super::Arguments;
use super::place::SCHEME;

/// What a mistaken option is here.
enum Meaning {
    /// A setting, and the variable that holds it too.
    Setting(&'static str, Option<&'static str>),
    /// A setting with a value, whatever the option had.
    Fixed(&'static str, &'static str),
    /// An environment variable.
    Variable(&'static str),
    /// What to write instead.
    Other(&'static str),
}

use Meaning::{Fixed, Other, Setting, Variable};

/// Options of `aws s3`, `s5cmd` and `rclone`, without their hyphens.
const OPTIONS: [(&str, Meaning); 18] = [
    ("bucket", Setting("aws.bucket", None)),
    ("profile", Setting("aws.profile", Some("AWS_PROFILE"))),
    ("region", Setting("aws.region", Some("AWS_REGION"))),
    ("endpointurl", Setting("aws.endpoint", Some("AWS_ENDPOINT_URL_S3"))),
    ("endpoint", Setting("aws.endpoint", Some("AWS_ENDPOINT_URL_S3"))),
    ("rolearn", Setting("aws.roleArn", None)),
    ("externalid", Setting("aws.roleExternalId", None)),
    ("include", Setting("keys.include", None)),
    ("exclude", Setting("keys.exclude", None)),
    ("nosignrequest", Fixed("aws.anonymous", "true")),
    ("anonymous", Fixed("aws.anonymous", "true")),
    ("requestpayer", Fixed("requesterPays", "true")),
    ("pathstyle", Fixed("aws.forcePathStyle", "true")),
    ("cabundle", Variable("AWS_CA_BUNDLE")),
    ("noverifyssl", Other("name the store's certificate in AWS_CA_BUNDLE=FILE: certificates are always checked")),
    ("recursive", Other("leave it out: all keys that begin with the prefix are read")),
    ("debug", Other("write -vv")),
    ("dryrun", Other("write --dry-run, which the command `run` has")),
];

/// Commands that have settings of their own.
const WITH_SETTINGS: [&str; 5] = ["source", "destination", "check", "policy", "ls"];

/// What to write instead of what clap did not understand; `None` where nobody can tell.
pub(super) fn hint(error: &Error, given: &[OsString]) -> Option<String> {
    let given: Vec<Cow<'_, str>> = given.iter().skip(1).map(|argument| argument.to_string_lossy()).collect();
    match error.kind() {
        ErrorKind::UnknownArgument | ErrorKind::ValueValidation => {
            if let Some(hint) = setting_in_two(&given) {
                return Some(hint);
            }
            let unknown = error.get(ContextKind::InvalidArg)?.to_string();
            let is_option = error.kind() == ErrorKind::UnknownArgument && unknown.starts_with("--");
            is_option.then(|| options(&unknown, &given)).flatten()
        }
        ErrorKind::InvalidSubcommand => {
            let word = given.iter().find(|word| word.starts_with(SCHEME))?;
            Some(format!(
                "say what to do with it: `s3-connector ls {word}` lists it, `s3-connector source {word}` reads it"
            ))
        }
        _ => None,
    }
}

/// `--set NAME VALUE`, or `--set s3://…`.
fn setting_in_two(given: &[Cow<'_, str>]) -> Option<String> {
    let set = given.iter().position(|word| word == "--set")?;
    let (at, name) =
        given.iter().enumerate().skip(set + 1).find(|(at, word)| given[at - 1] == "--set" && !word.contains('='))?;
    if name.starts_with(SCHEME) {
        return Some(format!("a bucket stands alone: write {name} without --set"));
    }
    if name.starts_with('-') {
        return None;
    }
    let value = given.get(at + 1).filter(|value| !value.starts_with('-'))?;
    if let Some(hint) = find(name).and_then(|parameter| secret(&format!("--set {name}"), &parameter)) {
        return Some(hint);
    }
    Some(format!("a setting and its value are one word: write --set {}", assignment(name, value)))
}

/// Every option that is none of ours, since clap stops at the first.
fn options(unknown: &str, given: &[Cow<'_, str>]) -> Option<String> {
    let command = given.iter().find(|word| !word.starts_with('-')).map_or("", |word| word);
    let mut hints = Vec::new();
    let begin = given.iter().position(|word| word.split('=').next() == Some(unknown))?;
    for (at, word) in given.iter().enumerate().skip(begin).take_while(|(_, word)| *word != "--") {
        let (option, joined) = word.split_once('=').map_or((&**word, None), |(option, value)| (option, Some(value)));
        if !option.starts_with("--") || is_option(command, option) {
            continue;
        }
        let next = given.get(at + 1).filter(|next| !next.starts_with('-')).map(|next| &**next);
        let hint = option_hint(command, option, joined.or(next));
        hints.push(hint?);
    }
    (!hints.is_empty()).then(|| hints.join("\n"))
}

/// Whether the command has the option.
fn is_option(command: &str, option: &str) -> bool {
    let all = Arguments::command();
    let of = |command: &clap::Command| {
        command
            .get_arguments()
            .filter_map(|argument| argument.get_long())
            .any(|long| option.strip_prefix("--") == Some(long))
    };
    option == "--help" || of(&all) || all.find_subcommand(command).is_some_and(of)
}

/// One line about one option.
fn option_hint(command: &str, option: &str, value: Option<&str>) -> Option<String> {
    let plain = plain(option);
    let meaning = OPTIONS.iter().find(|(name, _)| *name == plain).map(|(_, meaning)| meaning);
    let parameter = match meaning {
        Some(Setting(name, _)) => find(name),
        _ => find(option),
    };
    if let Some(hint) = parameter.as_ref().and_then(|parameter| secret(option, parameter)) {
        return Some(hint);
    }
    let (name, value, variable) = match (meaning, &parameter) {
        (Some(Other(instead)), _) => return Some(format!("there is no option `{option}`: {instead}")),
        (Some(Variable(name)), _) => {
            let set = assignment(name, value.unwrap_or("VALUE"));
            return Some(format!("there is no option `{option}`: write {set} before s3-connector"));
        }
        (Some(Setting(name, variable)), _) => (*name, value.unwrap_or("VALUE"), *variable),
        (Some(Fixed(name, fixed)), _) => (*name, *fixed, None),
        (None, Some(parameter)) => (parameter.name, value.unwrap_or("VALUE"), None),
        (None, None) => return None,
    };
    let mut ways = Vec::new();
    if name == "aws.bucket" && WITH_SETTINGS.contains(&command) {
        ways.push(format!("{SCHEME}{}", value.strip_prefix(SCHEME).unwrap_or(value)));
    }
    if let Some(variable) = variable {
        ways.push(format!("{} s3-connector {command} …", assignment(variable, value)));
    }
    let bucket_is_place = name == "aws.bucket" && (value.starts_with(SCHEME) || value.contains('/'));
    match command {
        _ if bucket_is_place => {}
        "run" => ways.push(format!("`{name}: {value}` in the pipeline file, below `settings:`")),
        command if WITH_SETTINGS.contains(&command) => ways.push(format!("--set {}", assignment(name, value))),
        _ => return Some(format!("`{command}` takes no settings: leave `{option}` out")),
    }
    Some(format!("there is no option `{option}`: write {}", ways.join(", or ")))
}

/// The hint about a key, whose value is not shown.
fn secret(option: &str, parameter: &Parameter) -> Option<String> {
    let variable = match parameter.name {
        "aws.accessKeyId" => "AWS_ACCESS_KEY_ID",
        "aws.secretAccessKey" => "AWS_SECRET_ACCESS_KEY",
        "aws.sessionToken" => "AWS_SESSION_TOKEN",
        _ if parameter.secret => return Some(format!("`{option}` must be --set {}=…", parameter.name)),
        _ => return None,
    };
    Some(format!(
        "there is no option `{option}`: put the key into {variable}, since others on this machine may see arguments"
    ))
}

/// A setting by its name, whatever way its words are joined.
fn find(option: &str) -> Option<Parameter> {
    let wanted = plain(option);
    config::source_parameters().chain(config::destination_parameters()).find(|parameter| {
        let name = plain(parameter.name);
        name == wanted || name.strip_prefix("aws") == Some(&wanted)
    })
}

/// A name without what joins its words.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

/// `NAME=VALUE` as a shell takes it.
fn assignment(name: &str, value: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/.:_-,=+@%…".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return format!("{name}={value}");
    }
    format!("'{name}={}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn said(line: &str) -> Option<String> {
        let given: Vec<OsString> = ["s3-connector"].into_iter().chain(line.split(' ')).map(OsString::from).collect();
        let error = Arguments::try_parse_from(&given).expect_err(line);
        hint(&error, &given)
    }

    #[test]
    fn what_users_of_other_programs_type_is_answered_with_what_to_type_here() {
        for (line, wanted) in [
            ("source --bucket photos", "there is no option `--bucket`: write s3://photos, or --set aws.bucket=photos"),
            ("source --bucket=photos/2024", "there is no option `--bucket`: write s3://photos/2024"),
            ("source --bucket s3://photos/a", "there is no option `--bucket`: write s3://photos/a"),
            (
                "source s3://photos --profile dev",
                "there is no option `--profile`: write AWS_PROFILE=dev s3-connector source …, or --set aws.profile=dev",
            ),
            (
                "check --region eu-west-1",
                "there is no option `--region`: write AWS_REGION=eu-west-1 s3-connector check …, or --set aws.region=eu-west-1",
            ),
            (
                "source --endpoint-url http://minio:9000",
                "there is no option `--endpoint-url`: write AWS_ENDPOINT_URL_S3=http://minio:9000 s3-connector source …, or \
                 --set aws.endpoint=http://minio:9000",
            ),
            ("source --prefix 2024/", "there is no option `--prefix`: write --set prefix=2024/"),
            ("source --prefix", "there is no option `--prefix`: write --set prefix=VALUE"),
            ("destination --polling-period 1s", "there is no option `--polling-period`: write --set pollingPeriod=1s"),
            (
                "source --aws.bucket photos",
                "there is no option `--aws.bucket`: write s3://photos, or --set aws.bucket=photos",
            ),
            ("source --exclude *.tmp", "there is no option `--exclude`: write --set 'keys.exclude=*.tmp'"),
            ("source --no-sign-request", "there is no option `--no-sign-request`: write --set aws.anonymous=true"),
            (
                "source s3://photos --recursive",
                "there is no option `--recursive`: leave it out: all keys that begin with the prefix are read",
            ),
            (
                "source --ca-bundle a.pem",
                "there is no option `--ca-bundle`: write AWS_CA_BUNDLE=a.pem before s3-connector",
            ),
            (
                "run --bucket photos x.yaml",
                "there is no option `--bucket`: write `aws.bucket: photos` in the pipeline file, below `settings:`",
            ),
            ("spec --bucket photos", "`spec` takes no settings: leave `--bucket` out"),
            ("source --set aws.bucket photos", "a setting and its value are one word: write --set aws.bucket=photos"),
            (
                "source --set aws.bucket=a --set prefix a b",
                "a setting and its value are one word: write --set prefix=a",
            ),
            ("source --set s3://photos", "a bucket stands alone: write s3://photos without --set"),
            (
                "s3://photos",
                "say what to do with it: `s3-connector ls s3://photos` lists it, `s3-connector source s3://photos` reads it",
            ),
        ] {
            assert_eq!(said(line).as_deref(), Some(wanted), "{line}");
        }
    }

    #[test]
    fn all_of_them_are_told_at_once() {
        let hints =
            said("source --until-caught-up --bucket photos --region=eu-west-1 --limit 3 -- --prefix").expect("hints");
        assert_eq!(hints.lines().count(), 2, "{hints}");
        assert!(hints.lines().nth(1).is_some_and(|line| line.contains("--set aws.region=eu-west-1")), "{hints}");
    }

    #[test]
    fn keys_are_never_repeated() {
        for line in [
            "source --aws.secretAccessKey=k3y",
            "source --aws.secretAccessKey k3y",
            "source --secret-access-key k3y",
            "source --set aws.secretAccessKey k3y",
            "source --external-id k3y",
        ] {
            let hint = said(line).expect(line);
            assert!(!hint.contains("k3y"), "{hint}");
        }
    }

    #[test]
    fn other_mistakes_are_left_to_clap() {
        for line in [
            "source --untl-caught-up",
            "sauce",
            "source --limit 0",
            "source --set aws.bucket",
            "source extra",
            "check --source --destination",
        ] {
            assert_eq!(said(line), None, "{line}");
        }
    }
}
