#!/usr/bin/env bash
# Makes what is published, in target/dist: the command, the component, the contract, packages, lists of what is in them, checksums.
# Nothing of the machine, the folder or the hour goes into it, so that the same commit can be built again elsewhere and compared.
#
# PROFILE: `release`, or `testing` for a quick look. From a tree without git, set S3_CONNECTOR_COMMIT and SOURCE_DATE_EPOCH.
# RELEASES, ISSUER, IDENTITY: where the files will lie and who signs them, for the entry in Conduit's registry. MAINTAINER: who answers for
# Debian's package, as `NAME <ADDRESS>`.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C TZ=UTC
umask 022

profile=${PROFILE:-release}
build=$PWD/target/packages
dist=$PWD/target/dist
stage=$build/stage
cargo=${CARGO:-cargo}

for tool in jq zstd xz gzip tar ar strip objdump sha256sum; do
    command -v $tool > /dev/null \
        || { echo "make dist: $tool is needed: on Debian, apt-get install jq zstd xz-utils binutils" >&2; exit 2; }
done

# 1. What is built: a commit, whole.
if [ -z "${S3_CONNECTOR_COMMIT:-}" ]; then
    git rev-parse --quiet --verify HEAD > /dev/null \
        || { echo 'make dist: not a git repository: set S3_CONNECTOR_COMMIT and SOURCE_DATE_EPOCH' >&2; exit 2; }
    [ -z "$(git status --porcelain --untracked-files=no)" ] \
        || { echo 'make dist: commit your changes first: what is published names its commit' >&2; exit 2; }
    S3_CONNECTOR_COMMIT=$(git rev-parse HEAD)
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
fi
: "${SOURCE_DATE_EPOCH:?make dist: set it to the time of the commit, in seconds}"
export S3_CONNECTOR_COMMIT SOURCE_DATE_EPOCH
version=$("$cargo" metadata --locked --no-deps --format-version 1 | jq --raw-output '.packages[] | select(.name == "s3-connector-host").version')
target=$(rustc -vV | sed -n 's/^host: //p')
case $target in
    x86_64-*-linux-gnu) arch=amd64 ;;
    aarch64-*-linux-gnu) arch=arm64 ;;
    *) echo "make dist: not for $target" >&2; exit 2 ;;
esac
time=$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

# 2. The command and its component. No path of this machine gets into either: neither by panics nor by C.
export CONST_RANDOM_SEED=s3-connector CARGO_INCREMENTAL=0
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
flags=("--remap-path-prefix=$PWD=/s3-connector")
cflags="-ffile-prefix-map=$PWD=/s3-connector"
"$cargo" fetch --locked --quiet
for folder in "$registry"/*; do
    flags+=("--remap-path-prefix=$folder=/cargo")
    cflags+=" -ffile-prefix-map=$folder=/cargo"
done
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\037' "${flags[@]}")
export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\037'}
export CFLAGS="${CFLAGS:-} $cflags"
unset RUSTFLAGS
# jemalloc would ask the processor and the kernel that build it for these. Linux gives no process addresses of more than 47 bits unasked, whatever the
# processor has.
[ $arch != amd64 ] || export JEMALLOC_SYS_WITH_LG_VADDR=48 JEMALLOC_SYS_WITH_LG_PAGE=12 JEMALLOC_SYS_WITH_LG_HUGEPAGE=21
compile() { "$cargo" build --locked --quiet --profile "$profile" --package s3-connector-host --target-dir "$build"; }
compile
env --ignore-environment "$build/$profile/s3-connector" compile "$build/$profile/s3_connector.code"
compile
command=$build/$profile/s3-connector
component=$(find "$build/component" -maxdepth 1 -name s3_connector.wasm)

rm -rf "$dist" "$stage"
mkdir -p "$dist" "$stage"
name=s3-connector-$version-$target
root=$stage/$name
install -D --mode 0755 "$command" "$root/bin/s3-connector"
# The linker's number of the build is a digest of names, too, which strip takes away: in some of them is a digest of the folder that a macro of
# wasmtime was built in.
strip --strip-all --remove-section .note.gnu.build-id "$root/bin/s3-connector"
cp "$component" "$dist/s3_connector.wasm"
sum() { sha256sum "$1" | cut --delimiter=' ' --fields=1; }

# 3. What goes with it.
share=$root/share
doc=$share/doc/s3-connector
mkdir -p "$doc/examples" "$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
run() { env --ignore-environment "$root/bin/s3-connector" "$@"; }
run completions bash > "$share/bash-completion/completions/s3-connector"
run completions zsh > "$share/zsh/vendor-completions/_s3-connector"
run completions fish > "$share/fish/vendor_completions.d/s3-connector.fish"
run man "$share/man/man1"
gzip --no-name --best "$share"/man/man1/*.1
install -D --mode 0644 packaging/s3-connector@.service "$root/lib/systemd/system/s3-connector@.service"
install --mode 0644 README.md CHANGELOG.md SECURITY.md LICENSE "$doc"
install --mode 0644 packaging/kubernetes.yaml packaging/Containerfile "$doc/examples"

# 4. What is in it: packages, and the words of their licences.
metadata() { "$cargo" metadata --locked --offline --format-version 1 --filter-platform "$1"; }
metadata "$target" > "$stage/command.json"
metadata wasm32-wasip2 > "$stage/component.json"
checksums=$(awk -F '"' '$1 == "name = " { name = $2 } $1 == "version = " { version = $2 } $1 == "checksum = " { print name " " version "\t" $2 }' Cargo.lock \
    | jq --raw-input --slurp 'split("\n") | map(select(. != "") | split("\t") | {key: .[0], value: .[1]}) | from_entries')
jq --slurp --arg time "$time" --arg binary "$(sum "$root/bin/s3-connector")" --arg component "$(sum "$dist/s3_connector.wasm")" \
    --argjson checksums "$checksums" --from-file packaging/sbom.jq "$stage/command.json" "$stage/component.json" > "$doc/sbom.cdx.json"
packaging/licences.sh "$doc/sbom.cdx.json" "$stage/command.json" "$stage/component.json" > "$doc/THIRD-PARTY-LICENSES.txt"
cp "$doc/sbom.cdx.json" "$dist/s3-connector-$version.cdx.json"
cp "$doc/THIRD-PARTY-LICENSES.txt" "$dist"

# 5. Archives: entries in order, of nobody, at the time of the commit, with modes that follow from no umask.
pack() { tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" --format=gnu --create "$@"; }
squeeze() { zstd --quiet --threads=1 -12; }
pack --directory "$stage" "$name" | squeeze > "$dist/$name.tar.zst"
pack --transform "s,^wit,opencdc-connector-0.1.0," wit | squeeze > "$dist/opencdc-connector-0.1.0-wit.tar.zst"

# Conduit's `connectors install` takes an archive with one file at its top, the plugin.
plugin=conduit-connector-s3_${version}_linux_$arch
mkdir -p "$stage/$plugin/doc"
cp "$root/bin/s3-connector" "$stage/$plugin/conduit-connector-s3"
cp "$doc/LICENSE" "$doc/THIRD-PARTY-LICENSES.txt" "$stage/$plugin/doc"
pack --directory "$stage/$plugin" conduit-connector-s3 doc | gzip --no-name --best > "$dist/$plugin.tar.gz"

# 6. Debian's package, which is an archive of two.
glibc=$(objdump -T "$root/bin/s3-connector" | grep --only-matching 'GLIBC_[0-9.]*' | sort --version-sort | tail -1)
mkdir -p "$stage/deb/data" "$stage/deb/control"
cp --recursive "$root" "$stage/deb/data/usr"
chmod -R go-w "$stage/deb/data"
debdoc=$stage/deb/data/usr/share/doc/s3-connector
# Debian has the text of this licence in one place.
rm "$debdoc/LICENSE"
cat > "$debdoc/copyright" <<COPYRIGHT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: s3-connector
Comment: What the command contains of others, and under which licences, is in THIRD-PARTY-LICENSES.txt beside this file.

Files: *
Copyright: The s3-connector authors
License: Apache-2.0
 The text is in /usr/share/common-licenses/Apache-2.0.
COPYRIGHT
gzip --no-name --best --stdout "$debdoc/CHANGELOG.md" > "$debdoc/changelog.gz"
rm "$debdoc/CHANGELOG.md"
cat > "$stage/deb/control/control" <<CONTROL
Package: s3-connector
Version: $version
Architecture: $arch
Maintainer: ${MAINTAINER:-The s3-connector authors <noreply@invalid>}
Installed-Size: $(find "$stage/deb/data" -type f -printf '%s\n' | awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')
Depends: libc6 (>= ${glibc#GLIBC_}), libgcc-s1
Recommends: ca-certificates
Section: net
Priority: optional
Description: reads objects and their changes from S3 buckets, and writes records into them
 Pipelines between S3 buckets, files and standard streams, in the words of
 Conduit. The connector is a WebAssembly component that runs in a sandbox and
 never sees your keys.
CONTROL
(cd "$stage/deb/data" && find usr -type f -print0 | sort --zero-terminated | xargs --null md5sum) > "$stage/deb/control/md5sums"
pack --directory "$stage/deb/control" . | xz --threads=1 -4 > "$stage/deb/control.tar.xz"
pack --directory "$stage/deb/data" . | xz --threads=1 -4 > "$stage/deb/data.tar.xz"
echo 2.0 > "$stage/deb/debian-binary"
ar rcD "$dist/s3-connector_${version}_$arch.deb" "$stage"/deb/{debian-binary,control.tar.xz,data.tar.xz}

# 7. For Conduit: its description of the connector, and the entry for its registry's index. JSON is YAML, too.
run spec --json | jq --arg version "v$version" '{version: "1.0", specification: {
    name: "s3", summary, description, version: $version, author,
    source: {parameters: [.source.parameters[] | {name, description, type, default: (.default // ""), validations}]},
    destination: {parameters: [.destination.parameters[] | {name, description, type, default: (.default // ""), validations}]}}}' > "$dist/connector.yaml"
# The entry must say which Conduit and which conduit-connector-protocol it needs. Conduit v0.18.0 is the first that installs from a registry, and
# has v0.9.5 of the protocol, by whose client the plugin is tested (`make conduit-client`); the messages of its second version are the same since v0.7.0.
releases=${RELEASES:-https://releases.example.com/s3-connector/v$version}
jq --null-input --arg version "$version" --arg time "$time" --arg arch "$arch" --arg url "$releases/$plugin.tar.gz" \
    --arg sha256 "$(sum "$dist/$plugin.tar.gz")" --argjson size "$(stat --format %s "$dist/$plugin.tar.gz")" \
    --arg issuer "${ISSUER:-https://issuer.example.com}" --arg identity "${IDENTITY:-^https://releases\\.example\\.com/s3-connector\$}" '{
    name: "s3", displayName: "Amazon S3", description: "S3 source and destination in a sandboxed WebAssembly component.",
    publisher: {expectedOIDCIssuer: $issuer, expectedIdentityPattern: $identity},
    versions: [{
        version: $version, releasedAt: $time, minConduitVersion: "0.18.0", minProtocolVersion: "0.9.5",
        artifacts: [{os: "linux", arch: $arch, kind: "standalone", url: $url, sha256: $sha256, size: $size,
            signature: {bundleURL: "\($url).sigstore.json"}}],
        deprecated: false}]}' > "$dist/conduit-registry-entry.json"

# 8. What all of it is.
(cd "$dist" && sha256sum -- * > "$stage/SHA256SUMS" && mv "$stage/SHA256SUMS" .)
rm -rf "$stage"
cat "$dist/SHA256SUMS"
