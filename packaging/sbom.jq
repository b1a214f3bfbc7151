# Makes a CycloneDX 1.6 bill of materials from two outputs of `cargo metadata`: that of the command and that of the component in it.
# Arguments: $time, $binary and $component (digests), $checksums (of crates, by "NAME VERSION").

# Every package that is part of what `root` is, with what it needs. Tests' are left out.
def needed($root):
  (.resolve.nodes | map({key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind != "dev")) | .pkg]}) | from_entries) as $needs
  | def walk($seen; $todo): if ($todo | length) == 0 then $seen else
        ($seen + ($todo | map({key: ., value: true}) | from_entries)) as $now
        | walk($now; [$todo[] | $needs[.][]] | unique | map(select($now[.] | not))) end;
  (walk({}; [$root]) | keys) as $ids
  | {packages: [.packages[] | select(.id as $id | $ids | index($id))], needs: ($needs | with_entries(select(.key as $id | $ids | index($id))))};

def root($name): .packages[] | select(.name == $name) | .id;
# What is not from a registry is of this workspace.
def purl: (if .source == null then "pkg:generic/" else "pkg:cargo/" end) + "\(.name)@\(.version)";
def expression: (.license // "NOASSERTION") | gsub(" */ *"; " OR ");

(.[0] | needed(root("s3-connector-host"))) as $host
| (.[1] | needed(root("s3-connector"))) as $guest
| ($host.packages + $guest.packages | unique_by(.id)) as $packages
| ($packages | map({key: .id, value: purl}) | from_entries) as $purls
| ($packages[] | select(.name == "s3-connector-host")) as $main
| {
    "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    # Of what it describes: the same build has the same number.
    serialNumber: ($binary | "urn:uuid:\(.[0:8])-\(.[8:12])-5\(.[13:16])-8\(.[17:20])-\(.[20:32])"),
    version: 1,
    metadata: {
      timestamp: $time,
      component: {
        type: "application", "bom-ref": "s3-connector", name: "s3-connector", version: $main.version,
        licenses: [{expression: $main.license}],
        hashes: [{alg: "SHA-256", content: $binary}],
        components: [{
          type: "library", "bom-ref": "s3_connector.wasm", name: "s3_connector.wasm", version: $main.version,
          description: "The WebAssembly component that the command runs",
          licenses: [{expression: $main.license}],
          hashes: [{alg: "SHA-256", content: $component}]
        }]
      }
    },
    components: [$packages[] | {
      type: "library", "bom-ref": purl, name, version, purl: purl,
      licenses: [{expression: expression}]
    } + (if .description then {description: (.description | gsub("\\s+"; " ") | ltrimstr(" "))} else {} end)
      + ($checksums["\(.name) \(.version)"] as $sum | if $sum then {hashes: [{alg: "SHA-256", content: $sum}]} else {} end)
      + (if .repository then {externalReferences: [{type: "vcs", url: .repository}]} else {} end)] | sort_by(.["bom-ref"])
      # CycloneDX wants each once: a name and version of this workspace can't be another's.
      | unique_by(.["bom-ref"]),
    dependencies: ([
      {ref: "s3-connector", dependsOn: ([$purls[$host.needs | keys[] | select(. == $main.id)], "s3_connector.wasm"])},
      {ref: "s3_connector.wasm", dependsOn: [$packages[] | select(.name == "s3-connector") | purl]}
    ] + [$packages[] | .id as $id | {
      ref: $purls[$id],
      dependsOn: ([($host.needs[$id] // [])[], ($guest.needs[$id] // [])[]] | map($purls[.]) | unique)
    }] | sort_by(.ref))
  }
