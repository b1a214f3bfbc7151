;; What Rust's standard library imports for programs: arguments, an end, a terminal, the seed of its maps. The linker puts
;; these functions in the place of the imports, so that the component imports the world `connector` and nothing else.
;;
;; The component has no use for them and calls none but the last, so each of them traps. What a panic would write to stderr
;; goes to the log of the contract instead (`wasi.rs`). Maps (of Parquet's writer) get one seed that never changes, as the
;; same inputs must have the same outputs; no key of theirs comes from outside.
(module
  (import "env" "memory" (memory 0))
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
  (func (export "insecure-seed") (param i32)
    (i64.store (local.get 0) (i64.const 0))
    (i64.store offset=8 (local.get 0) (i64.const 0)))
)
