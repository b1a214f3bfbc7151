#!/usr/bin/env bash
# Checks that what `make dist` has left in a folder is whole, agrees with itself, and runs.
set -euo pipefail
dist=$(realpath "$1")
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
fail() { echo "make dist: $*" >&2; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1 is $2, and not $3"; }
sum() { sha256sum "$1" | cut --delimiter=' ' --fields=1; }
one() { local found=("$dist"/$1); [ "${#found[@]}" = 1 ] && [ -f "${found[0]}" ] || fail "there is not one $1"; echo "${found[0]}"; }

archive=$(one 's3-connector-*.tar.zst')
deb=$(one '*.deb')
plugin=$(one 'conduit-connector-s3_*.tar.gz')
wit=$(one 'opencdc-connector-*-wit.tar.zst')
bom=$(one 's3-connector-*.cdx.json')
component=$(one s3_connector.wasm)
entry=$(one conduit-registry-entry.json)

# Every file has its digest, and no digest is without its file.
(cd "$dist" && sha256sum --quiet --check --strict SHA256SUMS)
is 'what SHA256SUMS lists' "$(cut --characters=67- "$dist/SHA256SUMS" | sort)" "$(cd "$dist" && ls | grep --invert-match --line-regexp SHA256SUMS | sort)"

# The archive, by a path that no build had.
tar --extract --file "$archive" --directory "$work"
root=$(echo "$work"/s3-connector-*)
command=$root/bin/s3-connector
version=$(env --ignore-environment "$command" --version)
digest=$(sum "$component")
short=$(env --ignore-environment "$command" -V)
case $version in
    "$short (commit "*", component sha256:$digest, wasmtime "*) ;;
    *) fail "--version says \`$version\`, and the component is $digest" ;;
esac
number=${short#s3-connector }
# The component's code is in it.
"$(dirname "$0")/start.sh" "$command"
is "how the component begins" "$(head --bytes 8 "$component" | od -An -tx1 | tr -d ' ')" 0061736d0d000100
for file in share/bash-completion/completions/s3-connector share/zsh/vendor-completions/_s3-connector \
    share/fish/vendor_completions.d/s3-connector.fish share/man/man1/s3-connector.1.gz share/man/man1/s3-connector-run.1.gz \
    lib/systemd/system/s3-connector@.service share/doc/s3-connector/THIRD-PARTY-LICENSES.txt share/doc/s3-connector/LICENSE; do
    [ -s "$root/$file" ] || fail "$file is not in the archive"
done
bash -n "$root/share/bash-completion/completions/s3-connector"
is 'the mode of the command' "$(stat --format %a "$command")" 755
for packed in "$archive" "$plugin" "$wit"; do
    odd=$(tar --list --verbose --numeric-owner --file "$packed" | awk '{ print $1, $2 }' | sort --unique | grep --invert-match --line-regexp --extended-regexp '(-rw-r--r--|-rwxr-xr-x|drwxr-xr-x) 0/0' || true)
    is "whose the files of $(basename "$packed") are, beside everybody's to read" "$odd" ''
done

# No place of the machine that built it is in what runs, and nothing but libraries of the system is asked for.
for place in "${HOME:-/root}/" "$(realpath "$(dirname "$0")/..")/" "$(rustc --print sysroot)/" /registry/src/; do
    for file in "$command" "$component"; do
        ! grep --quiet --text --fixed-strings "$place" "$file" || fail "$(basename "$file") names $place"
    done
done
needed=$(objdump --private-headers "$command" | awk '$1 == "NEEDED" { print $2 }' | grep --invert-match --extended-regexp '^(libc|libm|libgcc_s|ld-linux-.*)\.so\.[0-9]+$' || true)
is 'what the command links to beside glibc and libgcc' "$needed" ''
is 'what strip has left' "$(objdump --section-headers "$command" | grep --extended-regexp '\.(symtab|debug_info|note\.gnu\.build-id)' || true)" ''

# Debian's package has the same files, and its own sums are right.
mkdir "$work/deb"
(cd "$work/deb" && ar x "$deb" && mkdir data control && tar --extract --file data.tar.xz --directory data && tar --extract --file control.tar.xz --directory control)
is "the order of the package's parts" "$(ar t "$deb" | tr '\n' ' ')" 'debian-binary control.tar.xz data.tar.xz '
(cd "$work/deb/data" && md5sum --quiet --check --strict ../control/md5sums)
cmp "$command" "$work/deb/data/usr/bin/s3-connector"
cmp "$root/lib/systemd/system/s3-connector@.service" "$work/deb/data/usr/lib/systemd/system/s3-connector@.service"
is "the package's version" "$(sed -n 's/^Version: //p' "$work/deb/control/control")" "$number"
if command -v dpkg-deb > /dev/null; then
    dpkg-deb --info "$deb" > /dev/null
    is "the package's owners and modes" "$(dpkg-deb --contents "$deb" | awk '{ print $1, $2 }' | sort --unique | tr '\n' ' ')" \
        '-rw-r--r-- 0/0 -rwxr-xr-x 0/0 drwxr-xr-x 0/0 '
    is 'the command in the package' "$(dpkg-deb --contents "$deb" | grep --only-matching '[^ ]*bin/s3-connector$')" ./usr/bin/s3-connector
fi

# Conduit: one file at the top of the archive, and an entry that says its digest.
is 'what is at the top of the plugin' "$(tar --list --file "$plugin" | grep --invert-match /)" conduit-connector-s3
tar --extract --file "$plugin" --directory "$work" conduit-connector-s3
cmp "$command" "$work/conduit-connector-s3"
jq --exit-status --arg sha256 "$(sum "$plugin")" --argjson size "$(stat --format %s "$plugin")" --arg version "$number" --arg file "$(basename "$plugin")" '
    (.name | test("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")) and (.publisher.expectedIdentityPattern | test("^\\^.*\\$$"))
    and (.versions | length == 1) and (.versions[0] | .version == $version and (.releasedAt | fromdateiso8601 > 0)
        and ([.minConduitVersion, .minProtocolVersion] | all(test("^[0-9]+\\.[0-9]+\\.[0-9]+$")))
        and (.artifacts | length == 1) and (.artifacts[0] | .kind == "standalone" and .os == "linux" and .sha256 == $sha256 and .size == $size
            and (.url | endswith("/" + $file)) and .signature.bundleURL == .url + ".sigstore.json"))' "$entry" > /dev/null \
    || fail 'the entry for the registry of Conduit does not fit the plugin'
# No Conduit is asked for that is newer than what the plugin is tested with.
tested=$(awk '$1 == "github.com/conduitio/conduit-connector-protocol" { print substr($2, 2) }' "$(dirname "$0")/conduit/client/go.mod")
needed=$(jq --raw-output '.versions[0].minProtocolVersion' "$entry")
is 'the newer one of the protocol that is asked for and the one that is tested' "$(printf '%s\n' "$needed" "$tested" | sort --version-sort | tail -1)" "$tested"
jq --exit-status --arg version "v$number" '.version == "1.0" and .specification.version == $version
    and ([.specification.source, .specification.destination] | all(.parameters | map(.name) | index("aws.bucket")))' "$dist/connector.yaml" > /dev/null \
    || fail 'connector.yaml lacks settings'

# The bill of materials names what was built, and every package that it needs.
jq --exit-status --arg binary "$(sum "$command")" --arg component "$digest" '
    .specVersion == "1.6" and .metadata.component.hashes[0].content == $binary and .metadata.component.components[0].hashes[0].content == $component
    and ([.components[]["bom-ref"]] + ["s3-connector", "s3_connector.wasm"] | sort) as $known
    | ([.dependencies[].ref] | sort) == $known and ([.dependencies[].dependsOn[]] - $known == [])
    and ([.components[].name] | contains(["wasmtime", "rustls", "parquet", "tokio"]))
    and ([.components[].licenses[].expression] | all(. != "NOASSERTION"))
    and ([.components[] | select(.purl | startswith("pkg:cargo/")) | .hashes[0].content] | all(test("^[0-9a-f]{64}$")))' "$bom" > /dev/null \
    || fail 'the bill of materials is not whole'
jq --raw-output '.components[] | "\(.name) \(.version): "' "$bom" | while IFS= read -r package; do
    grep --quiet --fixed-strings "$package" "$dist/THIRD-PARTY-LICENSES.txt" || fail "no licence of $package"
done
cmp "$bom" "$root/share/doc/s3-connector/sbom.cdx.json"

# The contract is that of this tree.
mkdir "$work/wit"
tar --extract --file "$wit" --directory "$work/wit" --strip-components 1
diff --recursive "$work/wit" "$(dirname "$0")/../wit"
echo "$version: what is in $dist agrees"
