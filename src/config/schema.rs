//! JSON Schema of what may be written, for editors.

use super::file;

/// JSON Schema (2020-12) of config files, for editors; `ladder` for that of ladder files.
pub fn schema(ladder: bool) -> serde_json::Value {
    let schema = if ladder { schemars::schema_for!(file::LadderFile) } else { schemars::schema_for!(file::File) };
    let mut schema = schema.to_value();
    without_null(&mut schema);
    schema
}

/// TOML has no null: a key that may be left out is left out.
fn without_null(schema: &mut serde_json::Value) {
    let is_null = |choice: &serde_json::Value| choice == "null" || choice["type"] == "null";
    match schema {
        serde_json::Value::Object(object) => {
            for list in ["anyOf", "type"] {
                let Some(serde_json::Value::Array(choices)) = object.get_mut(list) else { continue };
                choices.retain(|choice| !is_null(choice));
                if let [only] = choices.as_mut_slice() {
                    let only = only.take();
                    object.remove(list);
                    match only {
                        serde_json::Value::Object(keys) => object.extend(keys),
                        word => drop(object.insert(list.to_owned(), word)),
                    }
                }
            }
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(without_null);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}
