;; What Rust's standard library imports for programs, and this component never calls: its arguments, its end, its
;; terminal, and the seed of maps that it does not use. The linker puts these functions in the place of the imports, so
;; that the component imports the world `connector` and nothing else. Each of them traps. What a panic would write to
;; stderr goes to the log of the contract instead (`wasi.rs`).
(module
  (func (export "get-environment") (param i32) unreachable)
  (func (export "exit") (param i32) unreachable)
  (func (export "get-stdin") (result i32) unreachable)
  (func (export "get-stdout") (result i32) unreachable)
  (func (export "get-stderr") (result i32) unreachable)
  (func (export "get-terminal-stdin") (param i32) unreachable)
  (func (export "get-terminal-stdout") (param i32) unreachable)
  (func (export "get-terminal-stderr") (param i32) unreachable)
  (func (export "[resource-drop]terminal-input") (param i32) unreachable)
  (func (export "[resource-drop]terminal-output") (param i32) unreachable)
  (func (export "insecure-seed") (param i32) unreachable)
)
