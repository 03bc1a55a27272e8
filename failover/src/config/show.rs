//! The configuration as it holds, defaults filled in, for a person to read.

use std::time::Duration;

use decision::config::Config;
use decision::time::Human;
use serde::{Serialize, Serializer};

use super::tree::{self, Entry, Node, Value};

/// YAML with every value that holds, in the order of `decision`'s types: checks one by one, regions by
/// name. It is not meant to be loaded again.
pub fn show(config: &Config) -> String {
    let text = serde_saphyr::to_string(config).expect("a configuration always serialises");
    // Through the tree and not through JSON, which would forget the order.
    let tree = tree::read_own(&text).expect("what was just written can be read");
    serde_saphyr::to_string(&readable(tree)).expect("a tree always serialises")
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
