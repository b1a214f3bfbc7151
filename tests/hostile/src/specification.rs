//! What the component says of itself: it follows the variant that a test has written into the file.

use std::hint::black_box;

use crate::component::bindings::exports::opencdc::connector::specifier::{Parameter, ParameterType, Specification};

/// Stands once in the file. Tests find it by its beginning and write a name after that, padded with blanks.
static VARIANT: [u8; 64] = *b"hostile-variant:plain                                           ";

/// Bytes before the name.
const NAME_AT: usize = 16;

/// The name that a test has written.
pub(crate) fn variant() -> &'static str {
    // The compiler must not take what stands here for what stands in the file.
    let bytes = &black_box(&VARIANT)[NAME_AT..];
    std::str::from_utf8(bytes).unwrap_or_default().trim_end()
}

/// Settings that hosts take keys from.
const SECRETS: [&str; 3] = ["aws.accessKeyId", "aws.secretAccessKey", "aws.sessionToken"];

fn parameter(name: &str, description: &str, secret: bool) -> Parameter {
    Parameter {
        name: name.to_owned(),
        description: description.to_owned(),
        type_: ParameterType::String,
        default: None,
        secret,
        validations: Vec::new(),
        labels: Vec::new(),
    }
}

fn many(count: usize) -> Vec<Parameter> {
    (0..count).map(|number| parameter(&format!("parameter-{number}"), "One of many.", false)).collect()
}

/// The specification of this variant.
pub(crate) fn specify() -> Specification {
    let secrets = |secret| -> Vec<Parameter> { SECRETS.iter().map(|name| parameter(name, "A key.", secret)).collect() };
    let (mut text, mut parameters) = (String::new(), secrets(true));
    match variant() {
        "no-parameters" => parameters.clear(),
        "not-secret" => parameters = secrets(false),
        "more-secrets" => parameters.push(parameter("prefix", "It is a secret here.", true)),
        "escapes" => {
            text = ESCAPES.to_owned();
            parameters.push(parameter(ESCAPES, ESCAPES, false));
            parameters[0].default = Some(ESCAPES.to_owned());
        }
        "most-parameters" => parameters = many(256),
        "too-many-parameters" => parameters = many(257),
        "most-text" => text = "x".repeat((250 << 10) / 5),
        "too-much-text" => text = "x".repeat((260 << 10) / 5),
        _ => {}
    }
    Specification {
        name: format!("hostile{text}"),
        summary: format!("Attacks its host.{text}"),
        description: format!("Attacks its host.{text}"),
        version: format!("0.0.0{text}"),
        author: format!("Nobody{text}"),
        source_parameters: parameters.clone(),
        destination_parameters: parameters,
        labels: Vec::new(),
    }
}

/// What a terminal would obey: a title, colours, a bell, a line written over, a C1 control, text turned round, the
/// separators that some take for ends of lines.
pub(crate) const ESCAPES: &str = "\u{1b}]0;title\u{7}\u{1b}[31m\r\u{8}\u{0}\u{9b}2J\u{202e}\u{2028}\nerror: forged";
