#!/usr/bin/env bash
# Prints which lines of the connector's core are reached by the guest's unit tests and the conformance cases of the
# native world together, and fails where one is neither reached nor explained beside it.
#
# Only the workspace's crates count lines. Binaries that no test runs are left out: the counts of what they hold, none
# of it run, would take the place of the others'.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TERM_COLOR=never

# A folder of its own, since Cargo gives the guest's library one name however it is compiled.
BUILD="$PWD/target/coverage/build"
OUT="$PWD/target/coverage/profiles"
TOOLS="$(rustc --print target-libdir)/../bin"
for tool in llvm-profdata llvm-cov; do
    if [ ! -x "$TOOLS/$tool" ]; then
        echo "make coverage: the toolchain has no $tool: rustup component add llvm-tools" >&2
        exit 2
    fi
done
if [ ! -d "$BUILD" ] && [ -d target/testing ]; then
    # Dependencies need not be compiled again; the guest must.
    rm -rf "$BUILD.new"
    mkdir -p "$BUILD.new"
    cp -a target/testing "$BUILD.new/"
    "${CARGO:-cargo}" clean --quiet --profile testing --package s3-connector --target-dir "$BUILD.new"
    mv "$BUILD.new" "$BUILD"
fi
rm -rf "$OUT"
mkdir -p "$OUT"
export RUSTC_WORKSPACE_WRAPPER="$PWD/tests/coverage/rustc.sh"
export LLVM_PROFILE_FILE="$OUT/%p-%m.profraw"

binaries=()
run() {
    "${CARGO:-cargo}" test --locked --profile testing --target-dir "$BUILD" "$@" 2>&1 | tee "$OUT/log" >&2
    binaries+=("--object=$(sed --quiet 's/^ *Running .*(\(.*\))$/\1/p' "$OUT/log")")
}
run --package s3-connector --lib
run --package s3-connector-tests --test conformance -- ::native

"$TOOLS/llvm-profdata" merge --sparse "$OUT"/*.profraw --output "$OUT/merged"
"$TOOLS/llvm-cov" export --format lcov --instr-profile "$OUT/merged" "${binaries[@]}" > "$OUT/lines"
awk -f tests/coverage/report.awk "$OUT/lines"
