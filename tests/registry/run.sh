#!/usr/bin/env bash
# Publishes and fetches components with crane, which is a registry (in memory) and a client of others: what we publish they read, what
# they publish we read, and both name it by the same digest.
#
# run.sh S3_CONNECTOR CRANE
set -euo pipefail
command=$(realpath "$1")
crane=$(realpath "$2")
work=$(mktemp --directory)
registry=
trap '[ -z "$registry" ] || kill "$registry"; rm -rf "$work"' EXIT
fail() { echo "make registry: $*" >&2; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1 is $2, and not $3"; }
sum() { sha256sum "$1" | cut --delimiter=' ' --fields=1; }
export XDG_CACHE_HOME=$work/cache DOCKER_CONFIG=$work/docker HOME=$work

"$crane" registry serve --address 127.0.0.1:0 2> "$work/log" &
registry=$!
for _ in $(seq 600); do
    port=$(sed -n 's/.*serving on port \([0-9]*\).*/\1/p' "$work/log")
    [ -z "$port" ] && kill -0 "$registry" || break
    read -rt 0.1 <> <(:) || true
done
[ -n "$port" ] || fail "the registry does not start: $(cat "$work/log")"
name=localhost:$port/team/s3

# Ours, read by others.
pinned=$("$command" push "$name:0.1.0")
digest=${pinned#*@}
is 'what push prints' "$pinned" "oci://$name@$digest"
is "the tag's digest" "$("$crane" digest "$name:0.1.0")" "$digest"
is 'the digest of another push' "$("$command" push "$name:again")" "$pinned"
"$crane" manifest "$name@$digest" > "$work/manifest"
is "the manifest's digest" "sha256:$(sum "$work/manifest")" "$digest"
layer=$(jq --raw-output '.layers[0].digest' "$work/manifest")
"$crane" blob "$name@$layer" > "$work/theirs.wasm"
is "the component's digest" "sha256:$(sum "$work/theirs.wasm")" "$layer"
"$command" --version | grep --quiet --fixed-strings "component $layer" || fail 'what was published is not the built-in component'
config=$(jq --raw-output '.config.digest' "$work/manifest")
"$crane" blob "$name@$config" | jq --exit-status --arg layer "$layer" '
    .architecture == "wasm" and .os == "wasip2" and .layerDigests == [$layer]
    and (.component.exports | index("opencdc:connector/source@0.1.0"))' > /dev/null || fail 'the config is not that of a component'

# Copied by others, fetched and run by us.
"$crane" copy "$name:0.1.0" "localhost:$port/other/s3:copied" 2> "$work/copied" || fail "$(cat "$work/copied")"
is 'what pull prints' "$("$command" pull "localhost:$port/other/s3:copied" --output "$work/ours.wasm")" "oci://localhost:$port/other/s3@$digest"
cmp "$work/ours.wasm" "$work/theirs.wasm"
kill "$registry"
wait "$registry" || true
registry=
"$command" spec --component "oci://localhost:$port/other/s3@$digest" | grep --quiet --fixed-strings aws.bucket || fail 'what was kept does not run'
echo "A component of $(stat --format %s "$work/ours.wasm") bytes was published, read, copied, fetched and run as $digest."
