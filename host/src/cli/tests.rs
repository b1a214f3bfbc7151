//! Owns tests of the arguments as they are typed. Leaves what commands do to the process tests.

use clap::CommandFactory as _;

use super::*;

#[test]
fn the_arguments_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_says_how_it_is_used_and_how_it_ends() {
    for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains("Examples:\n  s3-connector "), "{help}");
        assert!(help.contains("AWS_"), "{help}");
        assert!(help.contains("Exit codes: 0"), "{help}");
    }
}

#[test]
fn a_setting_may_hold_equals_signs_and_nothing() {
    assert_eq!(parse_setting("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
    assert_eq!(parse_setting("prefix= x "), Ok(("prefix".to_owned(), " x ".to_owned())));
    assert_eq!(parse_setting("a="), Ok(("a".to_owned(), String::new())));
    assert!(parse_setting("a").is_err());
    assert!(parse_setting("=a").is_err());
}

#[test]
fn a_setting_that_is_given_twice_is_wrong_usage() {
    let pair = |value: &str| ("prefix".to_owned(), value.to_owned());
    let arguments = SettingArguments { set: vec![pair("a"), pair("b")], file: None };
    let failure = arguments.settings().unwrap_err();
    assert_eq!(failure, Failure::Usage("duplicate setting `prefix`".to_owned()));
}

#[test]
fn wrong_settings_are_wrong_usage_and_a_missing_bucket_is_not() {
    let error = Error::new(ErrorKind::Invalid, "x");
    assert_eq!(Failure::configuring(&error), Failure::Usage("x".to_owned()));
    assert_eq!(Failure::running(&error), Failure::Failed("x".to_owned()));
}
