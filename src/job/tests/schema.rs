//! The JSON schema and the reference of keys.

use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use crate::job::template::TEMPLATES;
use crate::job::{json_schema, reference};

#[test]
fn every_template_fits_the_schema() {
    let schema = json_schema();
    for template in TEMPLATES {
        let table = DeTable::parse(template.text).expect("TOML").into_inner();
        let job = json_of(DeValue::Table(table));
        if let Err(problem) = fits(&job, &schema, &schema) {
            panic!("{}: {problem}", template.name);
        }
    }
}

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    let schema = json_schema();
    let job = |source: Value| json!({ "source": { "a": source }, "query": { "sql": "SELECT 1" } });
    fits(&job(json!({ "kind": "generate", "lines": 5 })), &schema, &schema).expect("a job");
    for source in [
        json!({ "kind": "generate", "line": 5 }),
        json!({ "kind": "generate", "lines": "5" }),
        json!({ "kind": "generated" }),
        json!({ "kind": "file" }),
        json!({ "kind": "generate", "format": "jsn" }),
        json!({ "kind": "generate", "format": "regex" }),
        json!({ "kind": "generate", "format": [] }),
        json!({ "kind": "generate", "max_error_ratio": 2 }),
    ] {
        fits(&job(source.clone()), &schema, &schema).expect_err(&source.to_string());
    }
    fits(&json!({ "query": { "sql": "SELECT 1" } }), &schema, &schema).expect_err("no source");
}

#[test]
fn every_key_is_documented_once_and_every_default_is_a_value() {
    let schema = json_schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    let mut keys = 0;
    for (name, definition) in definitions {
        let objects = definition["oneOf"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![definition.clone()]);
        for object in objects.iter().filter(|object| object["type"] == "object") {
            for (key, property) in object["properties"].as_object().expect("properties") {
                let doc = property["description"].as_str().unwrap_or_default();
                let is_constant = property.get("const").is_some();
                assert!(
                    is_constant || doc.len() > 5 && !doc.ends_with('.'),
                    "{name}.{key}: {doc}"
                );
                if let Some(default) = property.get("default") {
                    let fits = fits(default, property, &schema);
                    assert!(fits.is_ok(), "{name}.{key}: the default {default}: {fits:?}");
                }
                keys += 1;
            }
        }
    }
    assert!(keys > 100, "{keys} keys");
    let reference = reference();
    for key in [
        "topic_pattern",
        "max_error_ratio",
        "lateness",
        "partition_by",
        "checkpoint_interval",
        "watermark",
    ] {
        assert!(reference.contains(&format!("| `{key}` |")), "{key}");
    }
    let titles: Vec<_> = reference.lines().filter(|line| line.starts_with("### ")).collect();
    assert!(titles.contains(&"### `[source.NAME], kind = \"kafka\"`"), "{titles:#?}");
}

fn json_of(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => json!(number.to_string().parse::<i64>().expect("a small number")),
        DeValue::Float(number) => json!(number.as_str().parse::<f64>().expect("a number")),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Array(items) => items.into_iter().map(|item| json_of(item.into_inner())).collect(),
        DeValue::Table(table) => {
            let entries = table.into_iter();
            entries
                .map(|(key, value)| (key.into_inner().into_owned(), json_of(value.into_inner())))
                .collect()
        }
    }
}

/// Checks the words of JSON schema that ours uses.
fn fits(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    let Value::Object(words) = schema else {
        return if schema == &json!(true) {
            Ok(())
        } else {
            Err("nothing fits false".to_owned())
        };
    };
    words
        .iter()
        .try_for_each(|(word, argument)| fits_word(value, word, argument, schema, root))
}

fn fits_word(value: &Value, word: &str, argument: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    let list = || argument.as_array().into_iter().flatten();
    let number = || value.as_f64();
    let limit = argument.as_f64().unwrap_or_default();
    let is_right = match word {
        "$ref" => {
            let path = argument.as_str().unwrap_or_default().trim_start_matches('#');
            let definition = root.pointer(path).ok_or(format!("there is no {path}"))?;
            return fits(value, definition, root);
        }
        "type" if argument.is_array() => list().any(|name| is_type(value, name)),
        "type" => is_type(value, argument),
        "const" => value == argument,
        "enum" => list().any(|choice| choice == value),
        "anyOf" => list().any(|choice| fits(value, choice, root).is_ok()),
        "oneOf" => list().filter(|choice| fits(value, choice, root).is_ok()).count() == 1,
        "required" => list().all(|key| value.get(key.as_str().unwrap_or_default()).is_some()),
        "minimum" => number().is_none_or(|number| number >= limit),
        "maximum" => number().is_none_or(|number| number <= limit),
        "exclusiveMinimum" => number().is_none_or(|number| number > limit),
        "minLength" => value.as_str().is_none_or(|text| !text.is_empty()),
        "minItems" => value.as_array().is_none_or(|items| !items.is_empty()),
        "items" => {
            return value
                .as_array()
                .into_iter()
                .flatten()
                .try_for_each(|item| fits(item, argument, root));
        }
        "properties" | "additionalProperties" => return fits_properties(value, word, argument, schema, root),
        "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "pattern" => true,
        unknown => return Err(format!("the test does not know `{unknown}`")),
    };
    is_right
        .then_some(())
        .ok_or(format!("{value} is against {word}: {argument}"))
}

fn fits_properties(value: &Value, word: &str, argument: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    for (key, value) in value.as_object().into_iter().flatten() {
        let known = schema.get("properties").and_then(|properties| properties.get(key));
        match known {
            Some(property) if word == "properties" => fits(value, property, root)?,
            None if word == "additionalProperties" => {
                fits(value, argument, root).map_err(|problem| format!("{key}: {problem}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap_or_default() {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
