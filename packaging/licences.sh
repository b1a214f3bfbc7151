#!/usr/bin/env bash
# Prints the licences of all packages of a bill of materials ($1), found by outputs of `cargo metadata` ($2 and on): each text once, with
# the packages that come with it. A package that brings no text is listed with the licence that it names.
set -euo pipefail
export LC_ALL=C
bom=$1
shift
texts=$(mktemp --directory)
trap 'rm -rf "$texts"' EXIT

echo "The s3-connector command and its component contain these packages, under these licences. Rust's own library is in it, too,"
echo "under MIT or Apache-2.0."
echo
jq --raw-output '.components[] | "\(.name) \(.version): \(.licenses[0].expression)"' "$bom"

# Name and folder of each, those of the workspace left out: theirs is LICENSE.
jq --raw-output --slurp --slurpfile bom "$bom" '
    ($bom[0].components | map({key: "\(.name) \(.version)", value: true}) | from_entries) as $in
    | [.[].packages[] | select(.source != null and $in["\(.name) \(.version)"])] | unique_by(.id) | sort_by(.name, .version)[]
    | "\(.name) \(.version)\t\(.manifest_path | rtrimstr("/Cargo.toml"))"' "$@" |
    while IFS=$'\t' read -r package folder; do
        # Sources in C have theirs below.
        found=$(find "$folder" -maxdepth 3 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'unlicense*' \) \
            ! -name '*.rs' ! -name '*.toml' ! -name '*.html' ! -name '*.py' | sort)
        [ -n "$found" ] || echo "$package" >> "$texts/none"
        while IFS= read -r file; do
            [ -n "$file" ] || continue
            digest=$(tr --delete '\r' < "$file" | sha256sum | cut --delimiter=' ' --fields=1)
            [ -f "$texts/$digest.text" ] || { tr --delete '\r' < "$file" > "$texts/$digest.text"; echo "$digest" >> "$texts/order"; }
            grep --quiet --line-regexp --fixed-strings "$package" "$texts/$digest.of" 2> /dev/null || echo "$package" >> "$texts/$digest.of"
        done <<< "$found"
    done
rule=$(printf '=%.0s' {1..100})
if [ -f "$texts/none" ]; then
    printf '\n%s\nThese come without a text; their licences are above, and those texts below or in LICENSE:\n%s\n' "$rule" "$(paste --serial --delimiters=, "$texts/none" | sed 's/,/, /g')"
fi
while IFS= read -r digest; do
    printf '\n%s\n%s\n%s\n\n' "$rule" "$(paste --serial --delimiters=, "$texts/$digest.of" | sed 's/,/, /g')" "$rule"
    cat "$texts/$digest.text"
done < "$texts/order"
