//! The JSON Schema of `regions.yml`.

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::model::File;

pub(super) fn schema() -> Json {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>().to_value()
}

/// The content of `regions.schema.json`.
pub fn schema_json() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).expect("JSON always serialises");
    text.push('\n');
    text
}
