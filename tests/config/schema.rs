//! The JSON Schema for editors.

use tandem::config::schema;

use super::*;

#[test]
fn the_schema_knows_what_is_required() {
    let schema = schema(false);
    let required = |place: &serde_json::Value| -> Vec<String> {
        let mut all: Vec<_> =
            place["required"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().into()).collect();
        all.sort();
        all
    };
    assert_eq!(required(&schema), ["channel"]);
    assert_eq!(required(&schema["$defs"]["ChannelFile"]), ["id", "ladder", "source"]);
    assert_eq!(required(&schema["$defs"]["SourceFile"]["oneOf"][0]), ["id", "type"]);
}

#[test]
fn the_schema_knows_the_keys_of_the_demo() {
    fn keys(value: &toml::Value, into: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) => table.iter().for_each(|(key, value)| {
                into.push(key.clone());
                keys(value, into);
            }),
            toml::Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
            _ => {}
        }
    }
    for (ladder, file) in [(false, "config/demo.toml"), (true, "pipelines/ladders/720p25.toml")] {
        let schema = schema(ladder).to_string();
        let mut all = Vec::new();
        keys(&fs::read_to_string(root().join(file)).unwrap().parse::<toml::Table>().unwrap().into(), &mut all);
        for key in all {
            assert!(schema.contains(&format!("\"{key}\":")), "{key}");
        }
        assert!(schema.contains("\"additionalProperties\":false"));
        assert!(!schema.contains("null"), "TOML has none: {schema}");
    }
}
