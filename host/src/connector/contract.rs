//! Owns the check of a component against the contract before any of it runs: what it must export, what it may import, and the words of
//! a refusal. Leaves the types of functions to the engine, which compares them when it links.

use wasmtime::Engine;
use wasmtime::component::Component;

/// What a connector exports, in this version of the contract.
const EXPORTS: [&str; 3] =
    ["opencdc:connector/destination@0.1.0", "opencdc:connector/source@0.1.0", "opencdc:connector/specifier@0.1.0"];

/// What a connector may ask for, as packages of interfaces.
const PACKAGES: [&str; 6] = ["opencdc:connector", "wasi:cli", "wasi:clocks", "wasi:http", "wasi:io", "wasi:random"];

/// What the first eight bytes of a component and of a module are
/// (<https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>).
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

/// Names that a refusal lists.
const LISTED_MAX: usize = 8;

/// What a component asks for and offers: names of interfaces, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interfaces {
    /// What it asks its host for.
    pub imports: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
}

impl Interfaces {
    pub(super) fn of(engine: &Engine, component: &Component) -> Self {
        let kind = component.component_type();
        let imports = kind.imports(engine).map(|(name, _)| name.to_owned()).collect();
        let exports = kind.exports(engine).map(|(name, _)| name.to_owned()).collect();
        Self { imports, exports }
    }

    /// Why a component of these is no connector that can run here; `None` if it may be one.
    fn refusal(&self) -> Option<String> {
        let missing: Vec<_> = EXPORTS.into_iter().filter(|name| !self.exports.iter().any(|has| has == name)).collect();
        if !missing.is_empty() {
            let package = |name: &&String| name.starts_with("opencdc:connector/");
            let others: Vec<_> = self.exports.iter().filter(package).map(String::as_str).collect();
            let why = match (&others[..], &self.exports[..]) {
                ([], []) => "it exports nothing".to_owned(),
                ([], exports) => format!("it exports {}", list(exports)),
                (others, _) => format!("it exports {}: it was made for another version of the contract", list(others)),
            };
            return Some(format!("a connector exports {}, which this one lacks; {why}", list(&missing)));
        }
        let package = |name: &&String| !PACKAGES.contains(&name.split('/').next().unwrap_or_default());
        let refused: Vec<_> = self.imports.iter().filter(package).collect();
        (!refused.is_empty()).then(|| format!("it asks for {}, which connectors are not given", list(&refused)))
    }
}

fn list(names: &[impl AsRef<str>]) -> String {
    let mut text =
        names.iter().take(LISTED_MAX).map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED_MAX {
        text.push_str(&format!(" and {} more", names.len() - LISTED_MAX));
    }
    text
}

/// Whether some bytes begin as a component does. Says what they are otherwise, which the compiler's words don't.
pub(super) fn check_kind(bytes: &[u8]) -> wasmtime::Result<()> {
    match bytes.first_chunk() {
        Some(&COMPONENT) => Ok(()),
        Some(&MODULE) => Err(wasmtime::Error::msg("it is a module of WebAssembly, and not a component")),
        Some(start) if start.starts_with(b"\0asm") => {
            Err(wasmtime::Error::msg("it is WebAssembly of a version that is not known"))
        }
        _ => Err(wasmtime::Error::msg("it is not WebAssembly")),
    }
}

/// Whether a component can be a connector here.
pub(super) fn check(engine: &Engine, component: &Component) -> wasmtime::Result<()> {
    match Interfaces::of(engine, component).refusal() {
        None => Ok(()),
        Some(why) => Err(wasmtime::Error::msg(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(imports: &[&str], exports: &[&str]) -> Option<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Interfaces { imports: owned(imports), exports: owned(exports) }.refusal()
    }

    #[test]
    fn what_is_missing_or_asked_for_too_much_is_named() {
        let imports = ["opencdc:connector/state@0.1.0", "wasi:http/types@0.2.12", "wasi:cli/environment@0.2.12"];
        assert_eq!(refusal(&imports, &EXPORTS), None);
        assert_eq!(refusal(&[], &[&EXPORTS[..], &["team:extra/more"]].concat()), None, "more is no harm");

        let why = refusal(&imports, &EXPORTS[..2]).unwrap();
        assert!(why.contains("exports `opencdc:connector/specifier@0.1.0`, which this one lacks"), "{why}");
        let why = refusal(&imports, &["wasi:cli/run@0.2.0"]).unwrap();
        assert!(why.ends_with("lacks; it exports `wasi:cli/run@0.2.0`"), "{why}");
        let why = refusal(&imports, &[]).unwrap();
        assert!(why.ends_with("lacks; it exports nothing"), "{why}");
        let later = EXPORTS.map(|name| name.replace("0.1.0", "0.2.0"));
        let why = refusal(&imports, &later.each_ref().map(String::as_str)).unwrap();
        assert!(why.ends_with("it was made for another version of the contract"), "{why}");

        let why = refusal(&["wasi:sockets/tcp@0.2.12", "wasi:io/poll@0.2.12"], &EXPORTS).unwrap();
        assert_eq!(why, "it asks for `wasi:sockets/tcp@0.2.12`, which connectors are not given");
        let many: Vec<_> = (0..20).map(|n| format!("a:b/c{n}")).collect();
        let why = refusal(&many.iter().map(String::as_str).collect::<Vec<_>>(), &EXPORTS).unwrap();
        assert!(why.contains("`a:b/c7` and 12 more"), "{why}");
    }

    #[test]
    fn bytes_that_are_no_component_are_called_what_they_are() {
        let why = |bytes: &[u8]| check_kind(bytes).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(why(super::super::EMBEDDED), "");
        assert!(why(b"\0asm\x01\0\0\0and more").contains("a module"));
        assert!(why(b"\0asm\x0e\0\x01\0").contains("a version"));
        assert_eq!(why(b""), "it is not WebAssembly");
        assert_eq!(why(b"\x7fELF and more"), "it is not WebAssembly");
    }
}
