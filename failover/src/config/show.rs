//! The configuration as it holds, defaults filled in, for a person to read.

use std::time::Duration;

use decision::config::Config;
use decision::time::Human;
use serde::{Serialize, Serializer};

use super::tree::{self, Entry, Node, Value};
use super::written;

/// YAML with every value that holds, in the order of `decision`'s types: checks one by one, regions by
/// name. It is not meant to be loaded again, but for the `database` of a service, which reads as in the
/// file.
pub fn show(config: &Config) -> String {
    let mut tree = readable(node(config));
    for (name, service) in &config.services {
        let place = ["services", name.as_str(), "database"];
        if let (Some(database), Some(found)) = (&service.database, below(&mut tree, &place)) {
            *found = without_null(node(&written::database(database)));
        }
    }
    serde_saphyr::to_string(&tree).expect("a tree always serialises")
}

/// Through the tree and not through JSON, which would forget the order.
fn node(value: &impl Serialize) -> Node {
    let text = serde_saphyr::to_string(value).expect("a configuration always serialises");
    tree::read_own(&text).expect("what was just written can be read")
}

fn below<'a>(node: &'a mut Node, keys: &[&str]) -> Option<&'a mut Node> {
    let [first, rest @ ..] = keys else { return Some(node) };
    let Value::Map(entries) = &mut node.value else { return None };
    below(&mut entries.iter_mut().find(|entry| entry.key == *first)?.node, rest)
}

fn without_null(node: Node) -> Node {
    let value = match node.value {
        Value::Map(entries) => {
            let told = entries.into_iter().filter(|entry| !matches!(entry.node.value, Value::Null));
            Value::Map(told.map(|entry| Entry { node: without_null(entry.node), ..entry }).collect())
        }
        other => other,
    };
    Node { value, ..node }
}

fn readable(node: Node) -> Node {
    let value = match node.value {
        Value::Map(entries) => {
            let told = entries.into_iter().filter(|entry| !matches!(entry.node.value, Value::Null));
            Value::Map(told.map(entry).collect())
        }
        Value::List(nodes) => Value::List(nodes.into_iter().map(readable).collect()),
        other => other,
    };
    Node { value, ..node }
}

/// `interval_ms: 1500` becomes `interval: 1.5s`.
fn entry(entry: Entry) -> Entry {
    let number = |node: &Node| node.text().and_then(|text| text.parse::<u64>().ok());
    let text = |node: Node, text: String| Node { value: Value::Text(text), ..node };
    if let (Some(stem), Some(ms)) = (entry.key.strip_suffix("_ms"), number(&entry.node)) {
        let human = Human(Duration::from_millis(ms)).to_string();
        return Entry { key: stem.to_owned(), node: text(entry.node, human), ..entry };
    }
    if let (Some(stem), Some(percent)) = (entry.key.strip_suffix("_percent"), number(&entry.node)) {
        return Entry { key: stem.to_owned(), node: text(entry.node, format!("{percent}%")), ..entry };
    }
    if let (true, Value::List(ranges)) = (entry.key == "expect_status", &entry.node.value) {
        let ranges = ranges.iter().map(|range| text(range.clone(), status_range(range))).collect();
        return Entry { node: Node { value: Value::List(ranges), ..entry.node }, ..entry };
    }
    Entry { node: readable(entry.node), ..entry }
}

fn status_range(node: &Node) -> String {
    let Value::List(ends) = &node.value else { return String::new() };
    let ends: Vec<&str> = ends.iter().filter_map(Node::text).collect();
    match ends.as_slice() {
        [from, to] if from == to => (*from).to_owned(),
        ends => ends.join("-"),
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => to.serialize_unit(),
            Value::Bool(value) => to.serialize_bool(*value),
            Value::Number(number) => match number.parse::<i64>() {
                Ok(number) => to.serialize_i64(number),
                Err(_) => to.serialize_str(number),
            },
            Value::Text(text) => to.serialize_str(text),
            Value::List(nodes) => to.collect_seq(nodes),
            Value::Map(entries) => to.collect_map(entries.iter().map(|entry| (&entry.key, &entry.node))),
        }
    }
}
