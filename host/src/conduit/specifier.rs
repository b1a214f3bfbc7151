//! Owns what the plugin says of itself. Leaves the settings to the component's `config` and to `parameters`.
//!
//! Conduit asks every plugin at its own start, one after the other: the answer needs no component, no network and no
//! environment. A test compares it with what the component says.

use conduit_protocol::config::v1::parameter::Type;
use conduit_protocol::config::v1::validation::Type as Check;
use conduit_protocol::config::v1::{Parameter, Validation};
use conduit_protocol::connector::v2::specifier_plugin_server::SpecifierPlugin;
use conduit_protocol::connector::v2::{Specification, SpecifyRequest, SpecifyResponse};
use s3_connector::config::{self, ParameterType};
use tonic::{Request, Response, Result};

use super::parameters;

/// Answers what the plugin is.
pub(super) struct SpecifierService;

#[tonic::async_trait]
impl SpecifierPlugin for SpecifierService {
    async fn specify(&self, _: Request<SpecifyRequest>) -> Result<Response<SpecifyResponse>> {
        Ok(Response::new(SpecifyResponse { specification: Some(specification()) }))
    }
}

fn specification() -> Specification {
    Specification {
        name: config::NAME.to_owned(),
        summary: config::SUMMARY.to_owned(),
        description: config::DESCRIPTION.to_owned(),
        version: format!("v{}", config::VERSION),
        author: config::AUTHOR.to_owned(),
        destination_params: config::destination_parameters()
            .map(parameter)
            .chain(parameters::of_destinations())
            .collect(),
        source_params: config::source_parameters().map(parameter).chain(parameters::of_sources()).collect(),
    }
}

/// A setting in Conduit's words. What it requires is left out where the environment may have it instead: Conduit would refuse
/// the pipeline before the plugin could look there.
fn parameter(parameter: config::Parameter) -> (String, Parameter) {
    let validations = parameter.validations.into_iter().filter_map(validation).collect();
    let kind = match parameter.kind {
        ParameterType::String => Type::String,
        ParameterType::Int => Type::Int,
        ParameterType::Bool => Type::Bool,
        ParameterType::Duration => Type::Duration,
    };
    let described = Parameter {
        default: parameter.default.unwrap_or_default().to_owned(),
        description: parameter.description,
        r#type: kind.into(),
        validations,
    };
    (parameter.name.to_owned(), described)
}

fn validation(validation: config::Validation) -> Option<Validation> {
    let (kind, value) = match validation {
        config::Validation::Required => (Check::Required, String::new()),
        config::Validation::GreaterThan(bound) => (Check::GreaterThan, bound.to_string()),
        config::Validation::LessThan(bound) => (Check::LessThan, bound.to_string()),
        config::Validation::Inclusion(words) => (Check::Inclusion, words.join(",")),
        config::Validation::Regex(pattern) => (Check::Regex, pattern),
    };
    Some(Validation { r#type: kind.into(), value })
}
