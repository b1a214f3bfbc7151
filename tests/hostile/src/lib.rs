//! A component that attacks its host: it keeps to the contract's types and to nothing else.
//!
//! Compiled for `wasm32-wasip2` alone, by the tests themselves; natively it is empty. The settings `attack` and `at`
//! say what it does and in which call (`open` where `at` is not set), and `attack.CALL` what it does in a call besides;
//! other settings are the attack's own. What a specification says is known before there are settings, so it follows the
//! *variant*, a name that tests write into the file. To add an attack, write a function in `attacks` or a module below
//! it and name it in `ATTACKS`.

#[cfg(target_family = "wasm")]
mod attacks;
#[cfg(target_family = "wasm")]
mod bounds;
#[cfg(target_family = "wasm")]
mod component;
#[cfg(target_family = "wasm")]
mod request;
#[cfg(target_family = "wasm")]
mod specification;
