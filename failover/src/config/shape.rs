//! Is the file of the right shape? The JSON Schema made from the model is the rule, the same that
//! editors use; here every violation is found, with its place and what to write instead.

use std::collections::BTreeMap;

use decision::config::check::nearest;
use decision::config::place::{Place, Step};
use serde_json::Value as Json;

use super::scalar::{self, KEYWORD};
use super::tree::{At, Entry, Node, Value};

#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) at: At,
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) fix: String,
    /// The same key at another line.
    pub(super) related: Option<At>,
    /// What stands there may be a password.
    pub(super) is_secret: bool,
}

/// More would not be read.
pub(super) const FLAWS_MAX: usize = 50;

pub(super) fn check(schema: &Json, root: &Node) -> Vec<Flaw> {
    let mut walk = Walk { schema, flaws: Vec::new() };
    walk.node(schema, root, At { length: 1, ..At::START }, &Place::root());
    walk.flaws
}

struct Walk<'a> {
    schema: &'a Json,
    flaws: Vec<Flaw>,
}

/// `app: hunter2`, where `app: {password_file: …}` should stand.
fn is_user(place: &Place) -> bool {
    matches!(place.0.as_slice(), [.., Step::Key(parent), Step::Key(_)] if parent == "users")
}

impl<'a> Walk<'a> {
    fn say(&mut self, at: At, place: &Place, message: String, fix: String) {
        // What is aliased is walked at each use.
        let said = self.flaws.iter().any(|flaw| flaw.at == at && flaw.message == message);
        if self.flaws.len() < FLAWS_MAX && !said {
            self.flaws.push(Flaw { at, place: place.clone(), message, fix, related: None, is_secret: false });
        }
    }

    /// `key_at`: where to point when the value itself says nothing.
    fn node(&mut self, schema: &'a Json, node: &Node, key_at: At, place: &Place) {
        let schema = self.resolve(schema);
        let at = match node.value {
            Value::Null | Value::Map(_) | Value::List(_) => key_at,
            _ => node.at,
        };
        if let Some(allowed) = self.words(schema) {
            return self.one_of(&allowed, node, at, place);
        }
        if let Some(branches) = branches(schema) {
            return match branches.iter().find(|branch| self.accepts(branch, node)) {
                Some(branch) => self.node(branch, node, key_at, place),
                None => self.wrong_type(schema, node, at, place),
            };
        }
        if !self.accepts(schema, node) {
            self.wrong_type(schema, node, at, place);
            let is_text = at == node.at && node.text().is_some();
            if let Some(flaw) = self.flaws.last_mut().filter(|flaw| flaw.at == at) {
                flaw.is_secret = is_text && is_user(place);
            }
            return;
        }
        match (&node.value, node.text()) {
            (Value::Map(entries), _) => self.map(schema, entries, key_at, place),
            (Value::List(nodes), _) => self.list(schema, nodes, at, place),
            (_, Some(text)) => self.scalar(schema, node, text, place),
            _ => {}
        }
    }

    fn scalar(&mut self, schema: &Json, node: &Node, text: &str, place: &Place) {
        if let Some(kind) = schema[KEYWORD].as_str() {
            match scalar::judge(kind, text) {
                Some(Err(fault)) => return self.say(node.at, place, fault.message, fault.fix),
                Some(Ok(())) => {}
                None => debug_assert!(false, "the schema names {kind}, which no scalar is"),
            }
            if !types(schema).contains(&type_of(node)) {
                self.wrong_type(schema, node, node.at, place);
            }
        } else if let Value::Number(number) = &node.value {
            let bound = |key: &str| schema[key].as_f64();
            let value = number.parse::<f64>().unwrap_or(f64::NAN);
            let (least, most) = (bound("minimum"), bound("maximum"));
            if least.is_some_and(|least| value < least) || most.is_some_and(|most| value > most) {
                let range = match (least, most) {
                    (Some(least), Some(most)) => format!("from {least} to {most}"),
                    (Some(least), None) => format!("{least} or more"),
                    (None, most) => format!("{} or less", most.unwrap_or_default()),
                };
                self.say(
                    node.at,
                    place,
                    format!("{number} is out of range"),
                    format!("write a number {range}"),
                );
            }
        } else if schema["pattern"] == PATH_PATTERN && (!text.starts_with('/') || text.contains(' ')) {
            self.say(
                node.at,
                place,
                format!("{text:?} is not a path"),
                format!("write /{}", text.trim_start_matches('/').replace(' ', "%20")),
            );
        } else if text.is_empty() && schema["type"] != "null" {
            self.say(
                node.at,
                place,
                format!("{place} is empty"),
                "write a value, or remove the key".to_owned(),
            );
        }
    }

    fn list(&mut self, schema: &'a Json, nodes: &[Node], at: At, place: &Place) {
        if schema["minItems"].as_u64().is_some_and(|least| (nodes.len() as u64) < least) {
            self.say(
                at,
                place,
                format!("{place} is an empty list"),
                "write at least one item, or remove the key".to_owned(),
            );
        }
        for (n, node) in nodes.iter().enumerate() {
            self.node(&schema["items"], node, node.at, &place.index(n));
        }
    }

    fn map(&mut self, schema: &'a Json, entries: &[Entry], key_at: At, place: &Place) {
        let properties = schema["properties"].as_object();
        let known = || properties.into_iter().flat_map(|map| map.keys()).map(String::as_str);
        let mut seen: BTreeMap<&str, At> = BTreeMap::new();
        for entry in entries {
            if let Some(first) = seen.insert(&entry.key, entry.key_at) {
                self.say(
                    entry.key_at,
                    &place.key(&entry.key),
                    format!("{:?} stands twice{}", entry.key, within(place)),
                    "keep one of the two".to_owned(),
                );
                if let Some(flaw) = self.flaws.last_mut() {
                    flaw.related = Some(first);
                }
                continue;
            }
            match (properties.and_then(|map| map.get(&entry.key)), &schema["additionalProperties"]) {
                (Some(schema), _) => self.node(schema, &entry.node, entry.key_at, &place.key(&entry.key)),
                (None, schema @ Json::Object(_)) => {
                    self.node(schema, &entry.node, entry.key_at, &place.key(&entry.key));
                }
                (None, _) => {
                    let missing = known().filter(|key| !entries.iter().any(|entry| entry.key == *key));
                    let fix = match nearest(&entry.key, missing) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => format!("known keys here: {}", known().collect::<Vec<_>>().join(", ")),
                    };
                    let message = format!("unknown key {:?}{}", entry.key, within(place));
                    self.say(entry.key_at, &place.key(&entry.key), message, fix);
                }
            }
        }
        // A misspelt key is one mistake, not two.
        let misspelt = |required: &str| {
            let unknown = entries.iter().filter(|entry| !known().any(|key| key == entry.key));
            unknown.map(|entry| entry.key.as_str()).any(|key| nearest(key, [required]).is_some())
        };
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if !entries.iter().any(|entry| entry.key == required) && !misspelt(required) {
                let fix = self.example(required, &schema["properties"][required]);
                self.say(
                    key_at,
                    place,
                    format!("{required:?} is missing{}", within(place)),
                    format!("add {fix}"),
                );
            }
        }
    }

    fn one_of(&mut self, allowed: &[&str], node: &Node, at: At, place: &Place) {
        let Some(text) = node.text() else {
            let message = format!("{place} must be one word, but is {}", node.kind());
            return self.say(at, place, message, format!("write one of: {}", allowed.join(", ")));
        };
        if !allowed.contains(&text) {
            let fix = match nearest(text, allowed.iter().copied()) {
                Some(near) => format!("did you mean {near:?}? (allowed: {})", allowed.join(", ")),
                None => format!("write one of: {}", allowed.join(", ")),
            };
            self.say(at, place, format!("{text:?} is not a known {}", last_key(place)), fix);
        }
    }

    fn wrong_type(&mut self, schema: &Json, node: &Node, at: At, place: &Place) {
        let expected = self.describe(schema);
        let subject = if place.0.is_empty() { "the file".to_owned() } else { place.to_string() };
        let types = self.all_types(schema);
        let fix = match (&node.value, node.text()) {
            _ if place.0.is_empty() => "begin with `regions:`, and the regions below it by label".to_owned(),
            (Value::Null, _) => "write a value, or remove the key".to_owned(),
            (_, Some(text)) if types.contains(&"boolean") => match text.to_lowercase().as_str() {
                "yes" | "on" | "y" | "1" | "true" => "write true".to_owned(),
                "no" | "off" | "n" | "0" | "false" => "write false".to_owned(),
                _ => "write true or false".to_owned(),
            },
            (_, Some(text)) if types.contains(&"array") => format!("write it as a list: [{text}]"),
            (_, Some(text)) if types.contains(&"integer") => match text.parse::<f64>() {
                Ok(number) if number.fract() == 0.0 => format!("write {number}"),
                _ => "write a whole number, such as 3".to_owned(),
            },
            (_, Some(text)) if types.contains(&"string") => format!("put it into quotes: \"{text}\""),
            (Value::List(_), _) if types.contains(&"object") => {
                "write `key: value` lines, without the hyphen".to_owned()
            }
            (_, _) if types.contains(&"object") => {
                "write `key: value` lines below it, further to the right".to_owned()
            }
            _ => format!("write {expected}"),
        };
        self.say(at, place, format!("{subject} must be {expected}, but is {}", node.kind()), fix);
    }

    fn resolve(&self, schema: &'a Json) -> &'a Json {
        match schema["$ref"].as_str() {
            Some(reference) => self.schema.pointer(reference.trim_start_matches('#')).unwrap_or(&Json::Null),
            None => schema,
        }
    }

    /// The words an enumeration allows; none: it is no enumeration.
    fn words(&self, schema: &'a Json) -> Option<Vec<&'a str>> {
        if let Some(words) = schema["enum"].as_array() {
            return Some(words.iter().filter_map(Json::as_str).collect());
        }
        if let Some(word) = schema["const"].as_str() {
            return Some(vec![word]);
        }
        let all: Option<Vec<Vec<&str>>> =
            schema["oneOf"].as_array()?.iter().map(|branch| self.words(self.resolve(branch))).collect();
        all.map(|words| words.concat())
    }

    /// Could this schema be meant by such a node? Its content is not looked at.
    fn accepts(&self, schema: &'a Json, node: &Node) -> bool {
        let schema = self.resolve(schema);
        if self.words(schema).is_some() || !schema[KEYWORD].is_null() {
            return node.text().is_some();
        }
        if let Some(branches) = branches(schema) {
            return branches.iter().any(|branch| self.accepts(branch, node));
        }
        types(schema).contains(&type_of(node))
    }

    fn all_types(&self, schema: &'a Json) -> Vec<&'a str> {
        let schema = self.resolve(schema);
        match branches(schema) {
            Some(branches) => branches.iter().flat_map(|branch| self.all_types(branch)).collect(),
            None => types(schema),
        }
    }

    fn describe(&self, schema: &'a Json) -> String {
        let schema = self.resolve(schema);
        if let Some(what) = schema[KEYWORD].as_str().and_then(scalar::what) {
            return what.to_owned();
        }
        if self.words(schema).is_some() {
            return "one of its words".to_owned();
        }
        if let Some(branches) = branches(schema) {
            let each: Vec<String> =
                branches.iter().map(|branch| self.describe(branch)).filter(|text| !text.is_empty()).collect();
            return each.join(" or ");
        }
        let each: Vec<&str> = types(schema)
            .into_iter()
            .filter_map(|name| match name {
                "object" => Some("a mapping"),
                "array" => Some("a list"),
                "string" => Some("text"),
                "integer" => Some("a whole number"),
                "boolean" => Some("true or false"),
                _ => None,
            })
            .collect();
        each.join(" or ")
    }

    /// `key: VALUE`
    fn example(&self, key: &str, schema: &'a Json) -> String {
        let schema = self.resolve(schema);
        match schema["examples"][0].as_str() {
            Some(example) => format!("`{key}: {example}`"),
            None => format!("`{key}:` with {}", self.describe(schema)),
        }
    }
}

/// The pattern of URL paths in the model.
const PATH_PATTERN: &str = "^/[^ ]*$";

fn branches(schema: &Json) -> Option<&Vec<Json>> {
    schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array())
}

fn types(schema: &Json) -> Vec<&str> {
    match &schema["type"] {
        Json::String(one) => vec![one],
        Json::Array(many) => many.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn type_of(node: &Node) -> &'static str {
    match &node.value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.parse::<i128>().is_ok() => "integer",
        Value::Number(_) => "number",
        Value::Text(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    }
}

fn within(place: &Place) -> String {
    if place.0.is_empty() { " at the top level".to_owned() } else { format!(" in {place}") }
}

fn last_key(place: &Place) -> String {
    use decision::config::place::Step;
    place
        .0
        .iter()
        .rev()
        .find_map(|step| match step {
            Step::Key(key) => Some(key.clone()),
            Step::Index(_) => None,
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::schema;

    /// A keyword that editors obey and the loader does not would let through what they mark.
    #[test]
    fn every_keyword_of_the_schema_is_obeyed() {
        const OBEYED: &[&str] = &[
            "$ref",
            "type",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "minItems",
            "anyOf",
            "oneOf",
            "enum",
            "const",
            "minimum",
            "maximum",
            "pattern",
            KEYWORD,
        ];
        const REMARKS: &[&str] = &["$schema", "$defs", "title", "description", "examples", "format"];
        fn visit(schema: &Json) {
            for (key, value) in schema.as_object().into_iter().flatten() {
                assert!(OBEYED.contains(&key.as_str()) || REMARKS.contains(&key.as_str()), "{key}: {value}");
                match (key.as_str(), value) {
                    ("properties" | "$defs", Json::Object(map)) => map.values().for_each(visit),
                    ("anyOf" | "oneOf", Json::Array(branches)) => branches.iter().for_each(visit),
                    ("items" | "additionalProperties", schema) => visit(schema),
                    ("pattern", pattern) if schema[KEYWORD].is_null() => assert_eq!(pattern, PATH_PATTERN),
                    ("format", format) => {
                        // Sizes of numbers, which `minimum` and `maximum` say too; u32 has room enough.
                        assert!(format.as_str().is_some_and(|format| format.starts_with("uint")), "{format}");
                    }
                    _ => {}
                }
            }
        }
        visit(schema());
    }

    #[test]
    fn every_example_of_the_schema_is_sound() {
        let mut count = 0;
        for definition in schema()["$defs"].as_object().into_iter().flat_map(|map| map.values()) {
            for example in definition["examples"].as_array().into_iter().flatten().filter_map(Json::as_str) {
                let kind = definition[KEYWORD].as_str().expect("only scalars have examples");
                assert_eq!(scalar::judge(kind, example), Some(Ok(())), "{example}");
                count += 1;
            }
        }
        assert!(count > 10);
    }

    #[test]
    fn a_number_beyond_its_type_is_no_panic() {
        for number in ["4294967296", "-1", "99999999999999999999999999", "1e400", "1.5"] {
            let text = format!("regions: {{a: {{}}}}\nfailover_strategy: {{moves: {{overall: {number}}}}}\n");
            let said = crate::config::parse("x", &text).unwrap_err().to_string();
            assert!(said.starts_with("x:2:"), "{said}");
        }
    }
}
