//! Owns the form of a component in a registry: a manifest of one layer, `application/wasm`, and a config that says what the component asks
//! for and offers (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>). Leaves sending both to `client`.

use std::collections::BTreeMap;

use bytes::Bytes;
use s3_connector::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::line;
use super::digest::Digest;
use crate::connector::COMPONENT_BYTES_MAX;
use crate::connector::contract::Interfaces;
use crate::error::{Error, ErrorKind, Result};

/// The type of an artifact's manifest.
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Those of others, too, so that a registry sends what it has, and the refusal says what that is.
pub(super) const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";

/// A component with what a registry wants of it. The same component, time and notes give the same bytes.
#[derive(Clone, Debug)]
pub(super) struct Artifact {
    pub(super) manifest: Bytes,
    pub(super) config: Bytes,
    pub(super) component: Bytes,
}

/// What a component is published with.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Annotations of the manifest, such as `org.opencontainers.image.version`.
    pub annotations: BTreeMap<String, String>,
}

/// What holds the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor,
    layers: [Descriptor; 1],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    created: String,
    architecture: &'a str,
    os: &'a str,
    layer_digests: [String; 1],
    component: Interfaced<'a>,
}

#[derive(Serialize)]
struct Interfaced<'a> {
    exports: &'a [String],
    imports: &'a [String],
}

/// As much of somebody's manifest as is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Foreign {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<serde::de::IgnoredAny>,
}

impl Artifact {
    pub(super) fn of(component: Bytes, interfaces: &Interfaces, notes: &Notes) -> Self {
        let describe = |media_type: &str, bytes: &Bytes| Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
        };
        let config = Config {
            created: Timestamp::from_seconds(notes.created).to_rfc3339(),
            architecture: "wasm",
            os: "wasip2",
            layer_digests: [Digest::of(&component).to_string()],
            component: Interfaced { exports: &interfaces.exports, imports: &interfaces.imports },
        };
        let config = encode(&config);
        let manifest = encode(&Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE,
            config: describe(CONFIG_TYPE, &config),
            layers: [describe(LAYER_TYPE, &component)],
            annotations: &notes.annotations,
        });
        Self { manifest, config, component }
    }
}

fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("texts and numbers become JSON").into()
}

/// Where the component of a manifest is; the error says what else the manifest is of.
pub(super) fn layer(manifest: &[u8]) -> Result<Layer> {
    let refuse = |why: String| Err(Error::new(ErrorKind::Invalid, why));
    let manifest: Foreign = match serde_json::from_slice(manifest) {
        Ok(manifest) => manifest,
        Err(error) => return refuse(format!("its manifest can't be read: {error}")),
    };
    if !manifest.manifests.is_empty() {
        return refuse("it is a list of artifacts for several platforms: name one of them by its digest".to_owned());
    }
    let kind = manifest.config.map(|config| config.media_type).unwrap_or_default();
    if kind != CONFIG_TYPE {
        return refuse(format!(
            "it is not a component: its config is `{}`, and that of a component is `{CONFIG_TYPE}`",
            line(&kind)
        ));
    }
    let [layer] = &manifest.layers[..] else {
        return refuse(format!("a component has one layer; layers=`{}`", manifest.layers.len()));
    };
    if layer.media_type != LAYER_TYPE {
        return refuse(format!("the layer of a component is `{LAYER_TYPE}`; layer=`{}`", line(&layer.media_type)));
    }
    if layer.size > COMPONENT_BYTES_MAX {
        return refuse(format!("it is larger than {} MiB; bytes=`{}`", COMPONENT_BYTES_MAX >> 20, layer.size));
    }
    match layer.digest.parse() {
        Ok(digest) => Ok(Layer { digest, bytes: layer.size }),
        Err(_) => refuse(format!("its layer has no digest that is known; digest=`{}`", line(&layer.digest))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn artifact() -> Artifact {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let interfaces = Interfaces { imports: names(&["wasi:io/poll@0.2.12"]), exports: names(&["a:b/c@0.1.0"]) };
        let annotations = BTreeMap::from([("org.opencontainers.image.version".to_owned(), "0.1.0".to_owned())]);
        Artifact::of(Bytes::from_static(b"component"), &interfaces, &Notes { created: 86_400, annotations })
    }

    #[test]
    fn an_artifact_has_the_form_that_other_tools_read_and_is_the_same_each_time() {
        let Artifact { manifest, config, component } = artifact();
        assert_eq!(artifact().manifest, manifest);
        let digest = Digest::of(&component).to_string();
        let read: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(
            read,
            json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": Digest::of(&config).to_string(), "size": config.len()},
                "layers": [{"mediaType": "application/wasm", "digest": digest, "size": 9}],
                "annotations": {"org.opencontainers.image.version": "0.1.0"},
            })
        );
        let read: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(
            read,
            json!({
                "created": "1970-01-02T00:00:00Z",
                "architecture": "wasm",
                "os": "wasip2",
                "layerDigests": [digest],
                "component": {"exports": ["a:b/c@0.1.0"], "imports": ["wasi:io/poll@0.2.12"]},
            })
        );
        assert_eq!(layer(&manifest).unwrap(), Layer { digest: Digest::of(&component), bytes: 9 });
    }

    #[test]
    fn a_manifest_of_anything_else_is_refused_in_words() {
        let digest = Digest::of(b"").to_string();
        let of = |kind: &str, layers: Value| json!({"config": {"mediaType": kind, "digest": digest, "size": 0}, "layers": layers});
        let layer_of = |kind: &str, digest: &str, size: u64| json!({"mediaType": kind, "digest": digest, "size": size});
        let whole = layer_of(LAYER_TYPE, &digest, 1);
        for (manifest, why) in [
            (json!([]), "can't be read"),
            (json!({}), "its config is ``"),
            (json!({"manifests": [{"digest": digest}]}), "several platforms"),
            (
                of("application/vnd.oci.image.config.v1+json", json!([whole])),
                "its config is `application/vnd.oci.image",
            ),
            (of(CONFIG_TYPE, json!([])), "layers=`0`"),
            (of(CONFIG_TYPE, json!([whole, whole])), "layers=`2`"),
            (of(CONFIG_TYPE, json!([layer_of("application/gzip", &digest, 1)])), "layer=`application/gzip`"),
            (of(CONFIG_TYPE, json!([layer_of(LAYER_TYPE, "sha512:00", 1)])), "digest=`sha512:00`"),
            (of("x`\nerror: all is well", json!([])), "its config is `x`\\nerror: all is well`"),
            (of(CONFIG_TYPE, json!([layer_of(LAYER_TYPE, &digest, COMPONENT_BYTES_MAX + 1)])), "larger than 32 MiB"),
        ] {
            let error = layer(manifest.to_string().as_bytes()).unwrap_err();
            assert!(error.message().contains(why), "{why}: {error}");
        }
        assert!(
            layer(
                &of(CONFIG_TYPE, json!([layer_of(LAYER_TYPE, &digest, COMPONENT_BYTES_MAX)])).to_string().into_bytes()
            )
            .is_ok()
        );
    }
}
