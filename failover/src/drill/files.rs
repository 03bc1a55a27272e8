//! The evidence of a drill in one folder, with the checksums of what is in it.

use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER;
use decision::drill::report::Report;
use decision::journal::Entry;

/// Writes all of it into `folder`, which is made.
pub fn write(folder: &Path, report: &Report, journal: &[Entry]) -> Result<(), String> {
    let json = |value: serde_json::Result<String>| value.map_err(|error| error.to_string());
    let files = [
        ("report.schema.json", json(schema())?),
        ("report.json", json(serde_json::to_string_pretty(report))?),
        ("report.html", super::page(report)),
        ("report.xml", super::junit(report)),
        ("journal.json", json(serde_json::to_string_pretty(journal))?),
    ];
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut manifest = String::new();
    for (name, text) in &files {
        put(folder, name, text)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        manifest += &format!("{}  {name}\n", HEXLOWER.encode(digest.as_ref()));
    }
    // Last, so that what it names is there; `sha256sum -c` reads it.
    put(folder, "SHA256SUMS", &manifest)
}

/// Of report.json.
pub fn schema() -> serde_json::Result<String> {
    serde_json::to_string_pretty(&schemars::schema_for!(Report))
}

fn put(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}
