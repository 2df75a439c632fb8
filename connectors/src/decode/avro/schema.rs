//! An Avro schema: parsed from its JSON, names resolved, logical types that have a column type of their own taken in.
//!
//! After the Apache Avro specification 1.12. A logical type that is unknown or does not fit the type under it is ignored, as
//! the specification wants it; `uuid`, `time-millis`, `time-micros` and `duration` are read as what they are made of.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use engine::{Error, Result};
use serde_json::{Map, Value};

/// A schema of one record, the form that messages have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvroSchema {
    types: Vec<Type>,
    root: TypeId,
}

/// The place of a type in its schema; a recursive type holds its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TypeId(usize);

/// A type, with what its logical type makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    Array(TypeId),
    /// Its keys are strings.
    Map(TypeId),
    Record(Vec<Field>),
    /// At least one.
    Union(Vec<TypeId>),
    /// An int: days since 1970.
    Date,
    /// A long: ticks since 1970.
    Timestamp(Ticks),
    Decimal(Decimal),
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) of: TypeId,
}

/// What a timestamp counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    pub(crate) per_second: i64,
    /// Whether its zone is not said.
    pub(crate) is_local: bool,
}

/// A number of `precision` digits, `scale` of them behind the point, as two's complement with the high byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) precision: u8,
    pub(crate) scale: i8,
    /// The number of bytes, if all have the same.
    pub(crate) size: Option<usize>,
}

/// The digits that a 128-bit decimal always holds.
const PRECISION_MAX: u64 = 38;

/// The names of the types that are not put together.
const PRIMITIVES: &[(&str, Type)] = &[
    ("null", Type::Null),
    ("boolean", Type::Boolean),
    ("int", Type::Int),
    ("long", Type::Long),
    ("float", Type::Float),
    ("double", Type::Double),
    ("bytes", Type::Bytes),
    ("string", Type::String),
];

impl AvroSchema {
    /// Returns the type at `id`.
    pub(crate) fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0]
    }

    /// Returns the place of the record.
    pub(crate) fn root(&self) -> TypeId {
        self.root
    }

    /// Returns what a value holds when it is not null, and the place of null among its branches; `None` when it can't be
    /// null, or can be of several types.
    pub(crate) fn nullable(&self, id: TypeId) -> Option<(TypeId, usize)> {
        match self.get(id) {
            Type::Union(branches) if branches.len() == 2 => {
                let null = branches.iter().position(|&branch| *self.get(branch) == Type::Null)?;
                Some((branches[1 - null], null))
            }
            _ => None,
        }
    }
}

impl FromStr for AvroSchema {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |reason: String| Error::Invalid(format!("the Avro schema can't be used: {reason}"));
        let json: Value = serde_json::from_str(text).map_err(|error| refused(format!("it is no JSON: {error}")))?;
        let mut parser = Parser::default();
        let root = parser.parse(&json, "").map_err(refused)?;
        let types = parser.types.into_iter();
        let schema = Self {
            types: types
                .map(|found| found.expect("a type is there when its parts are"))
                .collect(),
            root,
        };
        match schema.get(root) {
            Type::Record(_) => Ok(schema),
            _ => Err(refused("expected a record, whose fields are the columns".to_owned())),
        }
    }
}

impl fmt::Display for AvroSchema {
    /// Writes the types without names and comments of types: two schemas of one text read the same payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, of) in self.types.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{index}:{of:?}")?;
        }
        write!(f, " from {}", self.root.0)
    }
}

#[derive(Default)]
struct Parser {
    /// A named type is none while its parts are read.
    types: Vec<Option<Type>>,
    names: HashMap<String, TypeId>,
}

impl Parser {
    /// Returns the place of a type. Names without a namespace are of `namespace`.
    fn parse(&mut self, json: &Value, namespace: &str) -> Result<TypeId, String> {
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => self.object(object, namespace),
            other => Err(format!("expected a type, not {other}")),
        }
    }

    fn add(&mut self, of: Type) -> TypeId {
        self.types.push(Some(of));
        TypeId(self.types.len() - 1)
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<TypeId, String> {
        if let Some((_, primitive)) = PRIMITIVES.iter().find(|(primitive, _)| *primitive == name) {
            return Ok(self.add(primitive.clone()));
        }
        let found = self.names.get(&full_name(name, namespace));
        found.copied().ok_or_else(|| format!("there is no type `{name}`"))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<TypeId, String> {
        if branches.is_empty() {
            return Err("a union needs a type".to_owned());
        }
        let branches = branches.iter().map(|branch| self.parse(branch, namespace));
        let branches = branches.collect::<Result<Vec<_>, _>>()?;
        if branches
            .iter()
            .any(|branch| matches!(self.types[branch.0], Some(Type::Union(_))))
        {
            return Err("a union can't hold a union".to_owned());
        }
        Ok(self.add(Type::Union(branches)))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        let Some(Value::String(of)) = object.get("type") else {
            // `{"type": {"type": ...}}` is a type in one more pair of brackets.
            return match object.get("type") {
                Some(inner) => self.parse(inner, namespace),
                None => Err(format!("expected a type, not {}", Value::Object(object.clone()))),
            };
        };
        match of.as_str() {
            "array" => {
                let items = self.part(object, "items", namespace)?;
                Ok(self.add(Type::Array(items)))
            }
            "map" => {
                let values = self.part(object, "values", namespace)?;
                Ok(self.add(Type::Map(values)))
            }
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = object.get("symbols").and_then(Value::as_array);
                let symbol = |symbol: &Value| symbol.as_str().map(str::to_owned);
                let symbols = symbols.and_then(|symbols| symbols.iter().map(symbol).collect());
                let symbols = symbols.ok_or("an enum needs `symbols`, a list of names")?;
                let (id, _) = self.declare(object, namespace)?;
                self.types[id.0] = Some(Type::Enum(symbols));
                Ok(id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64);
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or("a fixed needs its `size`, a number of bytes")?;
                let (id, _) = self.declare(object, namespace)?;
                self.types[id.0] = Some(logical(object, Type::Fixed(size))?);
                Ok(id)
            }
            name => {
                let id = self.named(name, namespace)?;
                if let Some((_, primitive)) = PRIMITIVES.iter().find(|(primitive, _)| *primitive == name) {
                    self.types[id.0] = Some(logical(object, primitive.clone())?);
                }
                Ok(id)
            }
        }
    }

    fn part(&mut self, object: &Map<String, Value>, key: &str, namespace: &str) -> Result<TypeId, String> {
        let part = object.get(key).ok_or_else(|| format!("missing `{key}`"))?;
        self.parse(part, namespace)
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        let (id, namespace) = self.declare(object, namespace)?;
        let fields = object.get("fields").and_then(Value::as_array);
        let mut found: Vec<Field> = vec![];
        for field in fields.ok_or("a record needs `fields`, a list")? {
            let name = field.get("name").and_then(Value::as_str);
            let name = name.ok_or_else(|| format!("expected a field with a name, not {field}"))?;
            if found.iter().any(|field| field.name == name) {
                return Err(format!("the field `{name}` is there twice"));
            }
            let of = field.get("type").ok_or("missing `type`".to_owned());
            let of = of.and_then(|of| self.parse(of, &namespace));
            found.push(Field {
                of: of.map_err(|reason| format!("field `{name}`: {reason}"))?,
                name: name.to_owned(),
            });
        }
        self.types[id.0] = Some(Type::Record(found));
        Ok(id)
    }

    /// Makes a place for a type with a name, and returns the namespace inside of it too.
    fn declare(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<(TypeId, String), String> {
        let name = object.get("name").and_then(Value::as_str);
        let name = name.ok_or("a record, enum or fixed needs a `name`")?;
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, namespace);
        let id = TypeId(self.types.len());
        let inner = full.rsplit_once('.').map_or("", |(inner, _)| inner).to_owned();
        if self.names.insert(full, id).is_some() {
            return Err(format!("the type `{name}` is there twice"));
        }
        self.types.push(None);
        Ok((id, inner))
    }
}

/// Returns a name with its namespace: one that has dots names its own.
fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

/// Returns what the logical type of a schema's object makes of the type `of`.
fn logical(object: &Map<String, Value>, of: Type) -> Result<Type, String> {
    let Some(name) = object.get("logicalType").and_then(Value::as_str) else {
        return Ok(of);
    };
    if let ("decimal", Type::Bytes | Type::Fixed(_)) = (name, &of) {
        return decimal(object, of);
    }
    let (is_local, unit) = match name.strip_prefix("local-") {
        Some(unit) => (true, unit),
        None => (false, name),
    };
    let per_second = match unit {
        "timestamp-millis" => 1_000,
        "timestamp-micros" => 1_000_000,
        "timestamp-nanos" => 1_000_000_000,
        "date" if of == Type::Int => return Ok(Type::Date),
        _ => return Ok(of),
    };
    Ok(match of {
        Type::Long => Type::Timestamp(Ticks { per_second, is_local }),
        other => other,
    })
}

fn decimal(object: &Map<String, Value>, of: Type) -> Result<Type, String> {
    let digits = |key| object.get(key).and_then(Value::as_u64);
    let (precision, scale) = (digits("precision").unwrap_or(0), digits("scale").unwrap_or(0));
    if precision == 0 || scale > precision {
        return Ok(of);
    }
    if precision > PRECISION_MAX {
        return Err(format!(
            "a decimal of {precision} digits is too long: at most {PRECISION_MAX} fit"
        ));
    }
    Ok(Type::Decimal(Decimal {
        precision: u8::try_from(precision).expect("at most 38"),
        scale: i8::try_from(scale).expect("at most the precision"),
        size: match of {
            Type::Fixed(size) => Some(size),
            _ => None,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parse(fields: &str) -> AvroSchema {
        let text = format!(r#"{{"type": "record", "name": "logs.Line", "fields": [{fields}]}}"#);
        text.parse().expect("a schema")
    }

    fn fields(schema: &AvroSchema) -> &[Field] {
        match schema.get(schema.root()) {
            Type::Record(fields) => fields,
            other => panic!("a record, not {other:?}"),
        }
    }

    #[track_caller]
    fn check(of: &str, expected: Type) {
        let schema = parse(&format!(r#"{{"name": "a", "type": {of}}}"#));
        assert_eq!(*schema.get(fields(&schema)[0].of), expected, "{of}");
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = text.parse::<AvroSchema>().expect_err("no schema").to_string();
        assert_eq!(error, format!("the Avro schema can't be used: {expected}"));
    }

    #[test]
    fn primitives_are_names_and_objects() {
        for (name, of) in PRIMITIVES {
            check(&format!("\"{name}\""), of.clone());
            check(&format!(r#"{{"type": "{name}"}}"#), of.clone());
            check(&format!(r#"{{"type": {{"type": "{name}"}}}}"#), of.clone());
        }
    }

    #[test]
    fn logical_types_that_fit_are_taken_in_and_others_ignored() {
        let timestamp = |per_second, is_local| Type::Timestamp(Ticks { per_second, is_local });
        let logical = |of: &str, name: &str| format!(r#"{{"type": "{of}", "logicalType": "{name}"}}"#);
        check(&logical("int", "date"), Type::Date);
        check(&logical("long", "timestamp-millis"), timestamp(1_000, false));
        check(&logical("long", "local-timestamp-micros"), timestamp(1_000_000, true));
        check(&logical("long", "timestamp-nanos"), timestamp(1_000_000_000, false));
        check(&logical("int", "timestamp-millis"), Type::Int);
        check(&logical("string", "uuid"), Type::String);
        check(&logical("bytes", "decimal"), Type::Bytes);
        check(
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}"#,
            Type::Decimal(Decimal {
                precision: 9,
                scale: 2,
                size: None,
            }),
        );
    }

    #[test]
    fn names_are_found_in_their_namespace_and_by_their_whole_name() {
        let schema = parse(
            r#"{"name": "a", "type": {"type": "fixed", "name": "Id", "size": 4}},
               {"name": "b", "type": "Id"}, {"name": "c", "type": "logs.Id"},
               {"name": "d", "type": {"type": "enum", "name": "Level", "namespace": "other", "symbols": ["A"]}},
               {"name": "e", "type": "other.Level"}, {"name": "next", "type": ["null", "Line"]}"#,
        );
        let types: Vec<_> = fields(&schema).iter().map(|field| schema.get(field.of)).collect();
        assert_eq!(types[..3], [&Type::Fixed(4); 3]);
        assert_eq!(types[3..5], [&Type::Enum(vec!["A".to_owned()]); 2]);
        let (line, null) = schema.nullable(fields(&schema)[5].of).expect("null or a line");
        assert_eq!((line, null), (schema.root(), 0));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_fields_that_lead_to_it() {
        let record =
            |of: &str| format!(r#"{{"type": "record", "name": "R", "fields": [{{"name": "a", "type": {of}}}]}}"#);
        check_error("{", "it is no JSON: EOF while parsing an object at line 1 column 1");
        check_error("\"int\"", "expected a record, whose fields are the columns");
        check_error(&record("\"strng\""), "field `a`: there is no type `strng`");
        check_error(&record("[]"), "field `a`: a union needs a type");
        check_error(&record("[[\"int\"]]"), "field `a`: a union can't hold a union");
        check_error(&record(r#"{"type": "array"}"#), "field `a`: missing `items`");
        check_error(&record("7"), "field `a`: expected a type, not 7");
        check_error(
            &record(r#"{"type": "record", "name": "R", "fields": []}"#),
            "field `a`: the type `R` is there twice",
        );
        check_error(
            &record(r#"{"type": "bytes", "logicalType": "decimal", "precision": 50}"#),
            "field `a`: a decimal of 50 digits is too long: at most 38 fit",
        );
    }

    #[test]
    fn two_schemas_that_read_the_same_have_one_text() {
        let (a, b) = (
            parse(r#"{"name": "a", "type": "int", "doc": "x"}"#),
            parse(r#"{"name":"a","type":"int"}"#),
        );
        assert_eq!(a.to_string(), b.to_string());
        assert_ne!(a.to_string(), parse(r#"{"name": "a", "type": "long"}"#).to_string());
    }
}
