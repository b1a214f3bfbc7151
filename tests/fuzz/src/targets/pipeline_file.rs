//! Owns what must hold of pipeline files: places are in the file, errors begin with its name, and texts are as they were written.

use crate::novelty::note;

// The command has no library. This part of it needs nothing else of it.
#[path = "../../../../host/src/cli/pipeline_file/document.rs"]
#[expect(dead_code, reason = "the command reads every field")]
mod document;

pub(super) const WORDS: &[&str] = &[
    "version: 2.2\n",
    "pipelines:\n",
    "  - id: a\n",
    "    status: running\n",
    "    connectors:\n",
    "      - id: b\n",
    "        type: source\n",
    "        plugin: s3\n",
    "        settings:\n",
    "          aws.bucket: photos\n",
    "    dead-letter-queue:\n",
    "      plugin: file\n",
    "      window-size: 5\n",
    "    processors: []\n",
    "listen: 9464\n",
    "&a ",
    "*a",
    "<<: *a",
    "|\n",
    ">\n",
    "!!binary ",
    "\t",
    "---\n",
    "...\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "? ",
    ": ",
    "- ",
    "#",
    "~",
    "null",
    "[[[[[[[[[[[[[[[[",
];

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = match document::parse("p.yaml", text) {
        Ok(file) => file.value,
        Err(why) => {
            assert!(why.starts_with("p.yaml"), "{why}");
            return note(&why);
        }
    };
    note("a file");
    // A carriage return alone ends a line, too.
    let lines = text.replace("\r\n", "\n").split(['\n', '\r']).count() as u64 + 1;
    let seen = |found: &document::Text, what: &str| {
        note(what);
        assert!(found.referenced.line() <= lines, "{what} is at {}", document::place("p.yaml", found.referenced));
        assert!(found.value.len() <= text.len(), "{what} is longer than the file");
    };
    let fields = &file.fields;
    fields.version.iter().for_each(|version| seen(version, "version"));
    let mut bytes = 0;
    for pipeline in &fields.pipelines.0 {
        pipeline.value.fields.id.iter().for_each(|id| seen(id, "pipeline"));
        for connector in &pipeline.value.fields.connectors.0 {
            connector.value.fields.plugin.iter().for_each(|plugin| seen(plugin, "plugin"));
            for (name, value) in connector.value.fields.settings.iter().flat_map(|settings| &settings.value.0) {
                seen(name, "setting");
                seen(value, "value");
                bytes += name.value.len() + value.value.len();
            }
        }
    }
    // Aliases that stand for aliases make much out of little.
    assert!(bytes <= 64 * text.len() + (1 << 20), "{bytes} bytes of settings in {} of YAML", text.len());
}
