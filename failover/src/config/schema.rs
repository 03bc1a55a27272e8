//! The JSON Schema of `regions.yml`.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::model::File;

/// Made once: it depends on nothing but the types.
pub(super) fn schema() -> &'static Json {
    static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>().to_value()
    });
    &SCHEMA
}

/// The content of `regions.schema.json`.
pub fn schema_json() -> String {
    let mut text = serde_json::to_string_pretty(schema()).expect("JSON always serialises");
    text.push('\n');
    text
}
